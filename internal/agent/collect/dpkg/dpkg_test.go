package dpkg

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/agent/collect/collecttest"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

func collected(t *testing.T, tr *collect.Tree) inventory.Snapshot {
	t.Helper()
	var s inventory.Snapshot
	if err := Collector().Collect(context.Background(), tr, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

const status = `Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22

Package: libssl3
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: openssl
Version: 3.0.15-1

Package: libssl3
Status: install ok installed
Architecture: i386
Multi-Arch: same
Source: openssl
Version: 3.0.15-1

Package: linux-image-6.1.0-9-amd64
Status: hold ok installed
Architecture: amd64
Source: linux-signed-amd64 (6.1.27+1)
Version: 6.1.27-1
Description: a kernel
 Status: not a field but a line of text

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: never
Status: purge ok not-installed
Architecture: amd64

Package: half
Status: install reinstreq half-installed
Architecture: all
Version: 2

Package: same
Status: install ok half-configured
Architecture: all
Source: same (2)
Version: 2
`

func TestStates(t *testing.T) {
	s := collected(t, collecttest.Tree(t, map[string]string{
		"var/lib/dpkg/status": status, "var/lib/dpkg/arch": "amd64\ni386\n", "var/lib/dpkg/updates/tmp.i": "Package: no\n",
	}))
	want := []inventory.Package{
		{Kind: "dpkg", Name: "dpkg", Arch: "amd64", Version: "1.21.22"},
		{Kind: "dpkg", Name: "half", Arch: "all", Version: "2", Broken: "half-installed"},
		{Kind: "dpkg", Name: "libssl3", Arch: "amd64", Version: "3.0.15-1", Source: "openssl"},
		{Kind: "dpkg", Name: "libssl3", Arch: "i386", Version: "3.0.15-1", Source: "openssl"},
		{Kind: "dpkg", Name: "linux-image-6.1.0-9-amd64", Arch: "amd64", Version: "6.1.27-1", Source: "linux-signed-amd64", SourceVersion: "6.1.27+1", Hold: true},
		{Kind: "dpkg", Name: "same", Arch: "all", Version: "2", Broken: "half-configured"},
	}
	if diff := cmp.Diff(want, s.Packages); diff != "" {
		t.Error(diff)
	}
	if s.OS.Arch != "amd64" || !slices.Equal(s.Policy.ForeignArchs, []string{"i386"}) || !s.State.ManagerBroken {
		t.Errorf("arch %q, foreign %v, broken %v", s.OS.Arch, s.Policy.ForeignArchs, s.State.ManagerBroken)
	}
}

// TestInterrupted reads the updates that a dpkg which was killed left behind.
func TestInterrupted(t *testing.T) {
	s := collected(t, collecttest.Tree(t, map[string]string{
		"var/lib/dpkg/status":       "Package: dpkg\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n\nPackage: a\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n",
		"var/lib/dpkg/updates/0000": "Package: a\nStatus: install ok unpacked\nArchitecture: arm64\nVersion: 2\n",
		"var/lib/dpkg/updates/0001": "Package: b\nStatus: install ok half-installed\nArchitecture: arm64\nVersion: 9\n",
	}))
	want := []inventory.Package{
		{Kind: "dpkg", Name: "a", Arch: "arm64", Version: "2", Broken: "unpacked"},
		{Kind: "dpkg", Name: "b", Arch: "arm64", Version: "9", Broken: "half-installed"},
		{Kind: "dpkg", Name: "dpkg", Arch: "arm64", Version: "1"},
	}
	if diff := cmp.Diff(want, s.Packages); diff != "" {
		t.Error(diff)
	}
	if s.OS.Arch != "arm64" || !s.State.ManagerBroken {
		t.Errorf("arch %q, broken %v", s.OS.Arch, s.State.ManagerBroken)
	}
}

func TestRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		code  fault.Code
	}{
		"no dpkg":      {map[string]string{"etc/x": ""}, fault.Unsupported},
		"damaged":      {map[string]string{"var/lib/dpkg/status": "no field\n"}, fault.Invalid},
		"no name":      {map[string]string{"var/lib/dpkg/status": "Status: install ok installed\n"}, fault.Invalid},
		"no arch":      {map[string]string{"var/lib/dpkg/status": "Package: a\nStatus: install ok installed\nVersion: 1\n"}, fault.Unsupported},
		"bad updates":  {map[string]string{"var/lib/dpkg/status": status, "var/lib/dpkg/updates/0001": "?\n"}, fault.Invalid},
		"twice a name": {map[string]string{"var/lib/dpkg/status": "Package: a\nPackage: b\n"}, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			var s inventory.Snapshot
			if err := Collector().Collect(context.Background(), collecttest.Tree(t, tc.files), &s); !fault.Is(err, tc.code) {
				t.Fatalf("got %v, want %s", err, tc.code)
			}
		})
	}
}

