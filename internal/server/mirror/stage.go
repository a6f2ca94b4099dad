package mirror

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/client"
)

// PayloadSource offers payloads. It is not trusted: size and hash of what it
// gives are checked.
type PayloadSource interface {
	// Name says in messages who was asked.
	Name() string
	// Open gives the payload's bytes from the offset on. It returns
	// fault.NotFound for one that it does not have and fault.Unsupported when
	// it can't start at an offset above 0.
	Open(ctx context.Context, p patch.Payload, offset int64) (io.ReadCloser, error)
}

// SourceFunc is a source made of a function: in the all-in-one program the
// wing's root hands in one that asks the publisher.
type SourceFunc struct {
	Called string
	Get    func(ctx context.Context, p patch.Payload, offset int64) (io.ReadCloser, error)
}

// Name implements PayloadSource.
func (s SourceFunc) Name() string { return s.Called }

// Open implements PayloadSource.
func (s SourceFunc) Open(ctx context.Context, p patch.Payload, offset int64) (io.ReadCloser, error) {
	return s.Get(ctx, p, offset)
}

// repositorySource finds payloads beside the metadata.
type repositorySource struct{ transport client.Transport }

func (s repositorySource) Name() string { return "the repository" }

func (s repositorySource) Open(ctx context.Context, p patch.Payload, offset int64) (io.ReadCloser, error) {
	path, err := repo.PayloadPath(p.SHA256)
	if err != nil {
		return nil, err
	}
	if offset == 0 {
		body, _, err := s.transport.Get(ctx, path)
		return body, err
	}
	r, ok := s.transport.(client.Resumer)
	if !ok {
		return nil, fault.New(fault.Unsupported, "mirror: the repository can't continue a file")
	}
	body, _, err := r.GetFrom(ctx, path, offset)
	return body, err
}

// folder is a repository folder that may come and go.
type folder struct{ path string }

func (f *folder) Get(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	return f.GetFrom(ctx, path, 0)
}

func (f *folder) GetFrom(ctx context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	dir, err := client.OpenDir(f.path)
	if err != nil {
		// Not wrapped: a missing folder is not a missing file.
		what := "can't be opened"
		switch {
		case errors.Is(err, fs.ErrNotExist):
			what = "does not exist"
		case errors.Is(err, fs.ErrPermission):
			what = "may not be read by the server's user"
		}
		return nil, 0, fault.New(fault.Unavailable, "mirror: the repository's folder %s %s", f.path, what).
			WithHint("check its name (repository in the server's settings, or --repository), that it is mounted, and that the server's user may read it")
	}
	body, size, err := dir.GetFrom(ctx, path, offset)
	if err != nil {
		return nil, 0, errors.Join(err, dir.Close())
	}
	return folderFile{body, dir}, size, nil
}

// folderFile closes the folder together with the file.
type folderFile struct {
	io.ReadCloser
	dir *client.Dir
}

func (f folderFile) Close() error { return errors.Join(f.ReadCloser.Close(), f.dir.Close()) }

// Progress says how far a Stage is.
type Progress struct {
	Payloads, PayloadsDone int
	Bytes, BytesDone       int64
}

// stager remembers what is under way and what went wrong last.
type stager struct {
	mu       sync.Mutex
	busy     map[string]chan struct{}
	problems map[string]string
}

func (s *stager) init() {
	s.busy, s.problems = map[string]chan struct{}{}, map[string]string{}
}

// parallel transfers at a time; tries of one source for one payload, each of
// which continues where the one before was cut.
const (
	parallel = 4
	tries    = 4
	stall    = time.Minute // without a byte
)

// Stage brings the payloads that are not here yet into the blob store, each
// once however often it is asked for, verified by size and hash. A transfer
// that is cut goes on from where it ended, also after a restart. A list for
// which the disk has no room is refused before anything is fetched
// (fault.Exhausted). The first payload that can't be had ends it:
// fault.NotFound when no source has it, fault.Untrusted when all that have it
// offer other bytes, fault.Unavailable. progress may be nil; its calls do not
// overlap.
func (m *Mirror) Stage(ctx context.Context, payloads []patch.Payload, progress func(Progress)) error {
	t := tally{report: progress}
	unique := map[string]bool{}
	var work []patch.Payload
	for _, p := range payloads {
		if !unique[p.SHA256] {
			unique[p.SHA256] = true
			work = append(work, p)
			t.p.Payloads++
			t.p.Bytes += p.Size
		}
	}
	if err := m.room(work); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, p := range work {
		g.Go(func() error { return m.stageOne(ctx, p, &t) })
	}
	return g.Wait()
}

// room refuses a list whose missing bytes the disk can't take, and tells so to
// whoever waits for one of them.
func (m *Mirror) room(work []patch.Payload) error {
	var need int64
	for _, p := range work {
		n, err := m.cfg.Blobs.Missing(blob.Key(p.SHA256), p.Size)
		if err != nil {
			return err
		}
		need += n
	}
	if need == 0 {
		return nil
	}
	err := m.cfg.Blobs.Room(need)
	if err == nil {
		return nil
	}
	m.stager.mu.Lock()
	defer m.stager.mu.Unlock()
	for _, p := range work {
		m.stager.problems[p.SHA256] = problem(err)
	}
	return fault.Wrap(err, fault.CodeOf(err), "mirror: %d payloads can't be brought in", len(work))
}

