package publisher

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/lab"
	"github.com/fettlehq/fettle/internal/repo"
)

// Payload brings the bytes with that SHA-256 into the repository's payload
// store: see Payloads.
func (p *Publisher) Payload(ctx context.Context, sha256 string) error {
	return p.Payloads(ctx, []string{sha256}, nil)
}

// Payloads brings payloads that stand in the current catalog into the
// repository's payload store, from wherever their vendor offers them. What is
// there already and whole is left alone. fault.NotFound means that the current catalog
// names no such payload, or that the vendor does not offer it any more;
// fault.Untrusted that its bytes are not those of the catalog: then nothing of
// it is stored.
func (p *Publisher) Payloads(ctx context.Context, hashes []string, progress Progress) error {
	var missing []string
	for _, h := range hashes {
		if err := repo.CheckHash(h); err != nil {
			return err
		}
		if slices.Contains(missing, h) {
			continue
		}
		whole, err := p.holds(ctx, h)
		if err != nil {
			return err
		}
		if !whole {
			missing = append(missing, h)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	p.working.Lock()
	defer p.working.Unlock()
	p.listen(progress)
	defer p.listen(nil)
	wanted, err := p.find(missing)
	if err != nil {
		return err
	}
	return p.bring(ctx, wanted)
}

// Stage brings all payloads of the named patches into the payload store.
func (p *Publisher) Stage(ctx context.Context, ids []patch.ID, progress Progress) error {
	patches, err := p.patches(ids)
	if err != nil {
		return err
	}
	var hashes []string
	for _, x := range patches {
		for _, it := range x.Items {
			if it.Payload.SHA256 != "" && !slices.Contains(hashes, it.Payload.SHA256) {
				hashes = append(hashes, it.Payload.SHA256)
			}
		}
	}
	return p.Payloads(ctx, hashes, progress)
}

// Prove fetches the payloads of the named patches and holds them against the
// index, or, where no index vouches for them, against their makers' signatures;
// then who's request is remembered (Request). Patches that fail are left out of
// the next publication; those that pass are published as proven.
func (p *Publisher) Prove(ctx context.Context, ids []patch.ID, who string, progress Progress) ([]lab.Proven, error) {
	patches, err := p.patches(ids)
	if err != nil {
		return nil, err
	}
	p.working.Lock()
	defer p.working.Unlock()
	p.listen(progress)
	defer p.listen(nil)
	bulletins, indexed := split(patches, func(x patch.Patch) bool {
		return len(x.Archives) == 0 && (x.Bulletin() || x.Evidence.Verdict == patch.Delegated)
	})
	out, err := p.lab.Prove(ctx, labPayloads{p}, indexed, p.now())
	if err != nil || len(bulletins) == 0 {
		return out, err
	}
	asked, err := p.fetchAsked(ctx, bulletins, who)
	return append(out, asked...), err
}

// split parts the patches that are so from the others.
func split(all []patch.Patch, so func(patch.Patch) bool) (these, others []patch.Patch) {
	for _, x := range all {
		if so(x) {
			these = append(these, x)
		} else {
			others = append(others, x)
		}
	}
	return these, others
}

// labPayloads gives the lab access to payloads.
type labPayloads struct{ p *Publisher }

func (l labPayloads) Fetch(ctx context.Context, x patch.Patch, it patch.Item) error {
	whole, err := l.p.holds(ctx, it.Payload.SHA256)
	if err != nil || whole {
		return err
	}
	return l.p.bring(ctx, []crawl.Wanted{wantedOf(x, it)})
}

func (l labPayloads) Open(sha256 string) (io.ReadCloser, error) {
	path, err := repo.PayloadPath(sha256)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(l.p.cfg.Repository, filepath.FromSlash(path)))
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "publisher: payload %s is not stored", sha256)
	}
	return f, nil
}

func (p *Publisher) hasPayload(sha256 string) bool {
	p.filing.Lock()
	defer p.filing.Unlock()
	_, err := p.repo.HasPayload(sha256)
	return err == nil
}

func wantedOf(x patch.Patch, it patch.Item) crawl.Wanted {
	w := crawl.Wanted{Item: it, Archives: it.Archives}
	if len(w.Archives) == 0 {
		w.Archives = x.Archives
	}
	return w
}

