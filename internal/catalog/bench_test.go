package catalog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// debianSized draws contents of the size of Debian 12 for one architecture:
// about 35,000 source packages with 66,000 packages, 40,000 CVEs, 5,000
// advisories. Hashes are random, as real ones do not compress either.
func debianSized() Contents {
	rnd := rand.New(rand.NewPCG(1, 2))
	c := Contents{Header: testHeader()}
	for i := range 40_000 {
		v := patch.Vulnerability{
			ID: fmt.Sprintf("CVE-%d-%05d", 2010+i%17, i), Severity: patch.Moderate, CVSS: 5.5, EPSS: float64(rnd.IntN(1000)) / 1e5,
			CVSSVector:  "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H",
			Description: words(rnd, 30),
		}
		c.Vulnerabilities = append(c.Vulnerabilities, v)
	}
	for i := range 34_000 {
		version := fmt.Sprintf("%d.%d.%d-%d", rnd.IntN(9), rnd.IntN(30), rnd.IntN(30), 1+rnd.IntN(9))
		p := sizedPatch(rnd, fmt.Sprintf("%s-%d", words(rnd, 1), i), version, "aaaaaaaaaaaaaaaa", 1+i%3)
		c.Patches = append(c.Patches, p)
		if i%40 == 0 { // a source with security updates
			dsa := fmt.Sprintf("DSA-%d-1", 5000+i)
			q := sizedPatch(rnd, p.Product, version+"+deb12u1", "bbbbbbbbbbbbbbbb", len(p.Items))
			q.Classification, q.Severity, q.Advisories = patch.Security, patch.Important, []string{dsa}
			for range 5 + rnd.IntN(30) {
				q.CVEs = append(q.CVEs, patch.CVEFix{ID: c.Vulnerabilities[rnd.IntN(40_000)].ID, FixedIn: q.Version})
			}
			c.Patches = append(c.Patches, q)
			c.Advisories = append(c.Advisories, patch.Advisory{
				ID: dsa, Vendor: "debian", Title: words(rnd, 6), Severity: patch.Important, Published: day,
				Fixes: []patch.Fix{{Product: q.Product, Release: "bookworm", Version: q.Version}},
			})
		}
	}
	return c
}

func sizedPatch(rnd *rand.Rand, source, version, archive string, packages int) patch.Patch {
	p := debPatch(source, version, []string{archive})
	p.Evidence.Checks = []string{"the index is named by hash in InRelease", "InRelease is signed by the archive's key"}
	for i := range packages {
		name := fmt.Sprintf("lib%s-%d", source, i)
		sum := make([]byte, 32)
		for j := range sum {
			sum[j] = byte(rnd.Uint32())
		}
		p.Items = append(p.Items, patch.Item{Kind: "dpkg", Name: name, Arch: "amd64", Version: version, Payload: patch.Payload{
			SHA256: fmt.Sprintf("%x", sum), Size: rnd.Int64N(1 << 24), Name: fmt.Sprintf("pool/main/%.1s/%s/%s_%s_amd64.deb", source, source, name, version),
		}})
	}
	return p
}

func words(rnd *rand.Rand, n int) string {
	list := []string{"kernel", "overflow", "parser", "buffer", "remote", "memory", "allows", "crafted", "library", "denial", "service", "python", "image", "network", "module", "handler"}
	var b bytes.Buffer
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(list[rnd.IntN(len(list))])
	}
	return b.String()
}

// onDisk writes the shard to a file, where agents have it.
func onDisk(t testing.TB, c Contents) (path string, size int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "shard")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Encode(f, c); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return path, info.Size()
}

// typicalMachine has 900 packages, of which 25 lack a security update.
func typicalMachine(c Contents) *inventory.Snapshot {
	s := machine()
	old := 0
	for i, p := range c.Patches {
		if p.IsSecurity() || len(p.Items) == 0 {
			continue
		}
		stale := i+1 < len(c.Patches) && c.Patches[i+1].Product == p.Product
		if stale && old < 25 || i%39 == 7 {
			if stale {
				old++
			}
			s.Packages = append(s.Packages, inventory.Package{Kind: "dpkg", Name: p.Items[0].Name, Arch: "amd64", Version: p.Version, Source: p.Product})
		}
	}
	sortPackages(s)
	return s
}

// BenchmarkMatch is what an agent does after a scan: open the shard and match.
func BenchmarkMatch(b *testing.B) {
	c := debianSized()
	path, size := onDisk(b, c)
	snap := typicalMachine(c)
	findings := 0
	b.ReportAllocs()
	for b.Loop() {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		s, err := Open(f, size)
		if err != nil {
			b.Fatal(err)
		}
		out, err := Assess([]*Shard{s}, snap, nil)
		if err != nil {
			b.Fatal(err)
		}
		findings = len(out)
		f.Close()
	}
	b.ReportMetric(float64(findings), "findings")
	b.ReportMetric(float64(len(snap.Packages)), "packages")
}

// BenchmarkAssess is what a server does for each distinct machine.
func BenchmarkAssess(b *testing.B) {
	c := debianSized()
	path, size := onDisk(b, c)
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	s, err := Open(f, size)
	if err != nil {
		b.Fatal(err)
	}
	snap := typicalMachine(c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Assess([]*Shard{s}, snap, nil); err != nil {
			b.Fatal(err)
		}
	}
	n := s.Counts()
	b.ReportMetric(float64(n.Items), "items")
	b.ReportMetric(float64(s.start[residentSections])/1e6, "residentMB")
	b.ReportMetric(float64(size)/1e6, "fileMB")
}

// nextDay is the catalog a day later: 60 sources have a new version, one suite
// has a new snapshot, 2,000 CVEs have another EPSS score.
func nextDay(c Contents) Contents {
	rnd := rand.New(rand.NewPCG(3, 4))
	out := Contents{Header: c.Header, Patches: slices.Clone(c.Patches), Advisories: slices.Clone(c.Advisories), Vulnerabilities: slices.Clone(c.Vulnerabilities)}
	out.Header.Version++
	out.Header.Archives = slices.Clone(c.Header.Archives)
	fresh := out.Header.Archives[1]
	fresh.ID = "ffffffffffffffff"
	out.Header.Archives[1].Superseded = true
	out.Header.Archives = append(out.Header.Archives, fresh)
	for i, p := range out.Patches {
		if slices.Contains(p.Archives, "bbbbbbbbbbbbbbbb") {
			out.Patches[i].Archives = []string{"bbbbbbbbbbbbbbbb", "ffffffffffffffff"}
		}
	}
	for i := range 60 {
		p := out.Patches[i*500]
		q := sizedPatch(rnd, p.Product, p.Version+"+deb12u9", "ffffffffffffffff", len(p.Items))
		q.Classification = patch.Security
		q.CVEs = []patch.CVEFix{{ID: out.Vulnerabilities[i].ID, FixedIn: q.Version}, {ID: out.Vulnerabilities[i+100].ID, FixedIn: q.Version}}
		out.Patches = append(out.Patches, q)
	}
	for range 2000 {
		out.Vulnerabilities[rnd.IntN(len(out.Vulnerabilities))].EPSS = float64(rnd.IntN(1000)) / 1e5
	}
	return out
}
