package microsoft

import (
	"runtime"
	"testing"
)

func realList(t testing.TB) List {
	t.Helper()
	var l List
	for _, name := range []string{"kb-supersedence/wesng-cve-kb-product-supersedes.to-2025-12.csv.zst", "kb-supersedence/wesng-service-packs-and-custom.csv"} {
		if err := l.ParseList(openFeed(t, need(t, name))); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestRealList(t *testing.T) {
	l := realList(t)
	edges := 0
	for _, of := range l.Edges {
		for _, olds := range of {
			edges += len(olds)
		}
	}
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	l2 := l
	l2.Edges, l2.Packs = nil, nil
	t.Logf("%+v edges %d platforms %d packs %d heap %d", l2, edges, len(l.Edges), len(l.Packs), ms.HeapAlloc>>20)
}

// TestRealBuild counts what comes out. The numbers stand in docs/microsoft.md.
func TestRealBuild(t *testing.T) {
	out, tally := realBuild(t)
	t.Logf("%+v patches %d adv %d vul %d rej %d", tally, len(out.Patches), len(out.Advisories), len(out.Vulnerabilities), len(out.Rejected))
}
