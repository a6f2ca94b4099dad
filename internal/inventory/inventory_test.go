package inventory

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"gotest.tools/v3/golden"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
)

func sample() Snapshot {
	return Snapshot{
		OS: OS{Family: "linux", ID: "debian", Version: "12", Build: "12.12", Codename: "bookworm", Name: "Debian GNU/Linux 12 (bookworm)", Arch: "amd64", Hostname: "web1"},
		Packages: []Package{
			{Kind: "dpkg", Name: "libssl3", Arch: "amd64", Version: "3.0.15-1~deb12u1", Source: "openssl"},
			{Kind: "dpkg", Name: "libssl3", Arch: "i386", Version: "3.0.14-1", Source: "openssl", Hold: true},
			{Kind: "dpkg", Name: "tzdata", Arch: "all", Version: "2025b-0+deb12u1", SourceVersion: "2025b-0", Broken: "half-configured"},
		},
		Policy: Policy{
			ForeignArchs: []string{"i386"}, DefaultRelease: "bookworm", ThirdParty: []string{"Vendor stable"},
			Pins: []Pin{{Packages: []string{"libssl*"}, Type: "release", Value: "a=bookworm, l=Debian", Priority: -1}},
		},
		Hardware: Hardware{Vendor: "QEMU", Model: "pc", Serial: "1", Firmware: "SeaBIOS 1.16", CPU: "AMD EPYC", Cores: 2, MemoryMiB: 2048, Disks: []Disk{{"vda", 20480}}, Virtual: "kvm"},
		Network:  Network{Interfaces: []Interface{{Name: "eth0", MAC: "02:00:00:00:00:01", Addresses: []string{"192.0.2.7/24", "2001:db8::7/64"}}}},
		State: State{
			BootID: "b", BootTime: time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC), RunningKernel: "6.1.0-40-amd64", NewestKernel: "6.1.0-41-amd64",
			RebootDue: true, RebootReasons: []string{"linux-image-6.1.0-41-amd64"}, RestartsDue: []string{"ssh.service"}, ManagerBroken: true,
		},
		Answers: Answers{LeftOut: 2, Given: []Answer{
			{Test: detect.Rule{File: &detect.File{Path: "/opt/app/app"}}, Answer: detect.Answer{Value: detect.True}},
			{Test: detect.Rule{FileVersion: &detect.FileVersion{Path: "/opt/app/lib", Op: detect.LT, Version: "2"}}, Answer: detect.Answer{Value: detect.Undetermined, Found: "the file carries no version"}},
		}},
	}
}

func genSnapshot(t *rapid.T) Snapshot {
	s := Snapshot{OS: OS{ID: rapid.SampledFrom([]string{"debian", "ubuntu"}).Draw(t, "id"), Hostname: rapid.String().Draw(t, "host"), Arch: "amd64"}}
	for range rapid.IntRange(0, 8).Draw(t, "packages") {
		s.Packages = append(s.Packages, Package{
			Kind: rapid.SampledFrom([]string{"dpkg", "rpm"}).Draw(t, "kind"), Name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"),
			Arch: rapid.SampledFrom([]string{"", "all", "amd64", "i386"}).Draw(t, "arch"), Version: rapid.StringMatching(`[0-9]\.[0-9]`).Draw(t, "version"),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "pins") {
		s.Policy.Pins = append(s.Policy.Pins, Pin{Packages: []string{"*"}, Type: "release", Value: rapid.String().Draw(t, "pin"), Priority: rapid.IntRange(-1, 1001).Draw(t, "priority")})
	}
	s.State.RebootDue = rapid.Bool().Draw(t, "reboot")
	return s
}

func TestSplitJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genSnapshot(t)
		sections, err := Split(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Join(rapid.Permutation(sections).Draw(t, "order"))
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(want.Packages, ComparePackages)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		again, err := Split(got)
		if err != nil {
			t.Fatal(err)
		}
		if Root(sections) != Root(again) || !cmp.Equal(sections, again) {
			t.Fatal("splitting again gave other bytes")
		}
	})
}

// TestSplitIgnoresOrder: collectors may list packages as they please, and the
// argument stays as it was.
func TestSplitIgnoresOrder(t *testing.T) {
	a, b := sample(), sample()
	slices.Reverse(b.Packages)
	sa, err := Split(a)
	if err != nil {
		t.Fatal(err)
	}
	sb, err := Split(b)
	if err != nil {
		t.Fatal(err)
	}
	if Root(sa) != Root(sb) {
		t.Error("the same packages in another order have another hash")
	}
	if b.Packages[0].Name != "tzdata" {
		t.Error("Split sorted the caller's packages")
	}
}

// TestOnlyTheChangedSectionChanges is what keeps check-ins small.
func TestOnlyTheChangedSectionChanges(t *testing.T) {
	before, err := Split(sample())
	if err != nil {
		t.Fatal(err)
	}
	s := sample()
	s.State.RebootDue = false
	after, err := Split(s)
	if err != nil {
		t.Fatal(err)
	}
	for i, sec := range before {
		if same := sec.Hash == after[i].Hash; same != (sec.Name != SectionState) {
			t.Errorf("section %s: hash unchanged is %v", sec.Name, same)
		}
	}
	if Root(before) == Root(after) {
		t.Error("the root did not change")
	}
}

