package publisher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/repo"
)

// Patrol reads the store's payloads bit by bit: each run those that have not
// been read for patrolRound, the longest unread first, patrolBytes of them.
const (
	patrolRound = 7 * 24 * time.Hour
	patrolBytes = 512 << 20
	keepAside   = 7 * 24 * time.Hour
)

// Verified is what came of reading payloads.
type Verified struct {
	// Payloads and Bytes are how many were read.
	Payloads int   `json:"payloads"`
	Bytes    int64 `json:"bytes"`
	// Damaged are those that were set aside now, and earlier ones that are
	// missing still.
	Damaged []Damaged `json:"damaged"`
}

// Damaged is a payload whose bytes did not have its hash any more. It was set
// aside: nobody is given it.
type Damaged struct {
	SHA256 string    `json:"sha256"`
	Name   string    `json:"name,omitempty"` // of a package, with its version
	At     time.Time `json:"at"`
	// Mended says that it was fetched anew; Reason why not, Hint what to do.
	Mended bool   `json:"mended"`
	Reason string `json:"reason,omitempty"`
	// Unneeded says that the current catalog does not name it any more.
	Unneeded bool   `json:"unneeded,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// read is what is remembered of a payload: the state of its file, and when its
// bytes were last seen to be whole.
type read struct {
	File string    `json:"file"`
	At   time.Time `json:"at"`
}

func (p *Publisher) readsPath() string { return filepath.Join(p.cfg.Data, "payloads.json") }

// Verify reads every payload of the repository, sets those aside whose bytes do
// not have their hash any more, and fetches them anew.
func (p *Publisher) Verify(ctx context.Context, progress Progress) (Verified, error) {
	p.working.Lock()
	defer p.working.Unlock()
	p.listen(progress)
	defer p.listen(nil)
	return p.verify(ctx, p.now(), true)
}

// patrol verifies a part of the payloads. What goes wrong is told and fails no
// run: the next one tries again.
func (p *Publisher) patrol(ctx context.Context, b *batch) error {
	v, err := p.verify(ctx, b.now, false)
	b.report.Damaged = v.Damaged
	if err != nil && ctx.Err() == nil {
		p.log.Warn("payloads can't be looked through", "error", err)
		return nil
	}
	return err
}

// verify reads all payloads, or those whose turn it is, and mends the damaged.
func (p *Publisher) verify(ctx context.Context, now time.Time, all bool) (Verified, error) {
	v := Verified{Damaged: []Damaged{}}
	files, err := p.payloadFiles()
	if err != nil {
		return v, err
	}
	known, reads := p.remembered(files)
	found := map[string]bool{}
	due := turn(files, reads, known, now, all)
	for i, hash := range due {
		if !all && v.Bytes >= patrolBytes {
			break
		}
		p.say("verify", "", fmt.Sprintf("%d %% of %d files read", 100*i/len(due), len(due)))
		whole, err := p.whole(ctx, hash, now)
		if err != nil && ctx.Err() != nil {
			return v, err
		}
		if err != nil {
			p.log.Warn("a payload can't be checked", "payload", hash, "error", err)
			continue
		}
		v.Payloads, v.Bytes = v.Payloads+1, v.Bytes+files[hash].Size()
		if found[hash] = !whole; whole {
			reads[hash] = read{crawl.FileVersion(files[hash]), now}
		}
	}
	if !maps.Equal(known, reads) {
		if err := p.keepReads(reads); err != nil {
			return v, err
		}
	}
	v.Damaged, err = p.mend(ctx, found, now)
	return v, err
}

// remembered is what is known of earlier reading; reads is the part of it whose
// files are still the same.
func (p *Publisher) remembered(files map[string]fs.FileInfo) (known, reads map[string]read) {
	if data, err := os.ReadFile(p.readsPath()); err == nil && json.Unmarshal(data, &known) != nil {
		known = nil // all are read anew
	}
	reads = map[string]read{}
	for hash, info := range files {
		if r, ok := known[hash]; ok && r.File == crawl.FileVersion(info) {
			reads[hash] = r
		}
	}
	return known, reads
}

func (p *Publisher) keepReads(reads map[string]read) error {
	text, err := json.Marshal(reads)
	if err == nil {
		err = atomicfile.Write(p.readsPath(), append(text, '\n'), 0o644)
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "publisher: which payloads were read can't be written down")
	}
	return nil
}

// turn gives the payloads to be read, in order: first files that have changed
// since they were read, then those that never were, then the longest unread.
func turn(files map[string]fs.FileInfo, reads, known map[string]read, now time.Time, all bool) []string {
	var out []string
	for hash := range files {
		if all || now.Sub(reads[hash].At).Abs() >= patrolRound {
			out = append(out, hash)
		}
	}
	changed := func(hash string) int {
		if _, same := reads[hash]; same || known[hash] == (read{}) {
			return 1
		}
		return 0
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(changed(a)-changed(b), reads[a].At.Compare(reads[b].At), cmp.Compare(a, b))
	})
	return out
}

// payloadFiles lists the payload store.
func (p *Publisher) payloadFiles() (map[string]fs.FileInfo, error) {
	out := map[string]fs.FileInfo{}
	err := filepath.WalkDir(filepath.Join(p.cfg.Repository, filepath.FromSlash(repo.PayloadsDir)), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || repo.CheckHash(d.Name()) != nil {
			return err
		}
		out[d.Name()], err = d.Info()
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, fault.Unavailable, "publisher: the payload store can't be listed")
	}
	return out, nil
}

// whole reads a payload and sets it aside if it is damaged.
func (p *Publisher) whole(ctx context.Context, hash string, now time.Time) (bool, error) {
	looked, whole, err := p.repo.CheckPayload(ctx, hash)
	if err != nil || whole {
		return whole, err
	}
	p.log.Error("a payload is damaged on the repository's disk and is set aside; look at the disk", "payload", hash)
	p.filing.Lock()
	defer p.filing.Unlock()
	return false, p.repo.SetAside(hash, looked, now)
}

// holds says that the store has the payload, whole. One that is damaged is set
// aside.
func (p *Publisher) holds(ctx context.Context, hash string) (bool, error) {
	whole, err := p.whole(ctx, hash, p.now())
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return whole, err
}
