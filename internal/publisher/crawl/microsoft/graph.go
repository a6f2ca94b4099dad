package microsoft

import (
	"slices"
	"strings"
)

// graph is the supersedence between the KBs of one platform: an edge leads
// from a KB to one that it replaces. It never holds a circle.
type graph struct {
	below    map[string][]string
	edges    int
	circular int // edges that were refused
}

func newGraph() *graph { return &graph{below: map[string][]string{}} }

// add enters an edge unless it would close a circle: the edges that are
// trusted most must come first. Doubles count once.
func (g *graph) add(over, under string) {
	switch {
	case over == under || slices.Contains(g.below[over], under):
	case g.reaches(under, over):
		g.circular++
	default:
		g.below[over] = append(g.below[over], under)
		g.edges++
	}
}

// reaches reports that from replaces to, directly or through others.
func (g *graph) reaches(from, to string) bool {
	if from == to {
		return true
	}
	seen := map[string]bool{from: true}
	todo := []string{from}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, m := range g.below[n] {
			if m == to {
				return true
			}
			if !seen[m] {
				seen[m] = true
				todo = append(todo, m)
			}
		}
	}
	return false
}

// direct lists what a KB replaces among those that keep names, going through
// the others: a chain holds although a link of it is not published.
func (g *graph) direct(from string, keep func(string) bool) []string {
	seen := map[string]bool{from: true}
	todo := slices.Clone(g.below[from])
	var out []string
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		if keep(n) {
			out = append(out, n)
			continue
		}
		todo = append(todo, g.below[n]...)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

// above gives for every KB those that replace it, directly or through others.
func (g *graph) above() map[string][]string {
	up := map[string][]string{}
	for over, all := range g.below {
		for _, under := range all {
			up[under] = append(up[under], over)
		}
	}
	out := map[string][]string{}
	for n := range up {
		seen := map[string]bool{n: true}
		todo := slices.Clone(up[n])
		for len(todo) > 0 {
			m := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if !seen[m] {
				seen[m] = true
				out[n] = append(out[n], m)
				todo = append(todo, up[m]...)
			}
		}
		slices.SortFunc(out[n], strings.Compare)
	}
	return out
}