func TestJoinRefuses(t *testing.T) {
	good := func() []Section {
		s, err := Split(sample())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	body := func(name SectionName, text string) []Section {
		s := good()
		i := slices.IndexFunc(s, func(x Section) bool { return x.Name == name })
		s[i] = Section{Name: name, Body: json.RawMessage(text), Hash: HashBody([]byte(text))}
		return s
	}
	for name, c := range map[string]struct {
		sections []Section
		says     string
	}{
		"nothing":            {nil, "section os is missing"},
		"one missing":        {good()[1:], "section os is missing"},
		"one twice":          {append(good(), good()[0]), "section os comes twice"},
		"an unknown one":     {append(good(), Section{Name: "secrets"}), `unknown section "secrets"`},
		"another hash":       {func() []Section { s := good(); s[1].Hash = s[0].Hash; return s }(), "announced as"},
		"no body":            {func() []Section { s := good(); s[1].Body = nil; return s }(), "announced as"},
		"no JSON":            {body(SectionPackages, `[{"k":`), "section packages is not well-formed"},
		"another type":       {body(SectionOS, `[]`), "section os is not well-formed"},
		"deep nesting":       {body(SectionPackages, strings.Repeat("[", 20_000)), "not well-formed"},
		"a package too much": {body(SectionPackages, "["+strings.Repeat(" ", MaxSection)+"]"), "at most 16777216 are taken"},
	} {
		_, err := Join(c.sections)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Public(err), c.says) {
			t.Errorf("%s: %v, want Invalid that says %q", name, err, c.says)
		}
	}
}

// TestJoinSorts: look-ups need the order, and agents are not trusted to keep it.
func TestJoinSorts(t *testing.T) {
	text := `[{"k":"dpkg","n":"zlib1g","v":"1"},{"k":"dpkg","n":"bash","v":"2"}]`
	sections, err := Split(sample())
	if err != nil {
		t.Fatal(err)
	}
	sections[1] = Section{Name: SectionPackages, Body: json.RawMessage(text), Hash: HashBody([]byte(text))}
	s, err := Join(sections)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Find("dpkg", "bash"); len(got) != 1 || got[0].Version != "2" {
		t.Errorf("bash is %+v", got)
	}
}

func TestFind(t *testing.T) {
	s := sample()
	for _, c := range []struct {
		kind, name string
		want       int
	}{{"dpkg", "libssl3", 2}, {"dpkg", "tzdata", 1}, {"dpkg", "libssl", 0}, {"dpkg", "zzz", 0}, {"rpm", "libssl3", 0}, {"", "", 0}} {
		if got := s.Find(c.kind, c.name); len(got) != c.want {
			t.Errorf("Find(%s, %s) = %v, want %d", c.kind, c.name, got, c.want)
		}
	}
}

func TestFacts(t *testing.T) {
	s := sample()
	s.Answers = Answers{} // of a machine that was asked nothing
	f := s.Facts()
	got, err := f.Packages("dpkg", "tzdata")
	if diff := cmp.Diff([]detect.PackageFact{{Version: "2025b-0+deb12u1", Arch: "amd64"}}, got); diff != "" || err != nil {
		t.Errorf("all counts as native (-want +got):\n%s%v", diff, err)
	}
	if got, err := f.OS(); err != nil || got != (detect.OSFact{Family: "linux", Product: "debian", Build: "12", Arch: "amd64"}) {
		t.Errorf("OS: %+v, %v", got, err)
	}
	for name, r := range map[string]detect.Rule{
		"file":     {File: &detect.File{Path: "/etc/motd"}},
		"checksum": {FileChecksum: &detect.FileChecksum{Path: "/etc/motd"}},
		"registry": {RegistryKey: &detect.RegistryKey{Key: "HKLM"}},
		"WMI":      {WMI: &detect.WMI{Namespace: `root\cimv2`, Query: "SELECT * FROM Win32_BIOS"}},
	} {
		if v := detect.Eval(r, f); v.Value != detect.Undetermined || v.Evidence[0].Found != notAsked {
			t.Errorf("%s: %+v, want unknown", name, v)
		}
	}
}

func TestPlatform(t *testing.T) {
	o := OS{ID: "Debian", Version: "12", Arch: "amd64"}
	if o.Platform() != "debian-12-amd64" || o.PlatformFor("i386") != "debian-12-i386" {
		t.Errorf("%s, %s", o.Platform(), o.PlatformFor("i386"))
	}
	for arch, want := range map[string]string{"all": "amd64", "noarch": "amd64", "": "amd64", "i386": "i386"} {
		if got := o.EffectiveArch(arch); got != want {
			t.Errorf("EffectiveArch(%q) = %s, want %s", arch, got, want)
		}
	}
}

// TestGolden pins the wire form of each section and its hash.
func TestGolden(t *testing.T) {
	sections, err := Split(sample())
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(sections, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Assert(t, string(got)+"\n", "sections.json")
}

// FuzzJoin feeds a section's body, correctly hashed, as a hostile agent would.
func FuzzJoin(f *testing.F) {
	sections, err := Split(sample())
	if err != nil {
		f.Fatal(err)
	}
	for i, s := range sections {
		f.Add(uint8(i), []byte(s.Body))
	}
	f.Add(uint8(1), []byte(`[{"k":"dpkg","n":"z"},{"k":"a"}]`))
	f.Add(uint8(0), []byte(`null`))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		in := slices.Clone(sections)
		i := int(which) % len(in)
		in[i] = Section{Name: in[i].Name, Body: body, Hash: HashBody(body)}
		s, err := Join(in)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if !slices.IsSortedFunc(s.Packages, ComparePackages) {
			t.Fatal("packages are out of order")
		}
		again, err := Split(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Join(again); err != nil {
			t.Fatalf("what was taken can't be joined again: %v", err)
		}
	})
}
