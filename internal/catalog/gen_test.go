package catalog

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// day is a moment that all tests share.
var day = time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC)

// archives of the tests: a release, its security suite, backports.
func testArchives() []Archive {
	return []Archive{
		{ID: "aaaaaaaaaaaaaaaa", Label: "Debian", Origin: "Debian", Suite: "oldstable", Codename: "bookworm", Path: "bookworm", Version: "12.12", Date: day, Site: "archive.example", Indexes: []Index{{Name: "main/binary-amd64/Packages", Component: "main", Arch: "amd64"}}},
		{ID: "bbbbbbbbbbbbbbbb", Label: "Debian-Security", Origin: "Debian", Suite: "oldstable-security", Codename: "bookworm-security", Path: "bookworm-security", Security: true, Date: day, Site: "security.example"},
		{ID: "cccccccccccccccc", Label: "Debian Backports", Origin: "Debian Backports", Suite: "oldstable-backports", Codename: "bookworm-backports", Path: "bookworm-backports", NotAutomatic: true, ButAutomaticUpgrades: true, Date: day},
		{ID: "dddddddddddddddd", Label: "Debian", Origin: "Debian", Suite: "experimental", Codename: "rc-buggy", Path: "experimental", NotAutomatic: true, Date: day},
		{ID: "eeeeeeeeeeeeeeee", Label: "Debian-Security", Origin: "Debian", Suite: "oldstable-security", Codename: "bookworm-security", Path: "bookworm-security", Security: true, Superseded: true, Date: day.AddDate(0, 0, -1)},
	}
}

func testHeader() Header {
	return Header{Format: Format, Platform: "debian-12-amd64", Version: 7, Created: day, Archives: testArchives()}
}

// encode encodes and opens, failing the test on any error.
func encode(t testing.TB, c Contents) (*Shard, []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, c); err != nil {
		t.Fatal(err)
	}
	return reopen(t, b.Bytes()), b.Bytes()
}

