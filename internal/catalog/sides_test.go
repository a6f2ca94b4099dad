package catalog

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// offered by a package: a patch of that package, signed by signer; without one
// it is a bulletin.
func offeredBy(product, version, kind, signer string, names ...string) patch.Patch {
	p := app(product+":"+version+":"+kind, version, "amd64", kind, names...)
	p.Product = product
	p.Evidence = patch.Evidence{Verdict: patch.Proven}
	if signer == "" {
		p.Evidence = patch.Evidence{Verdict: patch.Unproven, Checks: []string{"nothing is installed from it: it was not fetched"}}
	}
	for i := range p.Items {
		if signer != "" {
			p.Items[i].Payload = patch.Payload{SHA256: strings.Repeat("a", 64), Size: 1, Signer: signer}
		}
	}
	return p
}

// TestTrustRow2ClaimedProductHidesNothing: whatever a package claims of another
// maker's product, by whichever name and version, the maker's own fix is among
// what the machine lacks.
func TestTrustRow2ClaimedProductHidesNothing(t *testing.T) {
	tool := offeredBy("Maker.Tool", "2.0", "exe", "Maker Inc", "app tool|maker")
	git := offeredBy("Git.Git", "2.0", "exe", "Johannes Doe", "app git|the git community")
	for name, c := range map[string]struct {
		row  inventory.Package
		own  patch.Patch
		evil patch.Patch
		want []string
		says string
	}{
		"the key, as old as what is there": {
			inventory.Package{Name: "Tool_is1", Title: "Tool 1.0", Publisher: "Maker Ltd", Version: "1.0"},
			tool,
			offeredBy("Evil.Thing", "1.0", "exe", "Evil Inc", "arp tool_is1"),
			[]string{"Maker.Tool:2.0:exe"},
			"",
		},
		"the key, by a bulletin": {
			inventory.Package{Name: "Tool_is1", Title: "Tool 1.0", Publisher: "Maker Ltd", Version: "1.0"},
			tool,
			offeredBy("Evil.Thing", "1.0", "exe", "", "arp tool_is1"),
			[]string{"Maker.Tool:2.0:exe"},
			"",
		},
		"the key, higher": {
			inventory.Package{Name: "Tool_is1", Title: "Tool 1.0", Publisher: "Maker Ltd", Version: "1.0"},
			tool,
			offeredBy("Evil.Thing", "99.0", "exe", "Evil Inc", "arp tool_is1"),
			[]string{"Maker.Tool:2.0:exe"},
			"",
		},
		"a product code": {
			inventory.Package{Name: oldCode, Title: "Tool 1.0", Publisher: "Maker Ltd", Version: "1.0", UpgradeCode: family},
			tool,
			offeredBy("Evil.Thing", "1.0", "msi", "Evil Inc", "arp "+oldCode),
			[]string{"Maker.Tool:2.0:exe"},
			"",
		},
		"no maker by name": {
			inventory.Package{Name: "Git_is1", Title: "Git", Publisher: "The Git Community", Version: "1.0"},
			git,
			offeredBy("Evil.Thing", "1.0", "exe", "Evil Inc", "arp git_is1"),
			[]string{"Git.Git:2.0:exe"},
			"2.0 is in the catalog; Evil.Thing claims this product too, of another maker",
		},
		"no maker by name, higher": {
			inventory.Package{Name: "Git_is1", Title: "Git", Publisher: "The Git Community", Version: "1.0"},
			git,
			offeredBy("Evil.Thing", "99.0", "exe", "Evil Inc", "arp git_is1"),
			[]string{"Evil.Thing:99.0:exe", "Git.Git:2.0:exe"},
			"claims this product too, of another maker",
		},
		"of the same signer, another product": { // which is genuine and honest, and older than what is there
			inventory.Package{Name: "Tool_is1", Title: "Tool", Publisher: "Maker Ltd", Version: "1.0"},
			tool,
			offeredBy("Maker.Drive", "0.9", "exe", "Maker Inc", "arp tool_is1"),
			[]string{"Maker.Tool:2.0:exe"},
			"",
		},
		"of the same signer, another product, higher": {
			inventory.Package{Name: "Tool_is1", Title: "Tool", Publisher: "Maker Ltd", Version: "1.0"},
			tool,
			offeredBy("Maker.Drive", "99.0", "exe", "Maker Inc", "arp tool_is1"),
			[]string{"Maker.Drive:99.0:exe", "Maker.Tool:2.0:exe"},
			"",
		},
		"of the same signer, a form that nobody can install": {
			inventory.Package{Name: oldCode, Title: "Tool", Publisher: "Maker Ltd", Version: "1.0", UpgradeCode: family},
			tool,
			offeredBy("Maker.Drive", "1.0", "msi", "", "app tool|maker"),
			[]string{"Maker.Tool:2.0:exe"},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.row.Arch = "amd64"
			found, err := Assess([]*Shard{appShard(t, c.own, c.evil)}, windowsMachine(c.row), nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, string(f.Patch))
				if !strings.Contains(f.Reason, c.says) {
					t.Errorf("the reason is %q, want %q in it", f.Reason, c.says)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSidesOfOneMaker: of several packages of one maker the most exact one
// counts, and the form that is installed.
func TestSidesOfOneMaker(t *testing.T) {
	msi := offeredBy("Maker.Tool", "2.0", "msi", "Maker Inc", "arp "+newCode, "arp "+oldCode, "upgrade "+family, "app tool|maker")
	exe := offeredBy("Maker.Tool.EXE", "3.0", "exe", "Maker Inc", "arp tool", "app tool|maker")
	shard := appShard(t, msi, exe)
	for name, c := range map[string]struct {
		row  inventory.Package
		want string
	}{
		"exact":               {inventory.Package{Name: oldCode, Version: "1.0", UpgradeCode: family}, "Maker.Tool:2.0:msi"},
		"exact and level":     {inventory.Package{Name: newCode, Version: "2.0", UpgradeCode: family}, ""},
		"by name, of the msi": {inventory.Package{Name: "{44444444-4444-4444-4444-444444444444}", Version: "1.0", UpgradeCode: "{44444444-4444-4444-4444-444444444444}"}, "Maker.Tool:2.0:msi"},
		"by name, of the exe": {inventory.Package{Name: "Other", Version: "1.0"}, "Maker.Tool.EXE:3.0:exe"},
		"ahead of the exact":  {inventory.Package{Name: newCode, Version: "2.5", UpgradeCode: family}, "Maker.Tool.EXE:3.0:exe"},
	} {
		c.row.Arch, c.row.Title, c.row.Publisher = "amd64", "Tool", "Maker"
		found, err := Assess([]*Shard{shard}, windowsMachine(c.row), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 1 || len(found) == 1 != (c.want != "") || len(found) == 1 && string(found[0].Patch) != c.want {
			t.Errorf("%s: %+v, want %s", name, found, c.want)
		}
	}
}

// TestTrustRow2NothingHidesTheFix: one maker's fix is found whatever packages
// of other makers claim.
func TestTrustRow2NothingHidesTheFix(t *testing.T) {
	names := []string{"arp tool_is1", "arp " + oldCode, "upgrade " + family, "app tool|maker"}
	rapid.Check(t, func(r *rapid.T) {
		claim := rapid.SampledFrom(names).Draw(r, "own") // which no other has, once the lab has settled whose it is
		own := offeredBy("Maker.Tool", "2.0", rapid.SampledFrom([]string{"exe", "msi"}).Draw(r, "kind"), "Maker Inc", claim)
		ps := []patch.Patch{own}
		for i := range rapid.IntRange(0, 3).Draw(r, "others") {
			version := rapid.SampledFrom([]string{"0.5", "1.0", "2.0", "99.0"}).Draw(r, "version")
			signers, form := []string{"", "Evil Inc", "Maker"}, rapid.SampledFrom([]string{"exe", "msi"}).Draw(r, "form")
			if form == "exe" && own.Install.Kind == "exe" { // packages of Windows Installer have codes that are looked at
				signers = append(signers, "Maker Inc")
			}
			p := offeredBy("Evil.Thing"+string(rune('a'+i)), version, form, rapid.SampledFrom(signers).Draw(r, "signer"),
				rapid.SliceOfNDistinct(rapid.SampledFrom(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == claim })), 1, 3, rapid.ID[string]).Draw(r, "claims")...)
			if p.Items[0].Payload.Signer == "Maker" { // a name that only resembles the maker's fits too, and hides nothing either
				p.Product = "Fake.Maker" + string(rune('a'+i))
			}
			ps = append(ps, p)
		}
		row := inventory.Package{
			Name: rapid.SampledFrom([]string{"Tool_is1", oldCode}).Draw(r, "row"), Arch: "amd64", Version: "1.0", Title: "Tool",
			Publisher: rapid.SampledFrom([]string{"Maker", "Somebody"}).Draw(r, "publisher"), UpgradeCode: rapid.SampledFrom([]string{"", family}).Draw(r, "upgrade"),
		}
		alone, err := Assess([]*Shard{appShard(t, own)}, windowsMachine(row), nil)
		if err != nil {
			r.Fatal(err)
		}
		found, err := Assess([]*Shard{appShard(t, ps...)}, windowsMachine(row), nil)
		if err != nil {
			r.Fatal(err)
		}
		for _, f := range alone {
			if !slices.ContainsFunc(found, func(g Finding) bool { return g.Patch == f.Patch }) {
				r.Fatalf("%s is hidden: %+v", f.Patch, found)
			}
		}
	})
}
