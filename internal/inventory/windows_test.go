package inventory

import (
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
)

func TestWindowsOf(t *testing.T) {
	for _, c := range []struct {
		build  string
		server bool
		want   string
	}{
		{"10.0.22631.3007", false, "windows-11-23h2-amd64"},
		{"10.0.17763.8389", true, "windows-server-2019-amd64"},
		{"10.0.17763", false, "windows-10-1809-amd64"},
		{"6.1.7601", false, "windows-7-amd64"},
		{"6.1.7600.16385", true, "windows-server-2008-r2-amd64"},
		{"6.0.6002", true, "windows-server-2008-amd64"},
		{"10.0.26100.1", true, "windows-server-2025-amd64"},
		{"10.0.12345.1", false, ""},
		{"10.0", false, ""},
		{"10.0.x.1", false, ""},
		{"", true, ""},
	} {
		r, ok := WindowsOf(c.build, c.server)
		got := ""
		if ok {
			got = r.Platform("amd64")
		}
		if got != c.want {
			t.Errorf("%q server %v: %q, want %q", c.build, c.server, got, c.want)
		}
	}
}

func TestWindowsReleasesAreDistinct(t *testing.T) {
	platforms, builds := map[string]bool{}, map[string]bool{}
	for _, r := range WindowsReleases() {
		if p := r.Platform("amd64"); platforms[p] {
			t.Errorf("%s stands twice", p)
		} else {
			platforms[p] = true
		}
		for _, b := range r.Builds {
			key := b + map[bool]string{true: " server"}[r.Server]
			if builds[key] {
				t.Errorf("%s belongs to two releases", key)
			}
			builds[key] = true
		}
	}
}

func TestWindowsFacts(t *testing.T) {
	s := Snapshot{OS: OS{Family: "windows", ID: "windows-10", Version: "1809", Build: "10.0.17763.379", Edition: "EnterpriseS", Arch: "amd64"}}
	want := detect.OSFact{Family: "windows", Product: "EnterpriseS", Build: "10.0.17763.379", Arch: "amd64"}
	if got, err := s.Facts().OS(); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestComponentPackages: of component based servicing the inventory lists
// updates alone, so that of others it can't say that they are lacking.
func TestComponentPackages(t *testing.T) {
	const update = "Package_for_KB1~31bf3856ad364e35~amd64~~1.0.0.0"
	s := Snapshot{Packages: []Package{{Kind: "cbs", Name: update, Arch: "amd64", Version: "1.0.0.0"}}}
	for name, want := range map[string]detect.Value{
		update: detect.True, "Package_for_KB2~31bf3856ad364e35~amd64~~1.0.0.0": detect.False,
		"Microsoft-Windows-IE~31bf3856ad364e35~amd64~~11.0.0.0": detect.Undetermined,
	} {
		if got := detect.Eval(detect.Rule{Package: &detect.Package{Kind: "cbs", Name: name}}, s.Facts()); got.Value != want {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
	}
}

// TestScopesHaveAnOrder: the same product of two users sorts the same way
// whoever comes first.
func TestScopesHaveAnOrder(t *testing.T) {
	a, b := Package{Kind: "arp", Name: "x", Version: "1", Scope: "user:a"}, Package{Kind: "arp", Name: "x", Version: "1", Scope: "user:b"}
	if ComparePackages(a, b) >= 0 || ComparePackages(b, a) <= 0 || ComparePackages(a, a) != 0 {
		t.Error("the scope does not count")
	}
}
