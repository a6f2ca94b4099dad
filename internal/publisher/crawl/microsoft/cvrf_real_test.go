//go:build !race

package microsoft

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
)

var realDocs struct {
	once      sync.Once
	documents []msrc.Month
	snapshots []msrc.Month
}

func realMonths(t testing.TB) (documents, snapshots []msrc.Month) {
	t.Helper()
	dir := feedtest.Path(t, "msrc-cvrf")
	realDocs.once.Do(func() {
		var all sync.WaitGroup
		slots := make(chan struct{}, 2)
		read := func(glob string) []msrc.Month {
			names, err := filepath.Glob(filepath.Join(dir, glob))
			if err != nil {
				t.Fatal(err)
			}
			out := make([]msrc.Month, len(names))
			for i, n := range names {
				slots <- struct{}{}
				all.Go(func() {
					defer func() { <-slots }()
					m, err := msrc.ParseCVRF(feedtest.Open(t, n))
					if err != nil {
						t.Errorf("%s: %v", n, err)
					}
					out[i] = m
				})
			}
			return out
		}
		realDocs.documents, realDocs.snapshots = read("*.xml.zst"), read("snapshots/*.xml.zst")
		all.Wait()
	})
	return realDocs.documents, realDocs.snapshots
}

// newestStates are the documents and the snapshots, the newest state of each month.
func newestStates(docs, snaps []msrc.Month) []msrc.Month {
	byID := map[string]msrc.Month{}
	for _, m := range append(slices.Clip(docs), snaps...) {
		if old, twice := byID[m.ID]; !twice || m.Newer(old) {
			byID[m.ID] = m
		}
	}
	var out []msrc.Month
	for _, id := range sortedKeys(byID) {
		out = append(out, byID[id])
	}
	return out
}

// TestRealDocuments counts what the documents hold and where it went. The
// numbers stand in docs/microsoft.md.
func TestRealDocuments(t *testing.T) {
	docs, snaps := realMonths(t)
	var sum msrc.Counts
	kbs, pairs := map[string]bool{}, map[msrc.Pair]bool{}
	for _, m := range append(slices.Clip(docs), snaps...) {
		sum.Add(m.Counts)
		for _, f := range m.Fixes {
			kbs[f.KB] = true
			pairs[msrc.Pair{KB: f.KB, Product: f.ProductID}] = true
		}
	}
	want := msrc.Counts{
		Bytes: 190983401, Products: 13582, Vulnerabilities: 10029, AzureLinux: 1855,
		Remediations: map[string]int{"Vendor Fix": 97797, "Known Issue": 39006, "Release Notes": 7812, "Mitigation": 213, "Workaround": 107},
		KBFixes:      90855, LinuxFixes: 2844, OtherFixes: 4098, Contradictions: 410,
	}
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if got := [...]int{len(docs), len(snaps), len(kbs), len(pairs)}; got != [...]int{83, 8, 3830, 14810} {
		t.Errorf("documents, snapshots, KBs, pairs: %v", got)
	}
	if sum.KBFixes+sum.LinuxFixes+sum.OtherFixes != sum.Remediations["Vendor Fix"] {
		t.Error("some vendor fixes are counted nowhere")
	}
}

var realOut struct {
	once  sync.Once
	out   crawl.Output
	tally Tally
}

func realBuild(t testing.TB) (crawl.Output, Tally) {
	t.Helper()
	docs, snaps := realMonths(t)
	l := realList(t)
	realOut.once.Do(func() { realOut.out, realOut.tally = Build(newestStates(docs, snaps), l) })
	return realOut.out, realOut.tally
}

// TestRealProducts holds the table against every name of ten years: no Windows
// is unknown.
func TestRealProducts(t *testing.T) {
	docs, snaps := realMonths(t)
	strange, classes := map[string]bool{}, map[Class]map[string]bool{}
	platforms := map[string]bool{}
	for _, m := range append(slices.Clip(docs), snaps...) {
		for _, f := range m.Fixes {
			p := ParseProduct(f.Product)
			if classes[p.Class] == nil {
				classes[p.Class] = map[string]bool{}
			}
			classes[p.Class][f.Product] = true
			if p.Class == Strange {
				strange[f.Product] = true
			}
			if pl := p.Platform(); pl != "" {
				platforms[pl] = true
			}
		}
	}
	for name := range strange {
		t.Errorf("%q is not in the table", name)
	}
	t.Log("whole", len(classes[Whole]), "component", len(classes[Component]), "device", len(classes[Device]), "foreign", len(classes[Foreign]), "platforms", len(platforms))
}
