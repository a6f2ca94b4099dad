package crawl_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

func TestJoin(t *testing.T) {
	patches := []patch.Patch{
		{ID: "1", Vendor: "debian", Product: "tool", Version: "1.0-1", Archives: []string{"m"}},
		{ID: "2", Vendor: "debian", Product: "tool", Version: "1.0-1+deb12u1", Archives: []string{"s", "m"}},
		{ID: "3", Vendor: "debian", Product: "tool", Version: "9", Archives: []string{"trixie"}},
		{ID: "4", Vendor: "other", Product: "tool", Version: "9", Archives: []string{"m"}},
	}
	fix := func(cve, release, version string) crawl.Fix {
		return crawl.Fix{CVE: cve, Vendor: "debian", Product: "tool", Release: release, FixedIn: version}
	}
	crawl.Join(patches, map[string]string{"m": "bookworm", "s": "bookworm", "trixie": "trixie"},
		[]crawl.Fix{fix("CVE-1", "bookworm", "1.0-1"), fix("CVE-2", "bookworm", "1.0-1+deb12u1"), fix("CVE-3", "bookworm", "1.0-2"), fix("CVE-4", "bookworm", "0"), fix("CVE-5", "trixie", "2")},
		[]patch.Advisory{
			{ID: "DSA-1-1", Vendor: "debian", Title: "one", CVEs: []string{"CVE-2", "CVE-6"}, Fixes: []patch.Fix{{Product: "tool", Release: "bookworm", Version: "1.0-1+deb12u1"}}},
			{ID: "DSA-2-1", Vendor: "debian", Title: "two", CVEs: []string{"CVE-7"}, Fixes: []patch.Fix{{Product: "tool", Release: "bookworm", Version: "1.0-2"}}},
		})
	want := [][]patch.CVEFix{
		{{ID: "CVE-1", FixedIn: "1.0-1"}},
		{{ID: "CVE-1", FixedIn: "1.0-1"}, {ID: "CVE-2", FixedIn: "1.0-1+deb12u1"}, {ID: "CVE-6", FixedIn: "1.0-1+deb12u1"}},
		{{ID: "CVE-5", FixedIn: "2"}},
		nil,
	}
	for i, p := range patches {
		if diff := cmp.Diff(want[i], p.CVEs); diff != "" {
			t.Errorf("patch %s (-want +got):\n%s", p.ID, diff)
		}
	}
	if p := patches[1]; p.Title != "one" || len(p.Advisories) != 1 || len(patches[0].Advisories) != 0 {
		t.Errorf("%+v", p)
	}
}

func TestSupersede(t *testing.T) {
	p := func(id patch.ID, product, version, archive string) patch.Patch {
		return patch.Patch{ID: id, Platform: "debian-12-amd64", Vendor: "debian", Product: product, Version: version, Archives: []string{archive}, Supersedes: []patch.ID{"stale"}}
	}
	patches := []patch.Patch{
		p("c", "tool", "1:0.1", "s"), p("a", "tool", "1.9", "m"), p("b", "tool", "1.10", "s"), p("bpo", "tool", "9", "bpo"), p("x", "other", "1", "m"),
	}
	crawl.Supersede(patches, []catalog.Archive{{ID: "m"}, {ID: "s"}, {ID: "bpo", NotAutomatic: true}})
	want := [][]patch.ID{{"b"}, nil, {"a"}, nil, nil}
	for i, x := range patches {
		if diff := cmp.Diff(want[i], x.Supersedes); diff != "" {
			t.Errorf("patch %s (-want +got):\n%s", x.ID, diff)
		}
	}
}

func TestCombine(t *testing.T) {
	item := func(name, sum string) patch.Item {
		return patch.Item{Kind: "dpkg", Name: name, Version: "1", Payload: patch.Payload{SHA256: sum}}
	}
	main := crawl.Output{
		Archives: []catalog.Archive{{ID: "m", Superseded: true, Indexes: []catalog.Index{{Name: "main"}}}},
		Patches:  []patch.Patch{{ID: "p", Classification: patch.Update, Archives: []string{"m"}, Items: []patch.Item{item("a", "1"), item("b", "2"), item("d", "4")}}},
	}
	sec := crawl.Output{
		Archives: []catalog.Archive{{ID: "s", Security: true}, {ID: "m", Indexes: []catalog.Index{{Name: "main"}, {Name: "contrib"}}}},
		Patches:  []patch.Patch{{ID: "p", Classification: patch.Security, Archives: []string{"s"}, Items: []patch.Item{item("a", "1"), item("c", "3"), item("d", "other")}}},
		Notes:    []string{"a word"},
	}
	got := crawl.Combine([]crawl.Result{{Health: crawl.Health{Source: "one"}, Output: main}, {Health: crawl.Health{Source: "two", LastError: "away"}, Output: sec}})
	both := item("a", "1")
	b, c, d := item("b", "2"), item("c", "3"), item("d", "4")
	b.Archives, c.Archives, d.Archives = []string{"m"}, []string{"s"}, []string{"m"}
	want := []patch.Patch{{ID: "p", Classification: patch.Security, Archives: []string{"m", "s"}, Items: []patch.Item{both, b, c, d}}}
	if diff := cmp.Diff(want, got.Patches); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
	if len(got.Archives) != 2 || got.Archives[0].Superseded || len(got.Archives[0].Indexes) != 2 || len(got.Rejected) != 1 {
		t.Errorf("archives %+v, rejected %+v", got.Archives, got.Rejected)
	}
	if diff := cmp.Diff([]string{"two: a word", "two: nothing could be fetched so far: away"}, got.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if len(main.Archives[0].Indexes) != 1 {
		t.Error("the argument was changed")
	}
}
