package assess

import (
	"crypto/sha256"
	"encoding/json"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
)

// states is the number of finding states.
const states = 6

// rank orders states: the one that matters most comes first. When several
// packages of one patch differ, the patch counts by the first.
func rank(s catalog.FindingState) int {
	switch s {
	case catalog.Missing:
		return 0
	case catalog.Held:
		return 1
	case catalog.Broken:
		return 2
	case catalog.Unsure:
		return 3
	case catalog.Pinned:
		return 4
	}
	return 5 // catalog.UserOnly: nothing that Fettle does changes it
}

func (l *lack) bits(s catalog.FindingState) *roaring.Bitmap {
	b := &l.profiles[rank(s)]
	if *b == nil {
		*b = roaring.New()
	}
	return *b
}

func (l *lack) unused() bool {
	for _, b := range l.profiles {
		if b != nil && !b.IsEmpty() {
			return false
		}
	}
	return true
}

// severities, in the order of their ranks; 0 stands for none.
const severityRanks = 6

// tally are sums that are added up over machines.
type tally struct {
	machines  int
	uncovered int
	level     int                // machines that lack nothing
	missing   [severityRanks]int // findings in state missing or held, by severity
	worst     [severityRanks]int // machines, by the worst of them
	security  int                // of the findings, those of security
	insecure  int                // machines with any of those
	exploited int                // of the findings, those in KEV
	bulletins int                // of the findings, those that nothing can be installed from
	userOnly  int                // findings about products of single users, which are not missing
	pinned    int
	unsure    int
	broken    int // packages installed only half
}

// newTally is the tally of one machine.
func newTally(r result) tally {
	t := tally{machines: 1}
	if !r.covered {
		t.uncovered = 1 // what its applications lack counts all the same
	}
	worst, exposed := 0, 0
	for _, f := range r.findings {
		switch f.State {
		case catalog.Pinned:
			t.pinned++
			continue
		case catalog.Unsure:
			t.unsure++
			continue
		case catalog.Broken:
			t.broken++
			continue
		case catalog.UserOnly:
			t.userOnly++
			if f.Security {
				exposed = 1
			}
			continue
		}
		if f.Bulletin {
			t.bulletins++
		}
		s := f.Severity.Rank()
		t.missing[s]++
		worst = max(worst, s)
		if f.Security {
			t.security++
		}
		if f.Exploited {
			t.exploited++
		}
	}
	t.insecure = max(min(t.security, 1), exposed)
	switch {
	case worst == 0 && t.broken == 0 && t.userOnly == 0 && r.covered:
		t.level = 1
	case worst > 0:
		t.worst[worst] = 1
	}
	return t
}

// add adds the tally n times.
func (t *tally) add(u tally, n int) {
	t.machines += n * u.machines
	t.uncovered += n * u.uncovered
	t.level += n * u.level
	t.security += n * u.security
	t.insecure += n * u.insecure
	t.exploited += n * u.exploited
	t.bulletins += n * u.bulletins
	t.userOnly += n * u.userOnly
	t.pinned += n * u.pinned
	t.unsure += n * u.unsure
	t.broken += n * u.broken
	for i := range severityRanks {
		t.missing[i] += n * u.missing[i]
		t.worst[i] += n * u.worst[i]
	}
}

// bySeverity names the ranks.
func bySeverity(counts [severityRanks]int) map[patch.Severity]int {
	out := map[patch.Severity]int{}
	for _, s := range []patch.Severity{patch.Critical, patch.Important, patch.Moderate, patch.Low, patch.Unknown} {
		out[s] = counts[s.Rank()]
	}
	return out
}

// findingPool keeps each distinct finding once: a thousand profiles that lack
// the same patch for the same reason share its row.
type findingPool map[[sha256.Size]byte]*entry

type entry struct {
	key     [sha256.Size]byte
	finding catalog.Finding
	refs    int
}

func (p findingPool) add(f catalog.Finding) *entry {
	text, err := json.Marshal(f)
	if err != nil { // a float that is no number: keep the row by itself
		return &entry{finding: f, refs: 1}
	}
	k := sha256.Sum256(text)
	e := p[k]
	if e == nil {
		e = &entry{key: k, finding: f}
		p[k] = e
	}
	e.refs++
	return e
}

func (p findingPool) drop(e *entry) {
	if e.refs--; e.refs == 0 {
		delete(p, e.key)
	}
}
