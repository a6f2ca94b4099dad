package catalog

import (
	"encoding/json"
	"slices"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// Ask has a machine answer what the shards' rules ask of it and its inventory
// does not hold, so that Assess over the snapshot with these answers finds what
// Assess over the live facts finds. It asks no more than it takes to decide each
// rule, and of the patches that the machine lacks everything, for people to see.
// Shards, snapshot and live are those of Assess; the snapshot has no answers
// yet.
func Ask(shards []*Shard, snap *inventory.Snapshot, live detect.Facts) (inventory.Answers, error) {
	m := newMatcher(shards, snap, live)
	q := asking{book: snap.NewBook(live), settled: snap.Settled()}
	m.outcome = q.outcome
	m.judge = func(r detect.Rule) detect.Verdict { return detect.Verdict{Value: q.outcome(r)} }
	for _, p := range snap.Packages {
		if inventory.IsProduct(p.Kind) {
			if err := m.assessProduct(p); err != nil {
				return inventory.Answers{}, err
			}
		}
	}
	var open []detect.Rule
	for _, s := range shards {
		for n := range s.ruled() {
			p, err := s.ruledPatch(n)
			if err != nil {
				return inventory.Answers{}, err
			}
			applicable, installed := p.Rules()
			if q.outcome(applicable) != detect.False && q.outcome(installed) != detect.True {
				open = append(open, applicable, installed)
			}
		}
	}
	for _, r := range open { // last, so that what must be left out is not what decides
		r.Tests(q.book.Show)
	}
	return q.book.Answers(), nil
}

// Asks reports whether the shard may ask a machine something: it has patches
// with rules of their own, or products of Windows, which may bring conditions.
func (s *Shard) Asks() bool {
	return len(s.ruled()) > 0 || slices.ContainsFunc(s.dict.Kinds, inventory.IsProduct)
}

// asking judges rules by asking the machine.
type asking struct {
	book    *inventory.Book
	settled detect.Facts
}

func (q asking) outcome(r detect.Rule) detect.Value {
	return detect.Decide(r, q.settled, q.book.Ask)
}

// decodeRuled decodes patch i, which has rules of its own, without its archives.
func (s *Shard) decodeRuled(i int) (p patch.Patch, err error) {
	body, err := s.record(patches, i)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return p, damaged("patch %d is not well-formed", i)
	}
	return p, nil
}