// each calls do with every shard of the current catalog until it says that it
// has what it wants.
func (p *Publisher) each(do func(*catalog.Shard) (done bool, err error)) error {
	p.filing.Lock()
	shards, _, err := p.published()
	p.filing.Unlock()
	if err != nil {
		return err
	}
	for _, info := range shards {
		s, err := p.openShard(info)
		if err != nil {
			return err
		}
		done, err := do(s.Shard)
		s.Close()
		if done || err != nil {
			return err
		}
	}
	return nil
}

// patches looks patches up in the current catalog.
func (p *Publisher) patches(ids []patch.ID) ([]patch.Patch, error) {
	found := map[patch.ID]patch.Patch{}
	err := p.each(func(s *catalog.Shard) (bool, error) {
		for _, id := range ids {
			x, _, err := s.Patch(id)
			if err == nil {
				found[id] = x
			} else if !fault.Is(err, fault.NotFound) {
				return true, err
			}
		}
		return len(found) == len(ids), nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]patch.Patch, 0, len(ids))
	for _, id := range ids {
		x, ok := found[id]
		if !ok {
			return nil, fault.New(fault.NotFound, "publisher: the current catalog has no patch %s", id).
				WithHint("'fettle patches' lists the ids of the catalog, 'fettle missing' those that machines lack")
		}
		out = append(out, x)
	}
	return out, nil
}

// find looks payloads up in the current catalog.
func (p *Publisher) find(hashes []string) ([]crawl.Wanted, error) {
	out, open, err := p.lookUp(hashes)
	if err != nil {
		return nil, err
	}
	for h := range open {
		return nil, fault.New(fault.NotFound, "publisher: the current catalog names no payload %s", h)
	}
	return out, nil
}

// lookUp is find that returns those which the current catalog does not name.
func (p *Publisher) lookUp(hashes []string) (out []crawl.Wanted, open map[string]bool, err error) {
	open = map[string]bool{}
	for _, h := range hashes {
		open[h] = true
	}
	err = p.each(func(s *catalog.Shard) (bool, error) {
		for x, err := range s.Patches() {
			if err != nil {
				return true, err
			}
			for _, it := range x.Items {
				if open[it.Payload.SHA256] {
					delete(open, it.Payload.SHA256)
					out = append(out, wantedOf(x, it))
				}
			}
			if len(open) == 0 {
				break
			}
		}
		return len(open) == 0, nil
	})
	return out, open, err
}

// bring fetches payloads through the sources that offer them, proves each by
// its hash and stores it.
func (p *Publisher) bring(ctx context.Context, wanted []crawl.Wanted) error {
	wanted, err := p.bringShelved(ctx, wanted)
	if err != nil {
		return err
	}
	for _, s := range p.sources {
		from, ok := s.(crawl.Payloader)
		if !ok || len(wanted) == 0 {
			continue
		}
		at := p.runner.Fingerprint(s.Name())
		holds := from.Holds(at)
		var mine, rest []crawl.Wanted
		for _, w := range wanted {
			if slices.ContainsFunc(w.Archives, func(id string) bool { return slices.Contains(holds, id) }) {
				mine = append(mine, w)
			} else {
				rest = append(rest, w)
			}
		}
		if wanted = rest; len(mine) == 0 {
			continue
		}
		if err := p.bringFrom(ctx, from, at, mine); err != nil {
			return err
		}
	}
	if len(wanted) > 0 {
		return fault.New(fault.NotFound, "publisher: no configured source offers %s %s any more", wanted[0].Item.Name, wanted[0].Item.Version)
	}
	return nil
}

func (p *Publisher) bringFrom(ctx context.Context, from crawl.Payloader, at crawl.Fingerprint, wanted []crawl.Wanted) error {
	dir, err := os.MkdirTemp(p.stagingDir(), "payloads-")
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "publisher: no folder for payloads can be made")
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // apt's unprivileged user writes here
		return fault.Wrap(err, fault.Unavailable, "publisher: no folder for payloads can be made")
	}
	p.say("stage", from.Name(), "fetching "+itoa(int64(len(wanted)))+" payloads")
	files, err := from.Payloads(ctx, at, wanted, dir)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		if err := p.fileFrom(ctx, files[w.Item.Payload.SHA256], w.Item); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) fileFrom(ctx context.Context, path string, it patch.Item) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "publisher: the fetched %s can't be read", it.Name)
	}
	defer f.Close()
	p.filing.Lock()
	defer p.filing.Unlock()
	if err := p.file(ctx, f, it.Payload.SHA256); err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "publisher: %s %s", it.Name, it.Version)
	}
	return nil
}
