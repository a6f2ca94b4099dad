package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

const (
	release     = "aaaaaaaaaaaaaaaa"
	security    = "bbbbbbbbbbbbbbbb"
	backports   = "cccccccccccccccc"
	unstable    = "dddddddddddddddd" // NotAutomatic
	oldSecurity = "eeeeeeeeeeeeeeee" // superseded
)

func assess(t testing.TB, c Contents, snap *inventory.Snapshot) []Finding {
	t.Helper()
	s, _ := encode(t, c)
	out, err := Assess([]*Shard{s}, snap, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAgreesWithRules holds the matcher against the rules that the patches
// imply: a patch is found missing, or replaced by a newer one, exactly when
// its rules say that it applies and is not installed.
func TestAgreesWithRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genContents(t)
		for i := range c.Patches {
			c.Patches[i].Archives = []string{release}
			for j := range c.Patches[i].Items {
				c.Patches[i].Items[j].Archives = nil
				if c.Patches[i].Items[j].Arch == "i386" {
					c.Patches[i].Items[j].Arch = "amd64"
				}
			}
		}
		snap := genMachine(t)
		s := shardOf(t, c)
		findings, err := Assess([]*Shard{s}, snap, nil)
		if err != nil {
			t.Fatal(err)
		}
		newest := map[string]string{} // package and architecture -> what the finding offers
		for _, f := range findings {
			newest[f.Package+" "+snap.OS.EffectiveArch(f.Arch)] = f.Available
		}
		for _, p := range c.Patches {
			applicable, installed := p.Rules()
			byRules := detect.Eval(applicable, snap.Facts()).Value == detect.True && detect.Eval(installed, snap.Facts()).Value == detect.False
			byMatch := false
			for _, it := range p.Items {
				offered, found := newest[it.Name+" amd64"]
				byMatch = byMatch || found && older(snap, it) && Comparer("dpkg")(offered, it.Version) >= 0
			}
			if byRules != byMatch {
				t.Fatalf("%s: rules say missing=%v, match says %v\nmachine %+v\nfindings %+v", p.ID, byRules, byMatch, snap.Packages, findings)
			}
		}
		for _, f := range findings {
			p, _, err := s.Patch(f.Patch)
			if err != nil {
				t.Fatal(err)
			}
			applicable, installed := p.Rules()
			if detect.Eval(applicable, snap.Facts()).Value != detect.True || detect.Eval(installed, snap.Facts()).Value != detect.False {
				t.Fatalf("%+v is found, its rules disagree", f)
			}
		}
	})
}

