package inventory

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/detect"
)

func TestAppName(t *testing.T) {
	for _, c := range []struct{ title, publisher, want string }{
		{"Mozilla Firefox (x64 en-US)", "Mozilla", "mozilla firefox|mozilla"},
		{"Mozilla Firefox (en-US)", "Mozilla Corporation", "mozilla firefox|mozilla"},
		{"7-Zip 25.01 (x64)", "Igor Pavlov", "7-zip|igor pavlov"},
		{"7-Zip 26.02 (x64 edition)", "Igor Pavlov", "7-zip edition|igor pavlov"},
		{"Notepad++ (64-bit x64)", "Notepad++ Team", "notepad++|notepad++ team"},
		{"Git version 2.55.0.3", "The Git Development Community", "git|the git development community"},
		{"Microsoft Office 2019", "Microsoft Corporation", "microsoft office 2019|microsoft"},
		{"Zoom™ Workplace", "Zoom Video Communications, Inc.", "zoom workplace|zoom video communications"},
		{"Tool v1.2", "SE Ltd.", "tool|se"},
		{"Tool", "", ""},
		{"", "Maker", ""},
		{"1.2.3", "Maker", ""},
		{"(x64)", "Maker", ""},
	} {
		if got := AppName(c.title, c.publisher); got != c.want {
			t.Errorf("AppName(%q, %q) is %q, want %q", c.title, c.publisher, got, c.want)
		}
	}
}

// TestAppNameKeeps: a name of a name is itself, and a version put behind it
// changes nothing.
func TestAppNameKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		title := rapid.StringMatching(`[A-Za-z+#]{2,8}( [A-Za-z0-9]{2,6}){0,2}`).Draw(t, "title")
		maker := rapid.StringMatching(`[A-Z][a-z]{1,8}`).Draw(t, "maker")
		name := AppName(title, maker)
		version := rapid.StringMatching(`v?[0-9]{1,3}(\.[0-9]{1,5}){1,3}`).Draw(t, "version")
		for _, same := range []string{title + " " + version, title + " (x64)", strings.ToUpper(title), "  " + title + " (x64 de-DE) "} {
			if got := AppName(same, maker); got != name {
				t.Fatalf("%q is %q, %q is %q", title, name, same, got)
			}
		}
		if before, after, ok := strings.Cut(name, "|"); name != "" && (!ok || AppName(before, after) != name) {
			t.Fatalf("the name of %q is not itself: %q", name, AppName(before, after))
		}
	})
}

const guid, family = "{9E1C1679-240F-3EBC-BEDC-71AE38841E09}", "{C1DFDF69-5945-32F2-A35E-EE94C99C7CF4}"

func TestIdentities(t *testing.T) {
	p := Package{Kind: "arp", Name: strings.ToLower(guid), Arch: "386", Version: "1.0", Title: "Tool 1.0", Publisher: "Maker Inc.", UpgradeCode: family}
	want := []Identity{{"arp", guid}, {"msi", guid}, {"upgrade", family}, {"app", "tool|maker"}}
	if diff := cmp.Diff(want, p.Identities()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := (Package{Kind: "dpkg", Name: "Bash"}).Identities(); !slices.Equal(got, []Identity{{"dpkg", "Bash"}}) {
		t.Errorf("a package of dpkg answers to %v", got)
	}
	for _, bad := range []string{"", "7-Zip", guid[1:], strings.Replace(guid, "-", "x", 1), strings.Replace(guid, "9", "g", 1)} {
		if IsGUID(bad) {
			t.Errorf("%q counts as a GUID", bad)
		}
	}
}

// TestFindByIdentity: a row is found under each of its names, whatever their
// case, and under no other.
func TestFindByIdentity(t *testing.T) {
	s := Snapshot{OS: OS{Family: "windows", Arch: "amd64"}, Packages: []Package{
		{Kind: "arp", Name: "7-Zip", Arch: "amd64", Version: "25.01", Title: "7-Zip 25.01 (x64)", Publisher: "Igor Pavlov"},
		{Kind: "arp", Name: "Tool", Version: "3.0", Title: "Tool", Publisher: "Maker", Scope: "user:eve"},
		{Kind: "arp", Name: guid, Arch: "386", Version: "1.0", Title: "Tool 1.0", Publisher: "Maker", UpgradeCode: family},
		{Kind: "kb", Name: "KB5034127"},
	}}
	slices.SortFunc(s.Packages, ComparePackages)
	for _, c := range []struct {
		kind, name     string
		found, machine int
	}{
		{"arp", "7-ZIP", 1, 1},
		{"app", "7-Zip|Igor Pavlov", 1, 1},
		{"arp", strings.ToLower(guid), 1, 1},
		{"msi", guid, 1, 1},
		{"upgrade", strings.ToLower(family), 1, 1},
		{"app", "tool|maker", 2, 1},
		{"arp", "tool", 1, 0},
		{"msi", "7-Zip", 0, 0},
		{"app", "7-zip", 0, 0},
		{"upgrade", guid, 0, 0},
		{"kb", "KB5034127", 1, 1},
		{"kb", "kb5034127", 0, 0},
	} {
		if got := s.Find(c.kind, c.name); len(got) != c.found {
			t.Errorf("Find(%s, %s) gives %v, want %d", c.kind, c.name, got, c.found)
		}
		got, err := s.Facts().Packages(c.kind, c.name)
		if err != nil || len(got) != c.machine {
			t.Errorf("Packages(%s, %s) gives %v, %v, want %d", c.kind, c.name, got, err, c.machine)
		}
	}
	rule := detect.Rule{Package: &detect.Package{Kind: "msi", Name: guid, Op: detect.GE, Version: "1.0"}}
	if v := detect.Eval(rule, s.Facts()); v.Value != detect.True {
		t.Errorf("a rule by product code: %+v", v)
	}
}

func FuzzAppName(f *testing.F) {
	f.Add("Mozilla Firefox (x64 en-US) 1.2", "Mozilla Corporation")
	f.Add("é 1.é", "\xff")
	f.Fuzz(func(t *testing.T, title, publisher string) {
		name := AppName(title, publisher)
		if name == "" {
			return
		}
		if a, b, ok := strings.Cut(name, "|"); !ok || a == "" || b == "" || strings.Contains(b, "|") {
			t.Errorf("%q", name)
		}
		if Named(KindApp, name).Name != name {
			t.Errorf("%q is not in its folded form", name)
		}
	})
}
