package microsoft

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// HotfixKind is the kind of the inventory's packages that are installed KBs,
// with names such as "KB5034127".
const HotfixKind = "kb"

// rules gives the detection rules of an entry, or nil for a KB that no document
// says how to detect.
func (l *line) rules(e *entry) (applicable, installed *detect.Rule) {
	var is detect.Rule
	switch e.kind {
	case cumulative:
		is = anyOf(l.modernInstalled(e))
	case rollup:
		is = anyOf(l.rollupInstalled(e))
	case onlyMonth, browser:
		is = anyOf(l.partInstalled(e))
	case stack:
		is = anyOf(l.stackInstalled(e))
	default:
		return nil, nil
	}
	may := l.applicable(e)
	return &may, &is
}

// applicable is true on machines of the release, at the service pack that the
// documents ask for, and of the editions that are still serviced.
func (l *line) applicable(e *entry) detect.Rule {
	builds := e.product.Release.Builds
	lowest := builds[0]
	if n := e.product.ServicePack; n > 0 && n < len(builds) {
		lowest = builds[n]
	}
	if e.product.Release.Server && e.product.Release.Version == "2008" && e.product.ServicePack == 2 {
		lowest = "6.0.6002" // the first build of Server 2008 is Service Pack 1
	}
	tests := []detect.Rule{osBuild(detect.GE, lowest), osBuild(detect.LT, next(builds[len(builds)-1]))}
	key := releaseKey{e.product.Release.ID, e.product.Release.Version}
	if until, some := extendedFor[key]; some && e.released.After(until.AddDate(0, 0, 1)) {
		var editions []detect.Rule
		for _, id := range longTerm {
			editions = append(editions, detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Product: id}})
		}
		tests = append(tests, detect.Rule{Any: editions})
	}
	return detect.Rule{All: tests}
}

// modernInstalled: the build says it. Where the update's own build is not
// known, the lowest known build that contains it does, and the KB numbers of
// what is above it and has no build either.
func (l *line) modernInstalled(e *entry) []detect.Rule {
	if e.build != "" {
		tests := []detect.Rule{osBuild(detect.GE, e.build)}
		for _, h := range l.hotpatches[e.released] {
			if vercmp.WindowsQuad(h.build, e.build) < 0 {
				tests = append(tests, osBuild(detect.EQ, h.build))
			}
		}
		return tests
	}
	return l.withoutBuild(e)
}

func (l *line) withoutBuild(e *entry) []detect.Rule {
	lowest := ""
	kbs := []string{e.kb}
	for _, kb := range l.above[e.kb] {
		o := l.entries[kb]
		switch {
		case o == nil || o.kind != e.kind:
		case o.build == "":
			kbs = append(kbs, kb)
		case lowest == "" || vercmp.WindowsQuad(o.build, lowest) < 0:
			lowest = o.build
		}
	}
	var tests []detect.Rule
	if lowest != "" {
		tests = append(tests, osBuild(detect.GE, lowest))
	}
	return append(tests, hotfixes(kbs)...)
}

// rollupInstalled: before Windows 10 a build may come from a security-only
// update as well, which brings only its own month. So the build counts when no
// such update of the same or a later month is there, else the KB numbers do.
func (l *line) rollupInstalled(e *entry) []detect.Rule {
	kbs := []string{e.kb}
	for _, kb := range l.above[e.kb] {
		if o := l.entries[kb]; o != nil && o.kind == rollup {
			kbs = append(kbs, kb)
		}
	}
	tests := hotfixes(kbs)
	build := e.build
	if build == "" {
		for _, kb := range l.above[e.kb] {
			if o := l.entries[kb]; o != nil && o.build != "" && o.kind == rollup && (build == "" || vercmp.WindowsQuad(o.build, build) < 0) {
				build = o.build
			}
		}
	}
	if build == "" {
		return tests
	}
	var single []string
	for _, o := range l.all() {
		if o.kind == onlyMonth && !o.released.Before(e.released) {
			single = append(single, o.kb)
		}
	}
	reached := osBuild(detect.GE, build)
	if len(single) > 0 {
		not := anyOf(hotfixes(single))
		reached = detect.Rule{All: []detect.Rule{reached, {Not: &not}}}
	}
	return append([]detect.Rule{reached}, tests...)
}

// partInstalled: its own KB, one that replaces it, or a rollup that holds it.
func (l *line) partInstalled(e *entry) []detect.Rule {
	kbs := []string{e.kb}
	for _, kb := range l.above[e.kb] {
		if o := l.entries[kb]; o != nil && (o.kind == e.kind || o.kind == rollup) {
			kbs = append(kbs, kb)
		}
	}
	for _, c := range l.covering(e) {
		kbs = append(kbs, c.kb)
	}
	return hotfixes(kbs)
}

// stackInstalled: its own KB, a later servicing stack, or the build of a
// cumulative update that asks for it: that could not be there without it.
func (l *line) stackInstalled(e *entry) []detect.Rule {
	kbs := []string{e.kb}
	for _, s := range l.stacks {
		if s.released.After(e.released) {
			kbs = append(kbs, s.kb)
		}
	}
	tests := hotfixes(kbs)
	lowest := ""
	for _, c := range l.cumulative {
		if c.build != "" && c.released.After(e.released) && (lowest == "" || vercmp.WindowsQuad(c.build, lowest) < 0) {
			lowest = c.build
		}
	}
	if lowest == "" || !modern(e.product) {
		return tests
	}
	return append([]detect.Rule{osBuild(detect.GE, lowest)}, tests...)
}

// requires is the servicing stack that a cumulative update asks for: the
// newest of its own or an earlier month.
func (l *line) requires(e *entry) string {
	if e.kind != cumulative && e.kind != rollup {
		return ""
	}
	kb := ""
	for _, s := range l.stacks {
		if !s.released.After(e.released) {
			kb = s.kb
		}
	}
	return kb
}

func osBuild(op detect.Op, build string) detect.Rule {
	return detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Op: op, Build: build}}
}

// hotfixes tests that one of the KBs is installed, each once.
func hotfixes(kbs []string) []detect.Rule {
	kbs = slices.Clone(kbs)
	slices.Sort(kbs)
	var out []detect.Rule
	for _, kb := range slices.Compact(kbs) {
		out = append(out, detect.Rule{Package: &detect.Package{Kind: HotfixKind, Name: "KB" + kb}})
	}
	return out
}

// anyOf is true when one of the tests is; there is at least one.
func anyOf(tests []detect.Rule) detect.Rule {
	if len(tests) == 1 {
		return tests[0]
	}
	return detect.Rule{Any: tests}
}

// next is the build number after one such as "10.0.17763".
func next(build string) string {
	i := strings.LastIndexByte(build, '.')
	n, err := strconv.Atoi(build[i+1:])
	if err != nil {
		return build // the table holds numbers alone; its test says so
	}
	return build[:i+1] + strconv.Itoa(n+1)
}
