package microsoft

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
)

// kind says how a KB is serviced on its platform.
type kind int

const (
	other      kind = iota // no document says how to detect it
	cumulative             // a cumulative update of Windows 10 and later
	rollup                 // a monthly rollup of Windows 8.1 and before
	onlyMonth              // the same month's security fixes alone
	browser                // the month's Internet Explorer fixes alone
	stack                  // the servicing stack
	hotpatch               // the month's fixes without restart, for enrolled machines
	historical             // named by the supersedence list alone
	servicePak             // a service pack
)

// entry is one KB on one platform, over all months.
type entry struct {
	kb       string
	platform string
	product  Product
	names    []string // product names, as written
	whole    bool     // it is for Windows itself and not for a part alone
	subType  string
	restart  string
	url      string
	build    string // validated; empty when no document gives a credible one
	extended bool   // from the ESU family
	severity patch.Severity

	supersedes map[string]bool
	cves       map[string]bool
	issues     []string
	votes      map[string]int // CVEs by month
	released   time.Time      // first publication of the month with most votes

	kind kind
}

func (k kind) String() string {
	return [...]string{"other", "cumulative", "rollup", "security_only", "browser", "servicing_stack", "hotpatch"}[k]
}

// gather is the folding of months into entries.
type gather struct {
	entries map[string]map[string]*entry // by platform and KB
	// foreign are the KBs of other products, by KB.
	foreign map[string]*entry
	months  map[string]msrc.Month
	tally   Tally
}

// Tally says what became of the folded fixes of all months.
type Tally struct {
	Months    int            `json:"months"`
	KBs       int            `json:"kbs"`       // distinct KB numbers
	Pairs     int            `json:"pairs"`     // distinct KB and product
	Platforms int            `json:"platforms"` // Windows releases by architecture
	Entries   int            `json:"entries"`   // distinct KB and platform
	Foreign   int            `json:"foreign"`   // KBs of other products alone
	Device    int            `json:"device"`    // folded fixes for HoloLens and phones
	Strange   map[string]int `json:"strange,omitempty"`
	// BadBuilds are builds that can't be of their release, such as
	// "10.0.17784.2183" for a release with build 17763.
	BadBuilds int `json:"bad_builds"`
	// Edges are the supersedence edges kept, Circular those left out because
	// they contradict better ones.
	Edges    int            `json:"edges"`
	Circular int            `json:"circular"`
	Kinds    map[string]int `json:"kinds,omitempty"`
}

// collect folds months, the oldest first, so that the newest word stays.
func collect(months []msrc.Month) *gather {
	g := &gather{
		entries: map[string]map[string]*entry{}, foreign: map[string]*entry{}, months: map[string]msrc.Month{},
		tally: Tally{Months: len(months), Strange: map[string]int{}, Kinds: map[string]int{}},
	}
	months = slices.Clone(months)
	slices.SortFunc(months, func(a, b msrc.Month) int {
		return cmp.Or(a.Current.Compare(b.Current), strings.Compare(a.ID, b.ID))
	})
	kbs, pairs := map[string]bool{}, map[msrc.Pair]bool{}
	products := map[string]Product{}
	for _, m := range months {
		g.months[m.ID] = m
		for _, f := range m.Fixes {
			kbs[f.KB] = true
			pairs[msrc.Pair{KB: f.KB, Product: f.ProductID}] = true
			p, known := products[f.Product]
			if !known {
				p = ParseProduct(f.Product)
				products[f.Product] = p
			}
			g.fix(m, f, p)
		}
	}
	g.tally.KBs, g.tally.Pairs, g.tally.Platforms = len(kbs), len(pairs), len(g.entries)
	onWindows := map[string]bool{}
	for _, of := range g.entries {
		for kb, e := range of {
			onWindows[kb] = true
			g.date(e)
		}
		g.tally.Entries += len(of)
	}
	for kb, e := range g.foreign {
		g.date(e)
		if !onWindows[kb] {
			g.tally.Foreign++
		}
	}
	return g
}

// fix adds a folded fix to its entry.
func (g *gather) fix(m msrc.Month, f msrc.Fix, p Product) {
	switch p.Class {
	case Device:
		g.tally.Device++
		return
	case Strange:
		g.tally.Strange[f.Product]++
	}
	of := g.foreign
	if platform := p.Platform(); platform != "" {
		if of = g.entries[platform]; of == nil {
			of = map[string]*entry{}
			g.entries[platform] = of
		}
	}
	e := of[f.KB]
	if e == nil {
		e = &entry{
			kb: f.KB, platform: p.Platform(), product: p,
			supersedes: map[string]bool{}, cves: map[string]bool{}, votes: map[string]int{},
		}
		of[f.KB] = e
	}
	g.merge(e, m, f, p)
}

func (g *gather) merge(e *entry, m msrc.Month, f msrc.Fix, p Product) {
	if p.Class == Whole && !e.whole {
		e.whole, e.product = true, p
		e.subType, e.build = "", "" // what was said of a part does not count for the whole
	}
	if p.Class == Whole || !e.whole {
		if !msrc.IsHotpatch(e.subType) {
			e.subType = cmp.Or(f.SubType, e.subType)
		}
		if b, ok := credible(f.Build, p); ok {
			e.build = b
		} else if p.Class == Whole && strings.HasPrefix(f.Build, "10.0.") {
			g.tally.BadBuilds++
		}
	}
	if !slices.Contains(e.names, f.Product) {
		e.names = append(e.names, f.Product)
	}
	e.restart, e.url = cmp.Or(f.Restart, e.restart), cmp.Or(f.URL, e.url)
	e.severity = msrc.Worse(e.severity, f.Severity)
	e.extended = e.extended || f.Family == "ESU"
	for _, old := range f.Supersedes {
		e.supersedes[old] = true
	}
	for _, issue := range f.KnownIssues {
		if !slices.Contains(e.issues, issue) && len(e.issues) < 8 {
			e.issues = append(e.issues, issue)
		}
	}
	for _, c := range f.CVEs {
		if c >= 0 && c < len(m.CVEs) {
			e.cves[m.CVEs[c].ID] = true
		}
	}
	e.votes[m.ID] = max(e.votes[m.ID], len(f.CVEs))
}

// date settles when a KB was released: in the month whose document names it
// under most CVEs. Documents of earlier months take it up when it fixes an
// old CVE once more.
func (g *gather) date(e *entry) {
	best := 0
	for id, n := range e.votes {
		at := g.months[id].Initial
		if n > best || n == best && at.After(e.released) {
			best, e.released = n, at
		}
	}
}

// credible checks a build against the release that it is said of. Releases
// that differ by an enablement package share revisions, and the documents
// sometimes give one's build for the other.
func credible(text string, p Product) (string, bool) {
	text = strings.ReplaceAll(strings.TrimSpace(text), "..", ".")
	parts := strings.Split(text, ".")
	if p.Class != Whole || len(parts) != 4 || !digits(parts) {
		return "", false
	}
	base := strings.Join(parts[:3], ".")
	if slices.Contains(p.Release.Builds, base) {
		return text, true
	}
	for _, family := range shared {
		own := slices.IndexFunc(family, func(b string) bool { return slices.Contains(p.Release.Builds, b) })
		if own >= 0 && slices.Contains(family, base) {
			return family[own] + "." + parts[3], true
		}
	}
	return "", false
}

func digits(parts []string) bool {
	for _, p := range parts {
		if p == "" || len(p) > 9 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}