func shardOf(t *rapid.T, c Contents) *Shard {
	var b strings.Builder
	if err := Encode(&b, c); err != nil {
		t.Fatal(err)
	}
	s, err := Open(strings.NewReader(b.String()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// older reports whether the machine has the item's package in an older version.
func older(snap *inventory.Snapshot, it patch.Item) bool {
	for _, p := range snap.Find(it.Kind, it.Name) {
		if snap.OS.EffectiveArch(p.Arch) == "amd64" && Comparer("dpkg")(p.Version, it.Version) < 0 {
			return true
		}
	}
	return false
}

// brief form of a finding for tables: "package installed -> available state".
func lines(findings []Finding) []string {
	var out []string
	for _, f := range findings {
		line := fmt.Sprintf("%s %s -> %s %s", f.Package, f.Installed, f.Available, f.State)
		if f.Security {
			line += " security"
		}
		out = append(out, line)
	}
	return out
}

func TestCandidates(t *testing.T) {
	c := Contents{Header: testHeader(), Patches: []patch.Patch{
		debPatch("zlib", "1.0-1", []string{release}, "zlib1g", "zlib1g-dev"),
		debPatch("zlib", "1.0-1+deb12u1", []string{security}, "zlib1g", "zlib1g-dev"),
		debPatch("zlib", "1.2-1~bpo12+1", []string{backports}, "zlib1g", "zlib1g-dev"),
		debPatch("zlib", "2.0-1", []string{unstable}, "zlib1g"),
		debPatch("zlib", "1.1-1", []string{oldSecurity}, "zlib1g"),
	}}
	hold := func(s *inventory.Snapshot) *inventory.Snapshot { s.Packages[0].Hold = true; return s }
	pins := func(s *inventory.Snapshot, target string, p ...inventory.Pin) *inventory.Snapshot {
		s.Policy = inventory.Policy{Pins: p, DefaultRelease: target}
		return s
	}
	one := []string{"zlib1g"}
	for name, x := range map[string]struct {
		snap *inventory.Snapshot
		want []string
	}{
		"level":                  {machine("zlib1g", "1.0-1+deb12u1"), nil},
		"not installed":          {machine("bash", "5.2-1"), nil},
		"behind":                 {machine("zlib1g", "1.0-1"), []string{"zlib1g 1.0-1 -> 1.0-1+deb12u1 missing security"}},
		"ahead of everything":    {machine("zlib1g", "3.0-1"), nil},
		"superseded is no offer": {machine("zlib1g", "1.0-1+deb12u1+b1"), []string{"zlib1g 1.0-1+deb12u1+b1 -> 1.2-1~bpo12+1 missing"}},
		"from backports":         {machine("zlib1g", "1.2-1~bpo11+1"), []string{"zlib1g 1.2-1~bpo11+1 -> 1.2-1~bpo12+1 missing"}},
		"held":                   {hold(machine("zlib1g", "1.0-1")), []string{"zlib1g 1.0-1 -> 1.0-1+deb12u1 held security"}},
		"pinned away":            {pins(machine("zlib1g", "1.0-1"), "", inventory.Pin{Packages: one, Type: "release", Value: "l=Debian-Security", Priority: -1}), []string{"zlib1g 1.0-1 -> 1.0-1+deb12u1 pinned security"}},
		"pinned to a version":    {pins(machine("zlib1g", "1.0-1"), "", inventory.Pin{Packages: one, Type: "version", Value: "1.0-1", Priority: 1001}), []string{"zlib1g 1.0-1 -> 1.0-1+deb12u1 pinned security"}},
		"pinned to backports":    {pins(machine("zlib1g", "1.0-1"), "", inventory.Pin{Packages: []string{"zlib*"}, Type: "release", Value: "n=bookworm-backports", Priority: 600}), []string{"zlib1g 1.0-1 -> 1.2-1~bpo12+1 missing"}},
		"the first pin rules": {pins(machine("zlib1g", "1.0-1"), "",
			inventory.Pin{Packages: []string{"/^zlib/"}, Type: "release", Value: "a=oldstable*", Priority: 400},
			inventory.Pin{Packages: one, Type: "release", Value: "l=Debian-Security", Priority: -1}), []string{"zlib1g 1.0-1 -> 1.2-1~bpo12+1 missing"}},
		"a general pin":         {pins(machine("zlib1g", "1.0-1"), "", inventory.Pin{Packages: []string{"*"}, Type: "origin", Value: "security.example", Priority: 50}), []string{"zlib1g 1.0-1 -> 1.0-1+deb12u1 pinned security"}},
		"a target release":      {pins(machine("zlib1g", "1.0-1"), "bookworm"), []string{"zlib1g 1.0-1 -> 1.0-1+deb12u1 pinned security"}},
		"a downgrade":           {pins(machine("zlib1g", "1.0-1+deb12u1"), "", inventory.Pin{Packages: one, Type: "version", Value: "1.0-1", Priority: 1001}), nil},
		"another's pin":         {pins(machine("zlib1g", "1.0-1"), "", inventory.Pin{Packages: []string{"bash"}, Type: "release", Value: "l=Debian-Security", Priority: -1}), []string{"zlib1g 1.0-1 -> 1.0-1+deb12u1 missing security"}},
		"an unreadable pattern": {pins(machine("zlib1g", "1.0-1"), "", inventory.Pin{Packages: []string{"/(/"}, Type: "release", Value: "l=Debian-Security", Priority: -1}), []string{"zlib1g 1.0-1 -> 1.0-1+deb12u1 missing security"}},
	} {
		if diff := cmp.Diff(x.want, lines(assess(t, c, x.snap))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestArchitectures(t *testing.T) {
	native := debPatch("zlib", "1.1-1", []string{release}, "zlib1g", "zlib-doc")
	native.Items[1].Arch = "all"
	foreign := debPatch("zlib", "1.1-1", []string{release}, "zlib1g", "zlib-doc")
	foreign.ID, foreign.Platform = "debian-12:i386:zlib:1.1-1", "debian-12-i386"
	foreign.Items[0].Arch, foreign.Items[1].Arch = "i386", "all"
	h := testHeader()
	h.Platform = "debian-12-i386"
	a, _ := encode(t, Contents{Header: testHeader(), Patches: []patch.Patch{native}})
	b, _ := encode(t, Contents{Header: h, Patches: []patch.Patch{foreign}})
	snap := machine("zlib1g", "1.0-1", "zlib1g", "1.0-1", "zlib-doc", "1.0-1")
	for i := range snap.Packages {
		if snap.Packages[i].Name == "zlib-doc" {
			snap.Packages[i].Arch = "all"
		}
	}
	snap.Packages[2].Arch = "i386"
	got, err := Assess([]*Shard{a, b}, snap, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range got {
		out = append(out, f.Package+" "+f.Arch+" "+string(f.Patch)+" "+f.Reason)
	}
	want := []string{
		"zlib-doc all debian-12:amd64:zlib:1.1-1 zlib-doc 1.0-1 is installed; 1.1-1 is in Debian bookworm",
		"zlib1g amd64 debian-12:amd64:zlib:1.1-1 zlib1g 1.0-1 is installed; 1.1-1 is in Debian bookworm",
		"zlib1g i386 debian-12:i386:zlib:1.1-1 zlib1g:i386 1.0-1 is installed; 1.1-1 is in Debian bookworm",
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestOpenCVEs(t *testing.T) {
	fix := func(n int, in string) patch.CVEFix {
		return patch.CVEFix{ID: fmt.Sprintf("CVE-2026-%04d", n), FixedIn: in}
	}
	u1 := debPatch("zlib", "1.0-1+deb12u1", []string{security}, "zlib1g")
	u1.CVEs = []patch.CVEFix{fix(1, "1.0-1+deb12u1"), fix(9, "0.9-1")}
	u1.Advisories = []string{"DSA-1-1"}
	u2 := debPatch("zlib", "1.0-1+deb12u2", []string{security}, "zlib1g", "zlib1g-dev")
	u2.CVEs, u2.Advisories, u2.Severity = []patch.CVEFix{fix(2, "1.0-1+deb12u2"), fix(7, "1.2-1")}, []string{"DSA-2-1", "DSA-7-1"}, patch.Moderate
	c := Contents{
		Header: testHeader(), Patches: []patch.Patch{debPatch("zlib", "1.0-1", []string{release}, "zlib1g"), u1, u2},
		Advisories: []patch.Advisory{
			{ID: "DSA-1-1", Severity: patch.Important, Fixes: []patch.Fix{{Product: "zlib", Release: "bookworm", Version: "1.0-1+deb12u1"}, {Product: "zlib", Release: "trixie", Version: "1.9-1"}}},
			{ID: "DSA-2-1", Fixes: []patch.Fix{{Product: "zlib", Release: "bookworm", Version: "1.0-1+deb12u2"}}},
		},
		Vulnerabilities: []patch.Vulnerability{
			{ID: "CVE-2026-0001", Severity: patch.Low, EPSS: 0.9, KEV: &patch.KEV{Added: "2026-01-01"}},
			{ID: "CVE-2026-0002", Severity: patch.Low, EPSS: 0.2},
		},
	}
	got := assess(t, c, machine("zlib1g", "1.0-1"))[0]
	if diff := cmp.Diff([]string{"CVE-2026-0001", "CVE-2026-0002"}, got.CVEs); diff != "" {
		t.Errorf("CVEs from the release (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"DSA-1-1", "DSA-2-1", "DSA-7-1"}, got.Advisories); diff != "" {
		t.Errorf("advisories from the release (-want +got):\n%s", diff)
	}
	if got.Severity != patch.Important || !got.Exploited || got.EPSS != 0.9 {
		t.Errorf("from the release: %s, exploited %v, EPSS %v", got.Severity, got.Exploited, got.EPSS)
	}
	got = assess(t, c, machine("zlib1g", "1.0-1+deb12u1"))[0]
	if !slices.Equal(got.CVEs, []string{"CVE-2026-0002"}) || !slices.Equal(got.Advisories, []string{"DSA-2-1", "DSA-7-1"}) || got.Exploited || got.Severity != patch.Low {
		t.Errorf("from the first update: %+v", got)
	}
	// A binary rebuild counts by its source version.
	snap := machine("zlib1g", "1.0-1+b1")
	snap.Packages[0].SourceVersion = "1.0-1+deb12u1"
	if got := assess(t, c, snap)[0]; !slices.Equal(got.CVEs, []string{"CVE-2026-0002"}) {
		t.Errorf("a rebuild: %v", got.CVEs)
	}
}

func TestUnknownSeverityIsNeverLow(t *testing.T) {
	p := debPatch("zlib", "1.1-1", []string{security}, "zlib1g")
	p.Severity = ""
	p.CVEs = []patch.CVEFix{{ID: "CVE-2026-0001", FixedIn: "1.1-1"}}
	if got := assess(t, Contents{Header: testHeader(), Patches: []patch.Patch{p}}, machine("zlib1g", "1.0-1"))[0]; got.Severity != patch.Unknown {
		t.Errorf("nothing known: %q", got.Severity)
	}
	p.Severity = patch.Critical
	if got := assess(t, Contents{Header: testHeader(), Patches: []patch.Patch{p}}, machine("zlib1g", "1.0-1"))[0]; got.Severity != patch.Critical {
		t.Errorf("the patch alone knows: %q", got.Severity)
	}
}

func TestEvidence(t *testing.T) {
	got := assess(t, Contents{Header: testHeader(), Patches: []patch.Patch{debPatch("zlib", "1.1-1", []string{security}, "zlib1g")}}, machine("zlib1g", "1.0-1"))[0]
	want := []detect.Evidence{{Test: "package dpkg zlib1g:amd64", Want: "lt 1.1-1", Found: "1.0-1", Value: detect.True}}
	if diff := cmp.Diff(want, got.Evidence); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
}

// files answers rules with versions of files; nothing else is known.
type files struct {
	detect.Facts
	versions map[string]string
	family   string
}

func (f files) File(path string) (detect.FileFact, error) {
	v, ok := f.versions[path]
	if v == "?" {
		return detect.FileFact{}, detect.Unknown("access is denied")
	}
	return detect.FileFact{Exists: ok, Version: v}, nil
}

func (f files) OS() (detect.OSFact, error) { return detect.OSFact{Family: f.family}, nil }

func TestSupersedenceChains(t *testing.T) {
	kernel := `%windir%\ntoskrnl.exe`
	kb3 := windowsPatch("KB3", "10.0.1.3", "KB2")
	kb2 := windowsPatch("KB2", "10.0.1.2", "KB1")
	kb1 := windowsPatch("KB1", "10.0.1.1")
	kb1.CVEs = []patch.CVEFix{{ID: "CVE-2026-0001"}}
	kb3.CVEs = []patch.CVEFix{{ID: "CVE-2026-0003"}}
	other := windowsPatch("KB9", "10.0.1.9", "KB3")
	other.Applicable = &detect.Rule{OSBuild: &detect.OSBuild{Family: "darwin"}}
	h := testHeader()
	h.Platform = "windows-11-amd64"
	s, _ := encode(t, Contents{Header: h, Patches: []patch.Patch{kb1, kb2, kb3, other}})
	for name, x := range map[string]struct {
		facts files
		want  []string
	}{
		"old":     {files{versions: map[string]string{kernel: "10.0.1.0"}, family: "windows"}, []string{"KB3 missing [CVE-2026-0001 CVE-2026-0003]"}},
		"between": {files{versions: map[string]string{kernel: "10.0.1.1"}, family: "windows"}, []string{"KB3 missing [CVE-2026-0003]"}},
		"level":   {files{versions: map[string]string{kernel: "10.0.1.3"}, family: "windows"}, nil},
		"foreign": {files{versions: map[string]string{kernel: "10.0.1.0"}, family: "linux"}, nil},
		"unread":  {files{versions: map[string]string{kernel: "?"}, family: "windows"}, []string{"KB3 unknown [CVE-2026-0001 CVE-2026-0003]"}},
	} {
		out, err := Assess([]*Shard{s}, &inventory.Snapshot{}, x.facts)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range out {
			got = append(got, fmt.Sprintf("%s %s %v", f.Patch, f.State, f.CVEs))
			if f.State == Unsure && !strings.Contains(f.Reason, "access is denied") {
				t.Errorf("%s: the reason %q does not say why", name, f.Reason)
			}
		}
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestKernelsSideBySide checks that of several installed versions of one name
// only the newest can lack a patch.
func TestKernelsSideBySide(t *testing.T) {
	p := debPatch("kernel", "5.14.0-3", nil, "kernel")
	p.Items[0].Kind = "rpm"
	snap := machine("kernel", "5.14.0-1", "kernel", "5.14.0-2")
	for i := range snap.Packages {
		snap.Packages[i].Kind = "rpm"
	}
	got := lines(assess(t, Contents{Header: testHeader(), Patches: []patch.Patch{p}}, snap))
	if want := []string{"kernel 5.14.0-2 -> 5.14.0-3 missing"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
