package catalog

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Order returns the ids in an order of installation: each after all that it
// requires, otherwise in the order given. Prerequisites outside the list do
// not count: they are on the machine already, or refused elsewhere. A cycle is
// an Invalid fault that names its patches.
func Order(all []patch.Patch) ([]patch.ID, error) {
	at := make(map[patch.ID]int, len(all))
	for i, p := range all {
		if _, twice := at[p.ID]; !twice {
			at[p.ID] = i
		}
	}
	w := walk{all: all, at: at, state: make([]step, len(all))}
	for i, p := range all {
		if at[p.ID] != i {
			continue
		}
		if err := w.visit(i); err != nil {
			return nil, err
		}
	}
	return w.out, nil
}

type step uint8

const (
	unseen step = iota
	open
	done
)

// walk visits patches depth first, prerequisites before what needs them. It
// keeps its own stack: a chain may be as long as the catalog.
type walk struct {
	all   []patch.Patch
	at    map[patch.ID]int
	state []step
	out   []patch.ID
	// circle is what the last error was about, its first patch again at the end.
	circle []patch.ID
}

func (w *walk) visit(start int) error {
	type frame struct{ node, next int }
	if w.state[start] == done {
		return nil
	}
	w.state[start] = open
	stack := []frame{{node: start}}
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		p := w.all[f.node]
		if f.next == len(p.Requires) {
			w.state[f.node] = done
			w.out = append(w.out, p.ID)
			stack = stack[:len(stack)-1]
			continue
		}
		need, known := w.at[p.Requires[f.next]]
		f.next++
		if !known || w.state[need] == done {
			continue
		}
		if w.state[need] == open {
			w.circle = nil
			for _, f := range stack {
				if len(w.circle) > 0 || f.node == need {
					w.circle = append(w.circle, w.all[f.node].ID)
				}
			}
			w.circle = append(w.circle, w.all[need].ID)
			return cycle("require", Circle{Through: w.circle}.names())
		}
		w.state[need] = open
		stack = append(stack, frame{node: need})
	}
	return nil
}

func cycle(verb string, ids []string) error {
	const most = 8
	if len(ids) > most {
		ids = append(append([]string{}, ids[:most-1]...), "…", ids[len(ids)-1])
	}
	return fault.New(fault.Invalid, "catalog: patches %s each other in a circle: %s", verb, strings.Join(ids, " -> "))
}

// Circle is a patch that would close a circle of prerequisites.
type Circle struct {
	Patch patch.ID
	// Through are the patches of the circle, from this one back to it.
	Through []patch.ID
}

// Error says in words which circle it is.
func (c Circle) Error() string { return fault.Public(cycle("require", c.names())) }

func (c Circle) names() []string {
	ids := make([]string, 0, len(c.Through))
	for _, id := range c.Through {
		ids = append(ids, string(id))
	}
	return ids
}

// BreakCircles leaves out the patches that close a circle of prerequisites:
// nothing of a circle could ever be installed in order. Of a circle the patch
// that was released last goes, and of those the one with the greatest id. The
// rest comes back in the order given.
func BreakCircles(all []patch.Patch) ([]patch.Patch, []Circle) {
	kept, at := slices.Clone(all), make(map[patch.ID]int, len(all))
	for i, p := range kept {
		at[p.ID] = i
	}
	w := walk{all: kept, at: at, state: make([]step, len(kept))}
	var broken []Circle
	gone := map[patch.ID]bool{}
	for i := 0; i < len(kept); {
		err := w.visit(i)
		if err == nil {
			i++
			continue
		}
		c := closing(w.circle, kept, at)
		broken = append(broken, c)
		gone[c.Patch] = true
		kept[at[c.Patch]].Requires = nil // it is no way through any more
		clear(w.state)
		w.out, i = nil, 0
	}
	return slices.DeleteFunc(kept, func(p patch.Patch) bool { return gone[p.ID] }), broken
}

// closing picks the patch of a circle that came last.
func closing(circle []patch.ID, all []patch.Patch, at map[patch.ID]int) Circle {
	ring := circle[:len(circle)-1] // the last is the first again
	last := 0
	for i, id := range ring {
		a, b := all[at[id]], all[at[ring[last]]]
		if c := a.Released.Compare(b.Released); c > 0 || c == 0 && a.ID > b.ID {
			last = i
		}
	}
	turned := append(slices.Clone(ring[last:]), ring[:last]...)
	return Circle{Patch: ring[last], Through: append(turned, ring[last])}
}
