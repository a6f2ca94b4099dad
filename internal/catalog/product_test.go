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
	oldCode = "{11111111-1111-1111-1111-111111111111}"
	newCode = "{22222222-2222-2222-2222-222222222222}"
	family  = "{AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA}"
)

// app makes the patch of an application; names are "kind name" pairs.
func app(id, version, arch, kind string, names ...string) patch.Patch {
	p := patch.Patch{
		ID: patch.ID(id), Vendor: "winget", Platform: "windows-apps-amd64", Product: "Maker.Tool", Version: version, Title: "Tool " + version,
		Classification: patch.Application, Severity: patch.Unknown, Install: patch.Manifest{Kind: kind, Scope: "machine"},
	}
	for _, n := range names {
		k, name, _ := strings.Cut(n, " ")
		p.Items = append(p.Items, patch.Item{Kind: k, Name: name, Arch: arch, Version: version})
	}
	return p
}

func appShard(t testing.TB, ps ...patch.Patch) *Shard {
	t.Helper()
	c, err := Merge(Contents{Header: Header{Format: Format, Platform: "windows-apps-amd64"}, Patches: ps})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := encode(t, c)
	return s
}

func windowsMachine(products ...inventory.Package) *inventory.Snapshot {
	s := &inventory.Snapshot{OS: inventory.OS{Family: "windows", ID: "windows", Version: "10-1903", Build: "10.0.18362.1", Arch: "amd64"}}
	for _, p := range products {
		p.Kind = "arp"
		s.Packages = append(s.Packages, p)
	}
	slices.SortFunc(s.Packages, inventory.ComparePackages)
	return s
}

