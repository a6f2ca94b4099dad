package publisher

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/enrich"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

// Event tells a person what goes on.
type Event struct {
	Stage  string `json:"stage"`
	Source string `json:"source,omitempty"`
	Doing  string `json:"doing"`
}

// Progress is called with events, one at a time; it may be nil.
type Progress func(Event)

// Report is what a run came to.
type Report struct {
	// Version is the catalog's version now; Changed says that it is new.
	Version int64          `json:"version"`
	Changed bool           `json:"changed"`
	Took    time.Duration  `json:"took_ns"`
	Stages  []StageTime    `json:"stages"`
	Sources []crawl.Health `json:"sources"`
	Shards  []ShardReport  `json:"shards"`
	// Rejected are patches and packages that are not published, with reasons.
	Rejected []lab.Rejection `json:"rejected,omitempty"`
	// Notes are those in the catalog's header.
	Notes []string `json:"notes,omitempty"`
	// Collected is how many payloads that no kept shard names were removed.
	Collected int `json:"collected,omitempty"`
	// Damaged are payloads whose bytes did not have their hash any more.
	Damaged []Damaged `json:"damaged,omitempty"`
	// RootExpires is when the root keys must have signed again.
	RootExpires time.Time `json:"root_expires"`
}

// StageTime is how long a stage took.
type StageTime struct {
	Stage string        `json:"stage"`
	Took  time.Duration `json:"took_ns"`
}

// ShardReport describes one platform's shard; sizes are in bytes.
type ShardReport struct {
	Platform        string `json:"platform"`
	Patches         int    `json:"patches"`
	Items           int    `json:"items"`
	Advisories      int    `json:"advisories"`
	Vulnerabilities int    `json:"vulnerabilities"`
	Size            int64  `json:"size"`
	Packed          int64  `json:"packed"`
	// Delta is the size of the delta from the version before; 0 means none.
	Delta int64 `json:"delta,omitempty"`
}

// batch is what the stages hand on.
type batch struct {
	now     time.Time
	results []crawl.Result
	all     crawl.Output
	vulns   []patch.Vulnerability
	shards  []catalog.Contents
	report  Report
	// unheard are notes on what people have asked for in vain.
	unheard []string
}

type stage struct {
	name string
	run  func(context.Context, *batch) error
}

// stages is the whole way of a patch through the publisher.
func (p *Publisher) stages() []stage {
	return []stage{
		{"crawl", p.crawl},
		{"enrich", p.enrich},
		{"lab", p.judge},
		{"catalog", p.assemble},
		{"publish", p.publish},
		{"verify", p.patrol},
		{"collect", p.collect},
	}
}

// Once goes through all stages once. Failing sources do not fail it: the
// report and the catalog's header name them, and what they gave before stays.
// With nothing new the catalog keeps its version and only signatures that are
// due are renewed. After an error the repository is as it was.
func (p *Publisher) Once(ctx context.Context, progress Progress) (Report, error) {
	p.working.Lock()
	defer p.working.Unlock()
	p.listen(progress)
	defer p.listen(nil)
	defer debug.FreeOSMemory() // a run needs many times what the publisher needs until the next one
	start := time.Now()
	b := &batch{now: p.now()}
	for _, s := range p.stages() {
		p.say(s.name, "", "begins")
		began := time.Now()
		err := s.run(ctx, b)
		b.report.Stages = append(b.report.Stages, StageTime{s.name, time.Since(began)})
		b.report.Took = time.Since(start)
		b.report.Sources = p.runner.Health()
		if err != nil {
			return b.report, fault.Wrap(err, fault.CodeOf(err), "publisher: stage %s failed", s.name)
		}
	}
	return b.report, nil
}

func (p *Publisher) listen(progress Progress) {
	p.telling.Lock()
	defer p.telling.Unlock()
	p.tell = progress
}

func (p *Publisher) say(stage, source, doing string) {
	p.telling.Lock()
	defer p.telling.Unlock()
	if p.tell != nil {
		p.tell(Event{stage, source, doing})
	}
}