// TestAgreesWithDpkgQuery compares with dpkg itself on this machine.
func TestAgreesWithDpkgQuery(t *testing.T) {
	format := `${Package}\t${Architecture}\t${Version}\t${source:Package}\t${source:Version}\t${db:Status-Want}\t${db:Status-Status}\n`
	out, err := exec.Command("dpkg-query", "-W", "-f", format).Output()
	if err != nil {
		t.Fatalf("this test needs dpkg-query on a machine of packages: %v", err)
	}
	agrees(t, "/", string(out))
	foreign, err := exec.Command("dpkg", "--print-foreign-architectures").Output()
	if err != nil {
		t.Fatal(err)
	}
	native, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := collected(t, collecttest.Open(t, "/"))
	if s.OS.Arch != strings.TrimSpace(string(native)) || !slices.Equal(s.Policy.ForeignArchs, strings.Fields(string(foreign))) {
		t.Errorf("architectures %q %v, dpkg says %q %q", s.OS.Arch, s.Policy.ForeignArchs, native, foreign)
	}
}

// TestAgreesWithDpkgQueryOnFixture does the same for states that this machine
// does not have, with dpkg's own reading of the fixture.
func TestAgreesWithDpkgQueryOnFixture(t *testing.T) {
	text := strings.ReplaceAll(status, "Architecture:", "Maintainer: m\nDescription: d\nArchitecture:")
	text = strings.ReplaceAll(text, "Description: a kernel\n Status", "Homepage: x\nLicense: y\n Status")
	tr := collecttest.Tree(t, map[string]string{
		"var/lib/dpkg/status": text, "var/lib/dpkg/arch": "amd64\ni386\n", "var/lib/dpkg/info/format": "1\n",
		"var/lib/dpkg/updates/0000": "Package: dpkg\nStatus: install ok unpacked\nMaintainer: m\nDescription: d\nArchitecture: amd64\nVersion: 1.22\n",
	})
	format := `${Package}\t${Architecture}\t${Version}\t${source:Package}\t${source:Version}\t${db:Status-Want}\t${db:Status-Status}\n`
	cmd := exec.Command("dpkg-query", "--admindir="+tr.Path("var/lib/dpkg"), "-W", "-f", format)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dpkg-query on the fixture: %v %s", err, complaint.String())
	}
	agrees(t, tr.Path(""), string(out))
}

// agrees compares dpkg-query's lines with the collector's packages.
func agrees(t *testing.T, root, lines string) {
	t.Helper()
	var want []inventory.Package
	for line := range strings.Lines(lines) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 7 {
			t.Fatalf("dpkg-query printed %q", line)
		}
		if f[6] == "config-files" || f[6] == "not-installed" {
			continue
		}
		p := inventory.Package{Kind: "dpkg", Name: f[0], Arch: f[1], Version: f[2], Source: f[3], SourceVersion: f[4], Hold: f[5] == "hold", Broken: f[6]}
		if p.Source == p.Name {
			p.Source = ""
		}
		if p.SourceVersion == p.Version {
			p.SourceVersion = ""
		}
		if p.Broken == "installed" {
			p.Broken = ""
		}
		want = append(want, p)
	}
	if len(want) < 5 {
		t.Fatalf("dpkg-query names only %d packages: the test proves nothing", len(want))
	}
	slices.SortFunc(want, inventory.ComparePackages)
	if diff := cmp.Diff(want, collected(t, collecttest.Open(t, root)).Packages); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(status)
	f.Add("Package: a\nStatus: x\nSource: (\n")
	f.Fuzz(func(t *testing.T, text string) {
		db := &database{arches: map[string]string{}}
		if err := db.parse(strings.NewReader(text)); err != nil {
			return
		}
		for _, p := range db.installed() {
			if p.Name == "" || p.Kind != kind {
				t.Fatalf("%+v", p)
			}
		}
	})
}
