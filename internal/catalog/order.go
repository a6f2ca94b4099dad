package catalog

import (
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
			var ids []string
			for _, f := range stack {
				if len(ids) > 0 || f.node == need {
					ids = append(ids, string(w.all[f.node].ID))
				}
			}
			return cycle("require", append(ids, string(w.all[need].ID)))
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
