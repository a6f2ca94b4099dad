//go:build !race

package microsoft

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

func realList(t testing.TB) List {
	t.Helper()
	var l List
	for _, name := range []string{"kb-supersedence/wesng-cve-kb-product-supersedes.to-2025-12.csv.zst", "kb-supersedence/wesng-service-packs-and-custom.csv"} {
		var one List
		if err := one.ParseList(feedtest.Open(t, feedtest.Path(t, name))); err != nil {
			t.Fatal(err)
		}
		l.add(one)
	}
	return l
}

// TestRealList counts the supersedence list. The numbers stand in
// docs/microsoft.md.
func TestRealList(t *testing.T) {
	var l List
	if err := l.ParseList(feedtest.Open(t, feedtest.Path(t, "kb-supersedence/wesng-cve-kb-product-supersedes.to-2025-12.csv.zst"))); err != nil {
		t.Fatal(err)
	}
	if l.Lines != 553306 || l.Records != 552646 || l.Broken != 0 {
		t.Errorf("%d lines, %d records, %d broken", l.Lines, l.Records, l.Broken)
	}
	edges, platforms := 0, len(l.Edges)
	for _, of := range l.Edges {
		for _, olds := range of {
			edges += len(olds)
		}
	}
	got := [...]int{l.NoKB, l.TextKB, l.Superseding, l.Foreign, edges, platforms}
	if want := [...]int{104388, 31081, 229970, 17958, 13514, 82}; got != want {
		t.Errorf("without KB, with a text for one, superseding, of other products, edges, platforms: %v", got)
	}
	if packs := realList(t).Packs; len(packs) != 24 {
		t.Errorf("%d service packs", len(packs))
	}
}

// TestRealBuild counts what comes out. The numbers stand in docs/microsoft.md.
func TestRealBuild(t *testing.T) {
	out, tally := realBuild(t)
	want := Tally{
		Months: 89, KBs: 3830, Pairs: 14808, Platforms: 75, Entries: 6300, Foreign: 1838, Device: 5, Strange: map[string]int{}, BadBuilds: 12,
		Edges: 13056, Circular: 22, Kinds: map[string]int{
			"browser": 92, "cumulative": 1924, "hotpatch": 60, "other": 2723, "rollup": 776, "security_only": 671, "service_pack": 24, "servicing_stack": 54,
		},
	}
	if diff := cmp.Diff(want, tally); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ruled := 0
	for _, p := range out.Patches {
		if p.Installed != nil {
			ruled++
		}
	}
	got := [...]int{len(out.Patches), ruled, len(out.Advisories), len(out.Vulnerabilities), len(out.Rejected)}
	if got != [...]int{6324, 3535, 3830, 7677, 0} {
		t.Errorf("patches, with rules, advisories, vulnerabilities, rejected: %v", got)
	}
}