// TestProducts: a product is matched by product code, upgrade code, Uninstall
// key or display name, once, and by what fits it best.
func TestProducts(t *testing.T) {
	msi := app("msi:2", "2.0", "amd64", "msi", "arp "+newCode, "arp "+oldCode, "upgrade "+family, "app tool|maker")
	exe := app("exe:2", "2.0", "amd64", "exe", "arp Tool", "app tool|maker")
	small := app("msi32:2", "2.0", "386", "msi", "upgrade "+family, "app tool|maker")
	gated := app("msi:3", "3.0", "amd64", "msi", "upgrade "+family)
	gated.Applicable = &detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Op: detect.GE, Build: "10.0.22000"}}
	mine := app("user:2", "2.0", "amd64", "exe", "arp Tool", "app tool|maker")
	mine.Install.Scope = "user"
	bare := app("bare:2", "2.0", "amd64", "exe", "arp Bare")
	bare.Evidence = patch.Evidence{Verdict: patch.Unproven, Checks: []string{"nothing is installed from it: it is unsigned"}}
	next := app("bare:3", "3.0", "amd64", "exe", "arp Half")
	next.Evidence = patch.Evidence{Verdict: patch.Unproven, Checks: []string{"nothing is installed from it: it is not fetched"}}
	half := app("half:2", "2.0", "amd64", "exe", "arp Half")
	shard := appShard(t, msi, exe, small, gated, mine, bare, next, half)
	row := inventory.Package{Name: oldCode, Arch: "amd64", Version: "1.0", Title: "Tool 1.0", Publisher: "Maker Ltd", UpgradeCode: family}
	with := func(change func(*inventory.Package)) inventory.Package { p := row; change(&p); return p }
	for name, c := range map[string]struct {
		products []inventory.Package
		want     []string // "patch state"
		says     string
	}{
		"all identities":      {[]inventory.Package{row}, []string{"msi:2 missing"}, "Tool 1.0 1.0 is installed; 2.0 is in the catalog"},
		"upgrade code alone":  {[]inventory.Package{with(func(p *inventory.Package) { p.Name, p.Title = "{33333333-3333-3333-3333-333333333333}", "" })}, []string{"msi:2 missing"}, ""},
		"display name of msi": {[]inventory.Package{with(func(p *inventory.Package) { p.Name, p.UpgradeCode = "Other", "{BBBBBBBB-AAAA-AAAA-AAAA-AAAAAAAAAAAA}" })}, []string{"msi:2 missing"}, ""},
		"display name of exe": {[]inventory.Package{with(func(p *inventory.Package) { p.Name, p.UpgradeCode = "Other", "" })}, []string{"exe:2 missing"}, ""},
		"key, other case":     {[]inventory.Package{with(func(p *inventory.Package) { p.Name, p.UpgradeCode, p.Title = "TOOL", "", "" })}, []string{"exe:2 missing"}, ""},
		"32 bits":             {[]inventory.Package{with(func(p *inventory.Package) { p.Arch = "386" })}, []string{"msi32:2 missing"}, ""},
		"not installable yet": {[]inventory.Package{{Name: "Half", Arch: "amd64", Version: "1.0"}}, []string{"half:2 missing"}, "2.0 is in the catalog; 3.0 is out, but nothing is installed from it: it is not fetched"},
		"then the bulletin":   {[]inventory.Package{{Name: "Half", Arch: "amd64", Version: "2.0"}}, []string{"bare:3 missing"}, "3.0 is in the catalog, but nothing"},
		"level":               {[]inventory.Package{with(func(p *inventory.Package) { p.Name, p.Version = newCode, "2.0.0.0" })}, nil, ""},
		"not installable":     {[]inventory.Package{{Name: "Bare", Arch: "amd64", Version: "1.0"}}, []string{"bare:2 missing"}, "2.0 is in the catalog, but nothing is installed from it: it is unsigned"},
		"newer":               {[]inventory.Package{with(func(p *inventory.Package) { p.Version = "2.1" })}, nil, ""},
		"somebody else's":     {[]inventory.Package{{Name: "Other", Arch: "amd64", Version: "1.0", Title: "Tool", Publisher: "Faker"}}, nil, ""},
		"no version":          {[]inventory.Package{with(func(p *inventory.Package) { p.Version = "one" })}, []string{"msi:2 unknown"}, `the version "one", which can't be compared`},
		"two rows": {
			[]inventory.Package{row, with(func(p *inventory.Package) { p.Name, p.Version = "{33333333-3333-3333-3333-333333333333}", "0.9" })},
			[]string{"msi:2 missing"},
			"0.9 is installed",
		},
		"old beside new": {[]inventory.Package{row, with(func(p *inventory.Package) { p.Name, p.Version = newCode, "2.0" })}, []string{"msi:2 missing"}, ""},
		"one user's": {
			[]inventory.Package{with(func(p *inventory.Package) { p.Name, p.UpgradeCode, p.Scope = "Tool", "", "user:eve" })},
			[]string{"user:2 user_only"},
			"only user eve has Tool 1.0",
		},
		"two users'": {[]inventory.Package{
			with(func(p *inventory.Package) { p.Name, p.UpgradeCode, p.Scope = "Tool", "", "user:eve" }),
			with(func(p *inventory.Package) { p.Name, p.UpgradeCode, p.Scope, p.Version = "Tool", "", "user:bob", "0.5" }),
		}, []string{"user:2 user_only"}, "user bob has"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Assess([]*Shard{shard}, windowsMachine(c.products...), nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, string(f.Patch)+" "+string(f.State))
				if !strings.Contains(f.Reason, c.says) {
					t.Errorf("the reason is %q, want %q in it", f.Reason, c.says)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestProductCVEs: only what the installed version has and the newer has not.
func TestProductCVEs(t *testing.T) {
	v2, v3 := app("2", "2.0", "", "exe", "arp Tool"), app("3", "3.0", "", "exe", "arp Tool")
	v2.CVEs = []patch.CVEFix{{ID: "CVE-2026-0002", FixedIn: "2.0"}}
	v3.CVEs = []patch.CVEFix{{ID: "CVE-2026-0002", FixedIn: "2.0"}, {ID: "CVE-2026-0003", FixedIn: "3.0", From: "2.0"}, {ID: "CVE-2026-0004", FixedIn: "3.0"}}
	shard := appShard(t, v2, v3)
	for installed, want := range map[string][]string{
		"1.0": {"CVE-2026-0002", "CVE-2026-0004"}, "2.0": {"CVE-2026-0003", "CVE-2026-0004"}, "2.5": {"CVE-2026-0003", "CVE-2026-0004"},
	} {
		found, err := Assess([]*Shard{shard}, windowsMachine(inventory.Package{Name: "Tool", Arch: "amd64", Version: installed}), nil)
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		if !slices.Equal(found[0].CVEs, want) || !found[0].Security {
			t.Errorf("%s: %+v, want %v", installed, found[0], want)
		}
	}
}

// TestProductsAgree: what Assess calls missing is what the patch's own derived
// rules say, whatever the machine has.
func TestProductsAgree(t *testing.T) {
	p := app("2", "2.0", "amd64", "msi", "arp "+oldCode, "upgrade "+family, "app tool|maker")
	shard := appShard(t, p)
	rapid.Check(t, func(t *rapid.T) {
		var rows []inventory.Package
		for i := range rapid.IntRange(0, 4).Draw(t, "rows") {
			rows = append(rows, inventory.Package{
				Name: rapid.SampledFrom([]string{oldCode, newCode, "Tool", fmt.Sprint(i)}).Draw(t, "name"), Arch: rapid.SampledFrom([]string{"amd64", "386"}).Draw(t, "arch"),
				Version: rapid.SampledFrom([]string{"1.0", "2.0", "2.0.0", "3"}).Draw(t, "version"), Title: rapid.SampledFrom([]string{"", "Tool", "Tool 1.0 (x64)", "Fool"}).Draw(t, "title"),
				Publisher: "Maker", UpgradeCode: rapid.SampledFrom([]string{"", family}).Draw(t, "family"),
			})
		}
		snap := windowsMachine(rows...)
		found, err := Assess([]*Shard{shard}, snap, nil)
		if err != nil {
			t.Fatal(err)
		}
		applicable, installed := p.Rules()
		applies, level := detect.Eval(applicable, snap.Facts()).Value, detect.Eval(installed, snap.Facts()).Value
		if lacks := applies == detect.True && level == detect.False; lacks != (len(found) == 1) || len(found) > 1 {
			t.Fatalf("rules say applicable %s, installed %s; found %+v", applies, level, found)
		}
	})
}

func TestBreakCircles(t *testing.T) {
	p := func(id string, day int, requires ...patch.ID) patch.Patch {
		q := app(id, "1", "", "exe", "arp "+id)
		q.Released, q.Requires = q.Released.AddDate(0, 0, day), requires
		return q
	}
	ids := func(ps []patch.Patch) (out []patch.ID) {
		for _, p := range ps {
			out = append(out, p.ID)
		}
		return out
	}
	all := []patch.Patch{p("a", 1, "b"), p("b", 3, "c"), p("c", 2, "a"), p("d", 0, "a"), p("e", 0), p("self", 0, "self")}
	kept, circles := BreakCircles(all)
	if diff := cmp.Diff([]patch.ID{"a", "c", "d", "e"}, ids(kept)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	want := []Circle{{Patch: "b", Through: []patch.ID{"b", "c", "a", "b"}}, {Patch: "self", Through: []patch.ID{"self", "self"}}}
	if diff := cmp.Diff(want, circles); diff != "" {
		t.Errorf("circles (-want +got):\n%s", diff)
	}
	if got := circles[0].Error(); !strings.Contains(got, "b -> c -> a -> b") {
		t.Errorf("it says %q", got)
	}
	if !slices.Equal(all[1].Requires, []patch.ID{"c"}) {
		t.Error("the argument was changed")
	}
	if _, err := Order(kept); err != nil {
		t.Error(err)
	}
}

// TestBreakCirclesEnds: whatever the edges, what is kept has an order.
func TestBreakCirclesEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "patches")
		var all []patch.Patch
		for i := range n {
			q := app(fmt.Sprint(i), "1", "", "exe")
			for range rapid.IntRange(0, 3).Draw(t, "edges") {
				q.Requires = append(q.Requires, patch.ID(fmt.Sprint(rapid.IntRange(0, n-1).Draw(t, "to"))))
			}
			all = append(all, q)
		}
		kept, circles := BreakCircles(all)
		if len(kept)+len(circles) != n {
			t.Fatalf("%d patches, %d kept, %d circles", n, len(kept), len(circles))
		}
		if _, err := Order(kept); err != nil {
			t.Fatal(err)
		}
		if _, err := Order(all); (err == nil) != (len(circles) == 0) {
			t.Fatalf("order says %v, circles %v", err, circles)
		}
	})
}

// BenchmarkProducts matches a machine with 300 products against 10,000
// applications of which it has some.
func BenchmarkProducts(b *testing.B) {
	var ps []patch.Patch
	for i := range 10_000 {
		name := fmt.Sprintf("app%d", i)
		ps = append(ps, app("winget:Maker."+name+":2.0:amd64:exe", "2.0", "amd64", "exe", "arp "+name, "app "+name+"|maker", "arp "+fmt.Sprintf("{%08d-0000-0000-0000-000000000000}", i)))
	}
	shard := appShard(b, ps...)
	var rows []inventory.Package
	for i := range 300 {
		version := "2.0"
		if i%10 == 0 {
			version = "1.0"
		}
		rows = append(rows, inventory.Package{
			Name: fmt.Sprintf("App%d", i*40), Arch: "amd64", Version: version, Title: fmt.Sprintf("App%d %s (64-bit)", i*40, version), Publisher: "Maker Inc.",
		})
	}
	snap := windowsMachine(rows...)
	b.ReportAllocs()
	for b.Loop() {
		found, err := Assess([]*Shard{shard}, snap, nil)
		if err != nil || len(found) != 25 {
			b.Fatal(len(found), err)
		}
	}
}