func reopen(t testing.TB, b []byte) *Shard {
	t.Helper()
	s, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// debPatch is a patch with one item per package name.
func debPatch(source, version string, archives []string, packages ...string) patch.Patch {
	p := patch.Patch{
		ID: patch.ID("debian-12:amd64:" + source + ":" + version), Vendor: "debian", Platform: "debian-12-amd64",
		Product: source, Version: version, Classification: patch.Update, Severity: patch.Unknown, Archives: archives,
		Install: patch.Manifest{Kind: "apt", Reboot: patch.RebootMaybe}, Evidence: patch.Evidence{Verdict: patch.Vouched},
	}
	for _, name := range packages {
		p.Items = append(p.Items, patch.Item{Kind: "dpkg", Name: name, Arch: "amd64", Version: version, Payload: payload(name, version)})
	}
	return p
}

func payload(name, version string) patch.Payload {
	return patch.Payload{
		SHA256: inventory.HashBody([]byte(name + version)), Size: int64(len(name)) * 1000,
		Name: fmt.Sprintf("pool/main/%.1s/%s/%s_%s_amd64.deb", name, name, name, version),
	}
}

// machine is a snapshot with packages given as name, version pairs.
func machine(pairs ...string) *inventory.Snapshot {
	s := &inventory.Snapshot{OS: inventory.OS{Family: "linux", ID: "debian", Version: "12", Codename: "bookworm", Arch: "amd64"}}
	for i := 0; i < len(pairs); i += 2 {
		s.Packages = append(s.Packages, inventory.Package{Kind: "dpkg", Name: pairs[i], Arch: "amd64", Version: pairs[i+1]})
	}
	sortPackages(s)
	return s
}

var versions = []string{"1.0-1", "1.0-1+deb12u1", "1.0-1+deb12u2", "1.0~rc1-1", "1.1-1", "2:0.9-1", "1.00-1"}

// genContents draws a shard's contents with few names, so that they collide.
func genContents(t *rapid.T) Contents {
	c := Contents{Header: testHeader()}
	c.Header.Version = rapid.Int64Range(1, 9).Draw(t, "catalog version")
	ids := []string{"aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc", "eeeeeeeeeeeeeeee"}
	subset := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, 3, rapid.ID)
	for _, source := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"openssl", "linux", "zlib", "bash", "curl", "vim"}), 0, 6, rapid.ID).Draw(t, "sources") {
		for _, v := range rapid.SliceOfNDistinct(rapid.SampledFrom(versions), 1, 3, rapid.ID).Draw(t, "versions") {
			var names []string
			for i := range rapid.IntRange(0, 3).Draw(t, "packages") {
				names = append(names, fmt.Sprintf("%s%d", source, i))
			}
			p := debPatch(source, v, subset.Draw(t, "archives"), names...)
			for i := range p.Items {
				p.Items[i].Arch = rapid.SampledFrom([]string{"amd64", "all", "i386"}).Draw(t, "arch")
				p.Items[i].PhasedPercent = rapid.SampledFrom([]int{0, 0, 10, 100}).Draw(t, "phased")
				if rapid.Bool().Draw(t, "own archives") {
					p.Items[i].Archives = subset.Draw(t, "item archives")
				}
			}
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 6), 0, 3, rapid.ID).Draw(t, "cves") {
				p.CVEs = append(p.CVEs, patch.CVEFix{ID: fmt.Sprintf("CVE-2026-%04d", n), FixedIn: v})
			}
			p.Classification = rapid.SampledFrom([]patch.Classification{patch.Security, patch.Update}).Draw(t, "class")
			p.Title = rapid.StringN(0, 30, -1).Draw(t, "title")
			c.Patches = append(c.Patches, p)
		}
	}
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 6), 0, 6, rapid.ID).Draw(t, "known cves") {
		v := patch.Vulnerability{
			ID: fmt.Sprintf("CVE-2026-%04d", n), Severity: rapid.SampledFrom([]patch.Severity{"", patch.Unknown, patch.Low, patch.Critical}).Draw(t, "severity"),
			EPSS: roundEPSS(rapid.Float64Range(0, 1).Draw(t, "epss")),
		}
		if rapid.Bool().Draw(t, "kev") {
			v.KEV = &patch.KEV{Added: "2026-01-02"}
		}
		c.Vulnerabilities = append(c.Vulnerabilities, v)
	}
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 0, 4, rapid.ID).Draw(t, "advisories") {
		c.Advisories = append(c.Advisories, patch.Advisory{ID: fmt.Sprintf("DSA-%d-1", n), Vendor: "debian", Published: day, CVEs: []string{"CVE-2026-0001"}})
	}
	return c
}

// genMachine draws a machine that has some of the packages of genContents.
func genMachine(t *rapid.T) *inventory.Snapshot {
	s := machine()
	for _, source := range []string{"openssl", "linux", "zlib", "bash", "curl", "vim"} {
		for i := range 3 {
			if rapid.Bool().Draw(t, "installed") {
				s.Packages = append(s.Packages, inventory.Package{
					Kind: "dpkg", Name: fmt.Sprintf("%s%d", source, i), Arch: rapid.SampledFrom([]string{"amd64", "all", "i386"}).Draw(t, "arch"),
					Version: rapid.SampledFrom(versions).Draw(t, "version"),
				})
			}
		}
	}
	sortPackages(s)
	return s
}

// windowsPatch is a patch with rules of its own over a file's version.
func windowsPatch(id, version string, supersedes ...patch.ID) patch.Patch {
	return patch.Patch{
		ID: patch.ID(id), Vendor: "microsoft", Platform: "windows-11-amd64", Product: id, Version: version,
		Classification: patch.Security, Severity: patch.Important, Supersedes: supersedes, Install: patch.Manifest{Kind: "msu"},
		Applicable: &detect.Rule{OSBuild: &detect.OSBuild{Family: "windows"}},
		Installed:  &detect.Rule{FileVersion: &detect.FileVersion{Path: `%windir%\ntoskrnl.exe`, Op: detect.GE, Version: version}},
		Evidence:   patch.Evidence{Verdict: patch.Proven},
	}
}

func sortPackages(s *inventory.Snapshot) {
	slices.SortFunc(s.Packages, inventory.ComparePackages)
}
