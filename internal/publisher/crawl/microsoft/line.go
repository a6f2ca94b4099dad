package microsoft

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// line is all KBs of one platform with the order among them.
type line struct {
	platform string
	entries  map[string]*entry
	graph    *graph
	above    map[string][]string
	// cumulative are the cumulative updates or monthly rollups, oldest first.
	cumulative []*entry
	// hotpatches by the month they stand in for.
	hotpatches map[time.Time][]*entry
	stacks     []*entry // servicing stacks, oldest first
}

// newLine classifies the entries of a platform and puts them in order. listed
// are further edges from the supersedence list, by KB.
func newLine(platform string, entries map[string]*entry, listed map[string][]string) *line {
	l := &line{platform: platform, entries: entries, graph: newGraph(), hotpatches: map[time.Time][]*entry{}}
	l.classify(listed)
	l.order(listed)
	l.above = l.graph.above()
	return l
}

// all are the entries by KB number.
func (l *line) all() []*entry {
	out := make([]*entry, 0, len(l.entries))
	for _, e := range l.entries {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *entry) int { return strings.Compare(a.kb, b.kb) })
	return out
}

// classify settles every entry's kind by the sub type that the documents give.
// "Security Update" for Windows 10 and later is the cumulative update in most
// cases and a single fix in some: the cumulative ones are those with a build,
// and those that supersedence connects with them.
func (l *line) classify(listed map[string][]string) {
	var candidates []*entry
	for _, e := range l.all() {
		t := strings.ToLower(e.subType)
		switch {
		case msrc.IsHotpatch(t):
			e.kind = hotpatch
		case strings.Contains(t, "servicing stack"):
			e.kind = stack
		case modern(e.product) && strings.Contains(t, "security only"): // a hotpatch once more, for machines that missed it
			e.kind = hotpatch
		case strings.Contains(t, "setup") || t == "standalone":
			e.kind = other
		case modern(e.product) && (e.whole || inBox(e.product.Component)):
			candidates = append(candidates, e)
		case !e.whole:
			e.kind = other
		case strings.Contains(t, "monthly rollup"), strings.Contains(t, "preview rollup"):
			e.kind = rollup
		case strings.Contains(t, "security only"):
			e.kind = onlyMonth
		case strings.Contains(t, "ie cumulative"):
			e.kind = browser
		}
	}
	for _, e := range connected(candidates, listed) {
		e.kind = cumulative
	}
	l.sameAsHotpatch()
	for _, e := range l.all() {
		switch e.kind {
		case cumulative, rollup:
			l.cumulative = append(l.cumulative, e)
		case hotpatch:
			if e.build != "" {
				l.hotpatches[e.released] = append(l.hotpatches[e.released], e)
			}
		case stack:
			l.stacks = append(l.stacks, e)
		}
	}
	slices.SortStableFunc(l.stacks, func(a, b *entry) int { return a.released.Compare(b.released) })
}

// sameAsHotpatch finds hotpatches that the documents call by another name:
// they share the build of one.
func (l *line) sameAsHotpatch() {
	builds := map[string]bool{}
	for _, e := range l.entries {
		builds[e.build] = builds[e.build] || e.kind == hotpatch && e.build != ""
	}
	for _, e := range l.entries {
		if e.kind == cumulative && builds[e.build] {
			e.kind = hotpatch
		}
	}
}

// modern reports whether one cumulative update serves the whole system.
func modern(p Product) bool { return strings.HasPrefix(p.Release.Builds[0], "10.") }

// inBox reports whether a part has no update of its own on Windows 10 and
// later: what is said of it alone came with a cumulative update out of turn.
func inBox(component string) bool {
	return strings.HasPrefix(component, "Internet Explorer") || strings.HasPrefix(component, "Microsoft Edge (EdgeHTML")
}

// many is how many CVEs only a cumulative update fixes at once.
const many = 8

