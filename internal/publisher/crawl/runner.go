package crawl

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
)

// stateFile keeps fingerprints and health between runs.
const stateFile = "sources.json"

// parallel is how many sources are fetched at a time. They are of different
// vendors, so that it burdens nobody; each is polite by itself.
const parallel = 6

// Health is how a source fares.
type Health struct {
	Source string `json:"source"`
	// LastAttempt, LastSuccess and LastChange are when it was asked, when it
	// last answered well, and when it last had something new.
	LastAttempt time.Time `json:"last_attempt,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastChange  time.Time `json:"last_change,omitzero"`
	// LastError says in words why the last attempt failed; empty when it did
	// not. Hint says what to do about it.
	LastError string `json:"last_error,omitempty"`
	Hint      string `json:"hint,omitempty"`
	// Failures counts the attempts that failed in a row.
	Failures int `json:"failures,omitempty"`
	// Counts is what its last good output held.
	Counts Counts   `json:"counts"`
	Notes  []string `json:"notes,omitempty"`
	// Took is the length of the last attempt.
	Took time.Duration `json:"took_ns,omitempty"`
	// Rejected are packages that were left out, at most 100 of them.
	Rejected []Rejection `json:"rejected,omitempty"`
}

// Counts says how much a source gave.
type Counts struct {
	Archives        int `json:"archives,omitempty"`
	Patches         int `json:"patches,omitempty"`
	Advisories      int `json:"advisories,omitempty"`
	Vulnerabilities int `json:"vulnerabilities,omitempty"`
	Fixes           int `json:"fixes,omitempty"`
	Rejected        int `json:"rejected,omitempty"`
	Entries         int `json:"entries,omitempty"` // of a risk feed
}

// OK says that the last attempt was good.
func (h Health) OK() bool { return h.LastError == "" && !h.LastSuccess.IsZero() }

// Age is the time since the source last answered well; a negative duration
// means never.
func (h Health) Age(now time.Time) time.Duration {
	if h.LastSuccess.IsZero() {
		return -1
	}
	return now.Sub(h.LastSuccess)
}

// Note is the sentence for the catalog's header: empty when all is well. It
// stays the same while the source keeps failing in the same way.
func (h Health) Note() string {
	switch {
	case h.LastError == "":
		return ""
	case h.LastSuccess.IsZero():
		return h.Source + ": nothing could be fetched so far: " + h.LastError
	}
	return h.Source + ": stands as of " + h.LastSuccess.UTC().Format(time.RFC3339) + "; it could not be refreshed since: " + h.LastError
}

// Result is one source's part of a run.
type Result struct {
	Health Health
	// Output is the new output, or the previous one when the source failed;
	// empty when there never was one.
	Output  Output
	Changed bool
}

// Progress is told what is going on, from several goroutines one at a time.
type Progress func(source, doing string)

// Runner runs sources and remembers how they fare. It is not safe for
// concurrent use.
type Runner struct {
	dir     string
	sources []Source
	state   map[string]*remembered
}

// remembered is what the state file holds of one source.
type remembered struct {
	Fingerprint json.RawMessage `json:"fingerprint,omitempty"`
	Health      Health          `json:"health"`
}

var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// NewRunner prepares dir, where each source gets a folder, and loads what is
// remembered there. A damaged state file means that everything is fetched
// anew; two sources of one name give fault.Invalid.
func NewRunner(dir string, sources []Source) (*Runner, error) {
	r := &Runner{dir: dir, sources: sources, state: map[string]*remembered{}}
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err == nil && json.Unmarshal(data, &r.state) != nil {
		r.state = map[string]*remembered{} // nothing is lost but time
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, fault.Unavailable, "crawl: can't read what the sources remember")
	}
	seen := map[string]bool{}
	for _, s := range sources {
		if !sourceName.MatchString(s.Name()) || seen[s.Name()] {
			return nil, fault.New(fault.Invalid, "crawl: the source name %q is not usable or occurs twice", s.Name())
		}
		seen[s.Name()] = true
		if r.state[s.Name()] == nil {
			r.state[s.Name()] = &remembered{}
		}
		if err := os.MkdirAll(filepath.Join(r.Dir(s.Name()), blobDir), 0o755); err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "crawl: can't make the folder of source %s", s.Name())
		}
	}
	return r, nil
}

// Dir is the folder of the named source.
func (r *Runner) Dir(source string) string { return filepath.Join(r.dir, source) }

// Health returns the health of every source, in their order.
func (r *Runner) Health() []Health {
	out := make([]Health, 0, len(r.sources))
	for _, s := range r.sources {
		h := r.state[s.Name()].Health
		h.Source = s.Name()
		out = append(out, h)
	}
	return out
}

// Run fetches and parses every source and returns their results in the order
// of the sources. The error is nil unless ctx ended or the state can't be
// saved; failures of sources stand in their health.
func (r *Runner) Run(ctx context.Context, now time.Time, progress Progress) ([]Result, error) {
	return r.Only(ctx, now, progress, func(Source) bool { return true })
}

// Only is Run of those sources that are wanted.
func (r *Runner) Only(ctx context.Context, now time.Time, progress Progress, wanted func(Source) bool) ([]Result, error) {
	sources := slices.DeleteFunc(slices.Clone(r.sources), func(s Source) bool { return !wanted(s) })
	var mu sync.Mutex
	say := func(source, doing string) {
		if progress != nil {
			mu.Lock()
			defer mu.Unlock()
			progress(source, doing)
		}
	}
	results := make([]Result, len(sources))
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, s := range sources {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] = r.one(ctx, s, now, say)
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(err, fault.Cancelled, "crawl: stopped")
	}
	if err := r.save(); err != nil {
		return nil, err
	}
	return results, r.sweep()
}

// one runs one source. Nothing it does can fail the run.
func (r *Runner) one(ctx context.Context, s Source, now time.Time, say Progress) Result {
	mem := r.state[s.Name()]
	start := time.Now()
	say(s.Name(), "looking for news")
	out, changed, err := r.refresh(ctx, s, mem, say)
	h := &mem.Health
	h.Source, h.LastAttempt, h.Took = s.Name(), now, time.Since(start)
	if err != nil {
		h.LastError, h.Hint = fault.Public(err), fault.HintOf(err)
		h.Failures++
		say(s.Name(), "failed: "+h.LastError)
		return Result{Health: *h, Output: out}
	}
	h.LastSuccess, h.LastError, h.Hint, h.Failures = now, "", "", 0
	if changed {
		h.LastChange = now
	}
	h.Notes = out.Notes
	h.Counts = Counts{
		Archives: len(out.Archives), Patches: len(out.Patches), Advisories: len(out.Advisories),
		Vulnerabilities: len(out.Vulnerabilities), Fixes: len(out.Fixes), Rejected: len(out.Rejected),
		Entries: out.Entries,
	}
	h.Rejected = out.Rejected[:min(len(out.Rejected), 100)]
	return Result{Health: *h, Output: out, Changed: changed}
}

// longest is how long one source may fetch: the others are not published before,
// and the catalog's signatures last two days.
const longest = 24 * time.Hour

func fetchFrom(ctx context.Context, s Source, dir string, prev Fingerprint) (Fetched, error) {
	bounded, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	got, err := s.Fetch(bounded, dir, prev)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return got, fault.Wrap(err, fault.Unavailable, "crawl: %s did not come to an end within %s", s.Name(), longest)
	}
	return got, err
}

// refresh fetches and parses. When either fails it gives the previous output
// with the error.
func (r *Runner) refresh(ctx context.Context, s Source, mem *remembered, say Progress) (Output, bool, error) {
	dir, prev := r.Dir(s.Name()), Fingerprint(mem.Fingerprint)
	got, err := fetchFrom(ctx, s, dir, prev)
	if err == nil {
		say(s.Name(), "reading")
		var out Output
		if out, err = s.Parse(ctx, dir, got.Fingerprint); err == nil {
			out.Dir = dir
			out.Notes = append(slices.Clone(got.Notes), out.Notes...)
			mem.Fingerprint = json.RawMessage(got.Fingerprint)
			return out, got.Changed, nil
		}
	}
	if prev == nil || ctx.Err() != nil {
		return Output{Dir: dir}, false, err
	}
	old, parseErr := s.Parse(ctx, dir, prev)
	if parseErr != nil {
		mem.Fingerprint = nil // damaged on disk: the next run fetches all of it
		return Output{Dir: dir}, false, errors.Join(err, parseErr)
	}
	old.Dir = dir
	return old, false, err
}

func (r *Runner) save() error {
	data, err := json.MarshalIndent(r.state, "", " ")
	if err != nil {
		return fault.Wrap(err, fault.Internal, "crawl: the sources' state can't be encoded")
	}
	return atomicfile.Write(filepath.Join(r.dir, stateFile), append(data, '\n'), 0o644)
}

// Forget lets the next run fetch all of a source anew, because the blob in its
// folder is damaged: that goes too.
func (r *Runner) Forget(source, sha256 string) error {
	mem := r.state[source]
	if mem == nil {
		return fault.New(fault.NotFound, "crawl: there is no source %s", source)
	}
	if err := os.Remove(BlobPath(r.Dir(source), sha256)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, fault.Unavailable, "crawl: a damaged blob of source %s can't be removed", source)
	}
	mem.Fingerprint = nil
	return r.save()
}

// sweep removes blobs that no fingerprint needs any more. It runs after the
// state is saved, so that a crash leaves too much and never too little.
func (r *Runner) sweep() error {
	for _, s := range r.sources {
		k, ok := s.(Keeper)
		if !ok {
			continue
		}
		keep := k.Blobs(Fingerprint(r.state[s.Name()].Fingerprint))
		dir := filepath.Join(r.Dir(s.Name()), blobDir)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, "crawl: can't list the folder of source %s", s.Name())
		}
		for _, e := range entries {
			if slices.Contains(keep, e.Name()) || growing(e) {
				continue
			}
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fault.Wrap(err, fault.Unavailable, "crawl: can't remove an old file of source %s", s.Name())
			}
		}
	}
	return nil
}

// growing says that a file is still on its way in, or was cut off so lately
// that the next run may go on with it.
func growing(e fs.DirEntry) bool {
	if !strings.HasPrefix(e.Name(), ".") {
		return false
	}
	info, err := e.Info()
	return err != nil || time.Since(info.ModTime()) < 48*time.Hour
}
