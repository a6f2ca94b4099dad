package microsoft

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc/msrctest"
)

// TestGraph: whatever edges come, nothing replaces itself, an edge that closes
// no circle is kept, above is the transitive closure, and chains hold through
// links that are not published.
func TestGraph(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 12
		g := newGraph()
		reach := [n][n]bool{}
		refused := 0
		edges := rapid.SliceOf(rapid.Custom(func(t *rapid.T) [2]int {
			return [2]int{rapid.IntRange(0, n-1).Draw(t, "over"), rapid.IntRange(0, n-1).Draw(t, "under")}
		})).Draw(t, "edges")
		have := map[[2]int]bool{}
		for _, e := range edges {
			g.add(strconv.Itoa(e[0]), strconv.Itoa(e[1]))
			switch {
			case e[0] == e[1] || have[e]:
			case reach[e[1]][e[0]]:
				refused++
			default:
				have[e] = true
				for a := range n {
					for b := range n {
						if (a == e[0] || reach[a][e[0]]) && (b == e[1] || reach[e[1]][b]) {
							reach[a][b] = true
						}
					}
				}
			}
		}
		if g.circular != refused || g.edges != len(have) {
			t.Fatalf("%d edges, %d refused; want %d, %d", g.edges, g.circular, len(have), refused)
		}
		above := g.above()
		keep := func(kb string) bool { i, _ := strconv.Atoi(kb); return i%3 != 0 }
		kept := newGraph()
		for a := range n {
			for b := range n {
				if got := slices.Contains(above[strconv.Itoa(b)], strconv.Itoa(a)); got != reach[a][b] {
					t.Fatalf("%d above %d: %v, want %v", a, b, got, reach[a][b])
				}
			}
			for _, b := range g.direct(strconv.Itoa(a), keep) {
				kept.add(strconv.Itoa(a), b)
			}
		}
		for a := range n {
			for b := range n {
				if a != b && keep(strconv.Itoa(b)) && reach[a][b] != kept.reaches(strconv.Itoa(a), strconv.Itoa(b)) {
					t.Fatalf("%d to %d through what is not published: %v", a, b, !reach[a][b])
				}
			}
		}
	})
}

// FuzzBuild makes patches of whatever a document says.
func FuzzBuild(f *testing.F) {
	f.Add(msrctest.February().XML())
	f.Add(msrctest.March().XML())
	f.Fuzz(func(t *testing.T, doc string) {
		m, err := msrc.ParseCVRF(strings.NewReader(doc))
		if err != nil {
			return
		}
		out, _ := Build([]msrc.Month{m}, List{})
		for _, p := range out.Patches {
			if a, i := p.Rules(); a.Validate() != nil || i.Validate() != nil {
				t.Fatalf("%s has a rule that is not valid", p.ID)
			}
		}
	})
}