// connected picks the cumulative updates among the candidates: groups that
// supersedence connects, in which one has a build or fixes many CVEs.
func connected(candidates []*entry, listed map[string][]string) []*entry {
	group := map[string]string{}
	root := func(kb string) string {
		for group[kb] != "" && group[kb] != kb {
			kb = group[kb]
		}
		return kb
	}
	join := func(a, b string) { group[root(a)] = root(b) }
	for _, e := range candidates {
		for old := range e.supersedes {
			join(old, e.kb)
		}
		for _, old := range listed[e.kb] {
			join(old, e.kb)
		}
	}
	whole := map[string]bool{}
	for _, e := range candidates {
		r := root(e.kb)
		whole[r] = whole[r] || e.build != "" || e.whole && len(e.cves) >= many
	}
	var out []*entry
	for _, e := range candidates {
		if whole[root(e.kb)] {
			out = append(out, e)
		}
	}
	return out
}

// order enters the edges, the surest first: builds, what the documents say,
// what the list says, and months where nothing else connects two.
func (l *line) order(listed map[string][]string) {
	l.redate()
	slices.SortStableFunc(l.cumulative, func(a, b *entry) int { return a.released.Compare(b.released) })
	built := slices.DeleteFunc(slices.Clone(l.cumulative), func(e *entry) bool { return e.build == "" })
	slices.SortStableFunc(built, func(a, b *entry) int { return vercmp.WindowsQuad(a.build, b.build) })
	for i := 1; i < len(built); i++ {
		if vercmp.WindowsQuad(built[i-1].build, built[i].build) < 0 {
			l.graph.add(built[i].kb, built[i-1].kb)
		}
	}
	for _, e := range l.all() {
		l.explicit(e, sortedKeys(e.supersedes))
	}
	for _, kb := range sortedKeys(listed) {
		for _, old := range listed[kb] {
			if a, b := l.entries[kb], l.entries[old]; a == nil || b == nil || l.may(a, b) {
				l.graph.add(kb, old)
			}
		}
	}
	l.byMonth()
	l.monthsParts()
	for i := 1; i < len(l.stacks); i++ {
		if l.stacks[i-1].released.Before(l.stacks[i].released) {
			l.graph.add(l.stacks[i].kb, l.stacks[i-1].kb)
		}
	}
	slices.SortStableFunc(l.cumulative, func(a, b *entry) int {
		switch {
		case l.graph.reaches(b.kb, a.kb):
			return -1
		case l.graph.reaches(a.kb, b.kb):
			return 1
		}
		return 0
	})
}

// redate moves an update whose own month is not at hand, so that only a later
// note in an older document dates it, behind what it replaces.
func (l *line) redate() {
	for range 3 { // a few such may follow each other
		for _, e := range l.cumulative {
			for old := range e.supersedes {
				o := l.entries[old]
				if o != nil && len(e.cves) < many && o.kind == e.kind && o.released.After(e.released) {
					e.released = o.released
				}
			}
		}
	}
}

func (l *line) explicit(e *entry, olds []string) {
	for _, old := range olds {
		if b := l.entries[old]; b == nil || l.may(e, b) {
			l.graph.add(e.kb, old)
		}
	}
}

// may refuses edges that can't be: a hotpatch or a part of a month never makes
// a cumulative update superfluous.
func (l *line) may(over, under *entry) bool {
	if under.kind == cumulative || under.kind == rollup {
		return over.kind == under.kind
	}
	return true
}

// byMonth connects each cumulative update with those of the month before it
// that is at hand, where the documents give no build.
func (l *line) byMonth() {
	var before, here []*entry // of the month before, and of the month at hand
	for _, e := range l.cumulative {
		if len(here) > 0 && here[0].released.Before(e.released) {
			before, here = here, nil
		}
		here = append(here, e)
		for _, last := range before {
			if last.build == "" || e.build == "" {
				l.graph.add(e.kb, last.kb)
			}
		}
	}
}

// monthsParts puts a month's partial updates and hotpatches below the first
// cumulative one of the same or a later month, which holds all that they do.
func (l *line) monthsParts() {
	for _, e := range l.all() {
		if e.kind != onlyMonth && e.kind != browser && e.kind != hotpatch {
			continue
		}
		for _, c := range l.cumulative {
			if !c.released.Before(e.released) && c.kind != other {
				l.graph.add(c.kb, e.kb)
				break
			}
		}
	}
}

// covering are the cumulative updates of the same or a later month.
func (l *line) covering(e *entry) []*entry {
	var out []*entry
	for _, c := range l.cumulative {
		if !c.released.Before(e.released) {
			out = append(out, c)
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}
