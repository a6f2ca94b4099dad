package wsus

import "slices"

// Order keeps the edges of supersedence, from an update to those that it
// replaces, that close no circle. Vendors publish such by mistake. Updates that
// are not at hand are left out.
func Order(updates []string, replaces func(string) []string) map[string][]string {
	here := map[string]bool{}
	for _, u := range updates {
		here[u] = true
	}
	below := map[string][]string{}
	for _, u := range slices.Sorted(slices.Values(updates)) {
		for _, old := range replaces(u) {
			if here[old] && old != u && !slices.Contains(below[u], old) && !reaches(below, old, u) {
				below[u] = append(below[u], old)
			}
		}
		slices.Sort(below[u])
	}
	return below
}

func reaches(below map[string][]string, from, to string) bool {
	seen, todo := map[string]bool{from: true}, []string{from}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if n == to {
			return true
		}
		for _, m := range below[n] {
			if !seen[m] {
				seen[m] = true
				todo = append(todo, m)
			}
		}
	}
	return false
}
