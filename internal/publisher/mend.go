package publisher

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

// mostTried is how many payloads may fail to be fetched anew in one run for
// another reason than that nobody offers them; the others wait for the next.
const mostTried = 10

// gap is a payload that was set aside and is not there; want is the patch's file
// that it is, or source whose index it is. Neither means that nobody needs it.
type gap struct {
	publish.Aside
	want   *crawl.Wanted
	source string
}

func (g gap) needed() bool { return g.want != nil || g.source != "" }

// gaps lists what is missing, and what was found damaged just now.
func (p *Publisher) gaps(found map[string]bool) ([]gap, error) {
	all, err := p.repo.Aside()
	all = slices.DeleteFunc(all, func(a publish.Aside) bool { return !found[a.SHA256] && p.hasPayload(a.SHA256) })
	if err != nil || len(all) == 0 {
		return nil, err
	}
	hashes := make([]string, 0, len(all))
	for _, a := range all {
		hashes = append(hashes, a.SHA256)
	}
	wanted, _, err := p.lookUp(hashes)
	out := make([]gap, 0, len(all))
	for _, a := range all {
		g := gap{Aside: a}
		if i := slices.IndexFunc(wanted, func(w crawl.Wanted) bool { return w.Item.Payload.SHA256 == a.SHA256 }); i >= 0 {
			g.want = &wanted[i]
		} else {
			g.source = p.indexOf(a.SHA256)
		}
		out = append(out, g)
	}
	return out, err
}

// indexOf names the source that needs an index.
func (p *Publisher) indexOf(hash string) string {
	for _, s := range p.sources {
		if k, ok := s.(crawl.Keeper); ok && slices.Contains(k.Blobs(p.runner.Fingerprint(s.Name())), hash) {
			return s.Name()
		}
	}
	return ""
}

// mend brings in anew what is missing, and tells of it and of what was found
// now.
func (p *Publisher) mend(ctx context.Context, found map[string]bool, now time.Time) ([]Damaged, error) {
	out := []Damaged{}
	if err := p.repo.DropAside(now.Add(-keepAside)); err != nil {
		p.log.Warn("old damaged payloads can't be removed", "error", err)
	}
	gaps, err := p.gaps(found)
	if err != nil {
		return out, err
	}
	failed := 0
	for _, g := range gaps {
		if !g.needed() && !found[g.SHA256] {
			continue
		}
		var err error = fault.New(fault.Unavailable, "publisher: too much failed before; the next run tries it")
		if failed < mostTried {
			err = p.again(ctx, g)
		}
		if err != nil && ctx.Err() != nil {
			return out, err
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			failed++
		}
		out = append(out, p.outcome(g, err))
	}
	return out, nil
}

// outcome says and logs what came of a damaged payload.
func (p *Publisher) outcome(g gap, err error) Damaged {
	d := Damaged{SHA256: g.SHA256, At: g.At, Mended: err == nil, Unneeded: !g.needed()}
	if g.want != nil {
		d.Name = g.want.Item.Name + " " + g.want.Item.Version
	} else if g.source != "" {
		d.Name = "an index of source " + g.source
	}
	if err == nil {
		p.log.Info("a damaged payload was fetched anew", "payload", d.SHA256, "name", d.Name)
		return d
	}
	d.Reason, d.Hint = fault.Public(err), fault.HintOf(err)
	p.log.Error("a damaged payload can't be fetched anew", "payload", d.SHA256, "name", d.Name, "error", err)
	return d
}

// again brings a payload in anew: a patch's file from its vendor, an index from
// the folder of its source. An index that its source has lost too is fetched
// with the next run.
func (p *Publisher) again(ctx context.Context, g gap) error {
	switch {
	case g.want != nil:
		return p.bring(ctx, []crawl.Wanted{*g.want})
	case g.source == "":
		return fault.New(fault.NotFound, "publisher: the current catalog does not name it any more")
	}
	err := p.copyBlob(ctx, g.source, g.SHA256)
	if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Untrusted) {
		return err
	}
	if err := p.runner.Forget(g.source, g.SHA256); err != nil {
		return err
	}
	return fault.Wrap(err, fault.Unavailable, "publisher: the source's own copy is damaged too; the next run fetches all of %s anew", g.source)
}

// missingNotes is the note that goes with the catalog on damaged payloads that
// could not be fetched anew.
func (p *Publisher) missingNotes() []string {
	gaps, err := p.gaps(nil)
	if err != nil {
		p.log.Warn("damaged payloads can't be listed", "error", err)
	}
	n := 0
	for _, g := range gaps {
		if g.want != nil { // indexes come with the run that tells
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("files of patches that were damaged on the repository's disk and could not be fetched anew so far: %d; 'fettle publisher verify' names them", n)}
}

// copyBlob files what a source has in its folder.
func (p *Publisher) copyBlob(ctx context.Context, source, hash string) error {
	f, err := os.Open(crawl.BlobPath(p.runner.Dir(source), hash))
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "publisher: it is gone from the folder of source %s", source)
	}
	defer f.Close()
	p.filing.Lock()
	defer p.filing.Unlock()
	return p.file(ctx, f, hash)
}
