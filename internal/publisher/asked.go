package publisher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

// Request is a person's wish that a patch be proven, whose vendor signs nothing
// that names its payload: the payload is fetched, and stays fetched, for as long
// as the wish is remembered.
type Request struct {
	Patch patch.ID  `json:"patch"`
	Who   string    `json:"who"`
	At    time.Time `json:"at"`
}

// requestDir holds one file for each request, so that people may come and go
// while a publisher runs.
const requestDir = "requests"

func requestPath(cfg Config, id patch.ID) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(cfg.Data, requestDir, hex.EncodeToString(sum[:])+".json")
}

// maxID bounds a patch's id in bytes; real ones have less than 100.
const maxID = 300

// Ask remembers that who wants patches proven. A publisher that runs takes it up
// with its next run. fault.Invalid names what is no id of a patch.
func Ask(cfg Config, ids []patch.ID, who string, now time.Time) error {
	for _, id := range ids {
		if id == "" || len(id) > maxID || !strings.Contains(string(id), ":") || strings.ContainsFunc(string(id), func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fault.New(fault.Invalid, "publisher: %q is no id of a patch", clipped(string(id)))
		}
	}
	if err := os.MkdirAll(filepath.Join(cfg.Data, requestDir), 0o755); err != nil {
		return fault.Wrap(err, fault.Unavailable, "publisher: what is asked for can't be written down")
	}
	for _, id := range ids {
		path := requestPath(cfg, id)
		if _, err := os.Stat(path); err == nil {
			continue // who asked first stays
		}
		text, err := json.Marshal(Request{Patch: id, Who: who, At: now.UTC().Truncate(time.Second)})
		if err == nil {
			err = atomicfile.Write(path, append(text, '\n'), 0o644)
		}
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, "publisher: what is asked for can't be written down")
		}
	}
	return nil
}

// Forget takes requests back: with the next run of a publisher what was fetched
// for them goes, and the patches are bulletins again, unless the configuration
// names them. fault.NotFound names one that nobody has asked for.
func Forget(cfg Config, ids []patch.ID) error {
	for _, id := range ids {
		err := os.Remove(requestPath(cfg, id))
		if errors.Is(err, fs.ErrNotExist) {
			return fault.Wrap(err, fault.NotFound, "publisher: nobody has asked for %s to be proven", clipped(string(id))).
				WithHint("fettle publisher prove --list shows what was asked for.")
		}
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, "publisher: the request for %s can't be taken back", clipped(string(id)))
		}
	}
	return nil
}

// Requests lists what people have asked for, by patch. A request that can't be
// read is named in the error and does not hide the others.
func Requests(cfg Config) ([]Request, error) {
	dir := filepath.Join(cfg.Data, requestDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "publisher: what was asked for can't be listed")
	}
	var out []Request
	var damaged error
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" || strings.HasPrefix(e.Name(), ".") {
			continue // on its way in
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken back just now
		}
		var r Request
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			damaged = fault.Wrap(err, fault.Invalid, "publisher: the request in %s can't be read", filepath.Join(dir, e.Name())).WithHint("Delete that file and ask again.")
			continue
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Request) int { return strings.Compare(string(a.Patch), string(b.Patch)) })
	return out, damaged
}

func clipped(s string) string {
	const most = 100
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// ask tells the sources what people want proven: what is remembered, and more.
func (p *Publisher) ask(more ...patch.ID) []patch.ID {
	all, err := Requests(p.cfg)
	if err != nil {
		p.log.Warn("what people ask to be proven is not known whole", "error", err, "hint", fault.HintOf(err))
	}
	ids := slices.Clone(more)
	for _, r := range all {
		if !slices.Contains(ids, r.Patch) {
			ids = append(ids, r.Patch)
		}
	}
	for _, s := range p.sources {
		if from, ok := s.(crawl.Prover); ok {
			from.Ask(ids)
		}
	}
	return ids
}

// unheard are the notes on requests that no source can do anything for.
func unheard(asked []patch.ID, all []patch.Patch) []string {
	var out []string
	for _, id := range asked {
		if !slices.ContainsFunc(all, func(x patch.Patch) bool { return x.ID == id }) {
			out = append(out, "no source offers "+string(id)+" any more, which is to be proven ('fettle publisher prove --forget "+string(id)+"' takes that back)")
		}
	}
	return out
}

// fetchAsked has the sources fetch the payloads of patches that no index vouches
// for, and says what the lab thinks of them. What they can be fetched for is
// remembered as who's request.
func (p *Publisher) fetchAsked(ctx context.Context, patches []patch.Patch, who string) ([]lab.Proven, error) {
	ids := make([]patch.ID, 0, len(patches))
	for _, x := range patches {
		ids = append(ids, x.ID)
	}
	p.ask(ids...)
	now := p.now()
	results, err := p.runner.Only(ctx, now, func(source, doing string) { p.say("crawl", source, doing) }, func(s crawl.Source) bool {
		_, ok := s.(crawl.Prover)
		return ok
	})
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(crawl.Combine(results).Patches, func(x patch.Patch) bool { return !slices.Contains(ids, x.ID) || len(x.Items) == 0 })
	if err := p.lab.Examine(ctx, found, p.openFetched, now); err != nil {
		return nil, err
	}
	kept, rejected := p.lab.Judge(found, nil)
	out := make([]lab.Proven, 0, len(ids))
	for _, x := range patches {
		res, fetchable := outcome(x, kept, rejected)
		if fetchable && !slices.ContainsFunc(found, func(f patch.Patch) bool { return f.ID == x.ID && f.Install.Stray() != "" }) {
			if err := Ask(p.cfg, []patch.ID{x.ID}, who, now); err != nil {
				return nil, err
			}
		}
		out = append(out, res)
	}
	return out, nil
}

// outcome is what came of one patch, and whether a source knows its payload.
func outcome(x patch.Patch, kept []patch.Patch, rejected []lab.Rejection) (res lab.Proven, fetchable bool) {
	for _, r := range rejected {
		if r.Patch == x.ID {
			return lab.Proven{Patch: x.ID, Reason: r.Reason}, true
		}
	}
	for _, k := range kept {
		if k.ID == x.ID {
			if k.Evidence.Verdict == patch.Proven {
				return lab.Proven{Patch: x.ID, OK: true}, true
			}
			return lab.Proven{Patch: x.ID, Untried: true, Reason: strings.Join(k.Evidence.Checks, "; ")}, true
		}
	}
	return lab.Proven{Patch: x.ID, Untried: true, Reason: "no configured source knows a payload of it: " + strings.Join(x.Evidence.Checks, "; ")}, false
}