// problem is a fault as the person reads it who wonders why a task waits.
func problem(err error) string {
	text := fault.Public(err)
	if hint := fault.HintOf(err); hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

// tally adds up progress of parallel transfers.
type tally struct {
	mu     sync.Mutex
	p      Progress
	report func(Progress)
}

func (t *tally) add(bytes int64, payloads int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p.BytesDone += bytes
	t.p.PayloadsDone += payloads
	if t.report != nil {
		t.report(t.p)
	}
}

// Staged reports whether every payload is here; problem says why the last
// attempt for one that is not here failed, "" when none was made. Who asks
// wants them: Collect leaves them alone.
func (m *Mirror) Staged(payloads []patch.Payload) (all bool, problem string) {
	all = true
	now := m.cfg.Now()
	for _, p := range payloads {
		has, err := m.cfg.Blobs.Use(blob.Key(p.SHA256), now)
		if err == nil && has {
			continue
		}
		all = false
		m.stager.mu.Lock()
		if text := m.stager.problems[p.SHA256]; text != "" {
			problem = text
		}
		m.stager.mu.Unlock()
	}
	return all, problem
}

func (m *Mirror) stageOne(ctx context.Context, p patch.Payload, t *tally) error {
	key, err := blob.ParseKey(p.SHA256)
	if err != nil {
		return err
	}
	release, err := m.stager.enter(ctx, p.SHA256)
	if err != nil {
		return err
	}
	defer release()
	if has, err := m.cfg.Blobs.Use(key, m.cfg.Now()); err != nil || has {
		if err == nil {
			t.add(p.Size, 1)
		}
		return err
	}
	err = m.fetch(ctx, key, p, t)
	m.stager.mu.Lock()
	defer m.stager.mu.Unlock()
	if err != nil {
		m.stager.problems[p.SHA256] = problem(err)
		return err
	}
	delete(m.stager.problems, p.SHA256)
	return nil
}

// enter waits until nobody else brings the same payload in.
func (s *stager) enter(ctx context.Context, sum string) (release func(), err error) {
	for {
		s.mu.Lock()
		other, busy := s.busy[sum]
		if !busy {
			mine := make(chan struct{})
			s.busy[sum] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.busy, sum)
				s.mu.Unlock()
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, fault.Wrap(ctx.Err(), fault.Cancelled, "mirror: staging was stopped")
		}
	}
}

// fetch asks the sources in order.
func (m *Mirror) fetch(ctx context.Context, key blob.Key, p patch.Payload, t *tally) error {
	var worst error
	for _, src := range m.sources {
		err := m.fetchFrom(ctx, src, key, p, t)
		switch {
		case err == nil:
			t.add(0, 1)
			return nil
		case fault.Is(err, fault.Exhausted) || ctx.Err() != nil:
			return fault.Wrap(err, fault.CodeOf(err), "mirror: payload %s can't be brought in", describePayload(p))
		case worst == nil || fault.Is(worst, fault.NotFound):
			worst = fault.Wrap(err, fault.CodeOf(err), "mirror: payload %s from %s", describePayload(p), src.Name())
		}
	}
	return worst
}

func describePayload(p patch.Payload) string {
	if p.Name != "" {
		return p.Name
	}
	return p.SHA256
}

func (m *Mirror) fetchFrom(ctx context.Context, src PayloadSource, key blob.Key, p patch.Payload, t *tally) error {
	var err error
	for range tries {
		var more bool
		if more, err = m.transfer(ctx, src, key, p, t); err == nil || !more || ctx.Err() != nil {
			break
		}
	}
	return err
}

// transfer makes one attempt. more says that another one may get further: it
// was cut, or what an earlier source left could not be used.
func (m *Mirror) transfer(ctx context.Context, src PayloadSource, key blob.Key, p patch.Payload, t *tally) (more bool, err error) {
	part, err := m.cfg.Blobs.Partial(key, p.Size)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	start := part.Size()
	if start < p.Size {
		if start, err = copyFrom(ctx, src, p, part, t); err != nil {
			return fault.Is(err, fault.Unavailable) && part.Size() > start, err
		}
	}
	err = part.Commit()
	// What an earlier source left behind may have been wrong: once more from
	// the beginning.
	return start > 0 && fault.Is(err, fault.Untrusted), err
}

// partial is what has come of a payload.
type partial interface {
	io.Writer
	Size() int64
	Restart() error
}

// copyFrom appends what the source has beyond the part and returns where it
// began.
func copyFrom(ctx context.Context, src PayloadSource, p patch.Payload, part partial, t *tally) (start int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start = part.Size()
	body, err := src.Open(ctx, p, start)
	if fault.Is(err, fault.Unsupported) && start > 0 {
		if err := part.Restart(); err != nil {
			return 0, err
		}
		start = 0
		body, err = src.Open(ctx, p, 0)
	}
	if err != nil {
		return start, err
	}
	watch := time.AfterFunc(stall, func() { _ = body.Close() }) // frees a read that hangs
	defer watch.Stop()
	stop := context.AfterFunc(ctx, func() { _ = body.Close() }) // frees a read that ignores ctx
	_, err = io.Copy(part, &metered{body, t, watch})
	if stop() {
		_ = body.Close() // only read
	}
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return start, err // the part's: too long, disk full
	}
	if err != nil || part.Size() < p.Size {
		return start, fault.Wrap(err, fault.Unavailable, "mirror: the transfer was cut after %d of %d bytes", part.Size(), p.Size)
	}
	return start, nil
}

// metered counts what passes.
type metered struct {
	io.Reader
	t     *tally
	watch *time.Timer
}

func (m *metered) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	if n > 0 {
		m.t.add(int64(n), 0)
		m.watch.Reset(stall)
	}
	return n, err
}