// crawl runs all sources and joins what they say.
func (p *Publisher) crawl(ctx context.Context, b *batch) error {
	var err error
	asked := p.ask()
	b.results, err = p.runner.Run(ctx, b.now, func(source, doing string) { p.say("crawl", source, doing) })
	if err != nil {
		return err
	}
	for _, r := range b.results {
		h := r.Health
		if !h.OK() && !h.LastSuccess.IsZero() && empty(r.Output) && h.Counts.Archives+h.Counts.Fixes+h.Counts.Advisories+h.Counts.Patches > 0 {
			return fault.New(fault.Unavailable, "publisher: source %s has lost what it fetched before and can't fetch it again: %s", h.Source, h.LastError).
				WithHint("Nothing is published without it, because its patches would vanish. Mend the source and run again.")
		}
	}
	b.all = crawl.Combine(b.results)
	b.unheard = unheard(asked, b.all.Patches)
	for i := range b.results { // only their folders are needed from here on
		b.results[i].Output = crawl.Output{Dir: b.results[i].Output.Dir}
	}
	if len(b.all.Patches) == 0 {
		return fault.New(fault.Unavailable, "publisher: no source gave a patch%s", firstReason(b.results)).
			WithHint("Does 'apt-get update' work on this machine? The lines before this one say why each source failed.")
	}
	if len(b.all.Fixes)+len(b.all.Advisories) == 0 {
		b.all.Notes = append(b.all.Notes, "no vendor's security tracker could be read so far: CVEs and severities are missing, and what is a security patch is known from the suites alone")
	}
	crawl.Join(b.all.Patches, b.all.Releases, b.all.Fixes, b.all.Advisories)
	crawl.Supersede(b.all.Patches, b.all.Archives)
	b.all.Fixes = nil
	return nil
}

func empty(o crawl.Output) bool {
	return len(o.Archives)+len(o.Fixes)+len(o.Advisories)+len(o.Patches) == 0
}

func firstReason(results []crawl.Result) string {
	for _, r := range results {
		if r.Health.LastError != "" {
			return ": " + r.Health.Source + ": " + r.Health.LastError
		}
	}
	return ""
}

// enrich applies the feeds' last good documents.
func (p *Publisher) enrich(_ context.Context, b *batch) error {
	vulns := enrich.Collect(b.all.Patches, b.all.Vulnerabilities)
	for _, f := range p.feeds {
		r, err := p.runner.Open(f.source.ID)
		if fault.Is(err, fault.NotFound) {
			continue // never fetched: the notes say so
		}
		if err != nil {
			return err
		}
		_, err = f.apply(r, vulns)
		_ = r.Close() // only read from
		if err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "publisher: the copy of feed %s", f.source.ID)
		}
	}
	enrich.Rate(vulns)
	enrich.Severities(b.all.Patches, vulns)
	b.vulns, b.all.Vulnerabilities = vulns.Sort(), nil
	return nil
}

// check makes a feed the reader of a document: it looks whether the document
// is good before it replaces the one at hand.
func check(apply enrich.Feed) func(io.Reader) (crawl.Output, error) {
	return func(r io.Reader) (crawl.Output, error) {
		r, err := crawl.RefuseHTML(r)
		if err != nil {
			return crawl.Output{}, err
		}
		n, err := apply(r, nil)
		return crawl.Output{Entries: n}, err
	}
}

// told puts what the lab has refused, and whose signatures it doubts, into notes,
// which go with the catalog to whoever looks at what machines lack; of many the
// first ones.
func told(rejected []lab.Rejection, doubts []string) []string {
	const shown = 20
	var out []string
	for _, r := range rejected[:min(len(rejected), shown)] {
		out = append(out, "refused: "+string(r.Patch)+": "+r.Reason)
	}
	if n := len(rejected) - shown; n > 0 {
		out = append(out, fmt.Sprintf("refused: %d more; 'fettle publisher once --json' names them", n))
	}
	out = append(out, doubts[:min(len(doubts), shown)]...)
	if n := len(doubts) - shown; n > 0 {
		out = append(out, fmt.Sprintf("%d more signers bear another name than their manifests' makers; 'fettle publisher signers' lists them", n))
	}
	return out
}

// judge asks the lab for a verdict on every patch.
func (p *Publisher) judge(ctx context.Context, b *batch) error {
	if err := p.lab.Examine(ctx, b.all.Patches, p.openFetched, b.now); err != nil {
		return err
	}
	kept, rejected := p.lab.Judge(b.all.Patches, b.all.Archives)
	settled, err := p.lab.Settle(kept)
	if err != nil {
		return err
	}
	kept, rejected = settled.Patches, append(rejected, settled.Rejected...)
	b.all.Notes = slices.Concat(b.all.Notes, told(rejected, p.lab.Doubtful(kept)), settled.Notes[:min(len(settled.Notes), 20)], p.missingNotes())
	kept, circles := catalog.BreakCircles(kept)
	for _, c := range circles {
		rejected = append(rejected, lab.Rejection{Patch: c.Patch, Reason: c.Error()})
	}
	b.all.Patches = restorable(kept)
	b.report.Rejected = rejected
	for _, r := range b.all.Rejected {
		b.report.Rejected = append(b.report.Rejected, lab.Rejection{Patch: patch.ID(r.What), Reason: r.Reason})
	}
	b.report.Notes = slices.Concat(b.all.Notes, b.unheard)
	return nil
}
