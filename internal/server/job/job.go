// Package job runs durable background work: a job stands in the database
// before it starts and until it has ended, so that a crash or kill -9 in the
// middle means that it is run again. Handlers must bear being run twice.
//
// A worker holds a job by a lease that it renews while the handler runs; a
// dead worker's lease ends within a minute and the job goes to another. A job
// that fails is tried again after a pause that doubles. Of jobs with the same
// kind and key at most one is waiting or running.
package job

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	mrand "math/rand/v2"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Queue is the part of the store that jobs wait in. See package store for
// what its methods promise.
type Queue interface {
	EnqueueJob(ctx context.Context, kind, key string, args []byte, due, now time.Time) (added bool, err error)
	NextJob(ctx context.Context, kinds []string) (at time.Time, ok bool, err error)
	ReleaseJobs(ctx context.Context) (int64, error)
	PruneJobs(ctx context.Context, before time.Time) (int64, error)
	HurryJobs(ctx context.Context, kind string, now time.Time) (int64, error)
}

// Bench is the part of the store that a worker takes jobs from.
type Bench interface {
	ClaimJob(ctx context.Context, worker string, kinds []string, now, lease time.Time) (id, kind string, args []byte, attempt int, ok bool, err error)
	RenewJob(ctx context.Context, id, worker string, lease time.Time) (bool, error)
	EndJob(ctx context.Context, id, worker, problem string, now time.Time) error
	RetryJob(ctx context.Context, id, worker, problem string, due time.Time) error
}

// Store is where jobs live.
type Store interface {
	Queue
	Bench
}

// Handler does the work of one kind of job. Its context ends when the server
// stops or the lease is lost. An error is tried again unless its code is
// fault.Invalid or fault.Unsupported, which no repetition heals.
type Handler func(ctx context.Context, args json.RawMessage) error

// The clockwork of jobs.
const (
	lease    = time.Minute
	renew    = 15 * time.Second
	rest     = 5 * time.Second // after the store failed
	attempts = 20              // about a day with the longest pauses
	keep     = 7 * 24 * time.Hour
	firstGap = time.Second
	maxPause = 2 * time.Hour

	lookAtClock = time.Minute // and at the store, when nothing is due before
)

// periodicKey is the key of jobs that Every keeps.
const periodicKey = "every"

// Runner takes jobs from a store and runs them.
type Runner struct {
	store   Store
	log     *slog.Logger
	workers int
	name    string // of this process, in claims
	kick    chan struct{}

	mu       sync.RWMutex
	handlers map[string]Handler
	every    map[string]time.Duration
	longest  map[string]time.Duration
}

// New returns a runner that works on up to the given number of jobs at a time.
func New(s Store, workers int, log *slog.Logger) *Runner {
	return &Runner{
		store: s, log: log, workers: max(workers, 1), name: rand.Text(), kick: make(chan struct{}, 1),
		handlers: map[string]Handler{}, every: map[string]time.Duration{}, longest: map[string]time.Duration{},
	}
}

// Register says who does a kind of job. It is called before Run.
func (r *Runner) Register(kind string, h Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handlers[kind] = h
}

// Every has a registered kind run when it never ran before, and then again each
// interval after it ended, well or not, on one of all servers that share the
// store. It is called before Run.
func (r *Runner) Every(interval time.Duration, kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.every[kind] = interval
}

// Impatient bounds the pause between two attempts of a kind whose failures pass
// by themselves, such as a network that is away. It is called before Run.
func (r *Runner) Impatient(kind string, longest time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.longest[kind] = longest
}

// Hurry ends the pauses of a kind: what kept its jobs from their work has
// passed.
func (r *Runner) Hurry(ctx context.Context, kind string) error {
	n, err := r.store.HurryJobs(ctx, kind, time.Now())
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "job: hurry %s", kind)
	}
	if n > 0 {
		r.nudge()
	}
	return nil
}

// Enqueue adds a job that is due at the given time (zero: now), within hours, and
// reports whether it did: a job with the same kind and key that has not ended is left
// alone. An empty key is never the same.
func (r *Runner) Enqueue(ctx context.Context, kind, key string, args any, at time.Time) (bool, error) {
	body, err := json.Marshal(args)
	if err != nil {
		return false, fault.Wrap(err, fault.Internal, "job: arguments of %s can't be encoded", kind)
	}
	now := time.Now()
	if at.IsZero() {
		at = now
	}
	added, err := r.store.EnqueueJob(ctx, kind, key, body, at, now)
	if err != nil {
		return false, fault.Wrap(err, fault.CodeOf(err), "job: enqueue %s", kind)
	}
	r.nudge()
	return added, nil
}

func (r *Runner) nudge() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Release gives back the jobs that a killed process of this server had in its
// hands, so that they need not wait for their leases to end. It is called once
// at the start of the server, before Run: one server works with a store.
func (r *Runner) Release(ctx context.Context) error {
	n, err := r.store.ReleaseJobs(ctx)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "job: jobs of a killed process can't be released")
	}
	if n > 0 {
		r.log.Warn("jobs of a killed process are run again", "jobs", n)
	}
	return nil
}

// Run works until the context ends, then waits for the handlers, whose
// contexts have ended too; what they leave unfinished is run again after the
// next start.
func (r *Runner) Run(ctx context.Context) {
	r.mu.RLock()
	kinds := make([]string, 0, len(r.handlers))
	for k := range r.handlers {
		kinds = append(kinds, k)
	}
	r.mu.RUnlock()
	var wg sync.WaitGroup
	slots := make(chan struct{}, r.workers)
	r.ensurePeriodic(ctx)
	var looked time.Time
	for ctx.Err() == nil {
		if now := time.Now(); now.Sub(looked).Abs() >= lookAtClock {
			looked = now
			r.mendPauses(ctx, kinds, now)
		}
		slots <- struct{}{}
		c, ok, err := r.claim(ctx, kinds)
		if ok {
			wg.Go(func() {
				defer r.nudge()
				defer func() { <-slots }()
				r.do(ctx, c)
			})
			continue
		}
		<-slots
		if err != nil { // a full disk stays full for a while
			sleep(ctx, rest)
			continue
		}
		r.wait(ctx, kinds)
	}
	wg.Wait()
}

// ensurePeriodic enqueues what Every asked for, where it does not wait yet.
func (r *Runner) ensurePeriodic(ctx context.Context) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for kind, interval := range r.every {
		if interval <= 0 {
			continue
		}
		now := time.Now()
		if _, err := r.store.EnqueueJob(ctx, kind, periodicKey, []byte("null"), now, now); err != nil && ctx.Err() == nil {
			r.log.Error("a periodic job could not be enqueued", "kind", kind, "error", err)
		}
	}
}

// mendPauses ends pauses that are longer than any that this runner makes: the
// clock was ahead when they began and has been set right since.
func (r *Runner) mendPauses(ctx context.Context, kinds []string, now time.Time) {
	for _, kind := range kinds {
		at, ok, err := r.store.NextJob(ctx, []string{kind})
		if err != nil || !ok || at.Sub(now) <= r.longestPause(kind) {
			continue
		}
		r.log.Warn("a job waits longer than it can; was the clock ahead?", "kind", kind, "due", at)
		if err := r.Hurry(ctx, kind); err != nil && ctx.Err() == nil {
			r.log.Error("a job could not be hurried", "kind", kind, "error", err)
		}
	}
}

// longestPause bounds how long a job of the kind waits.
func (r *Runner) longestPause(kind string) time.Duration {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return max(r.every[kind], r.longest[kind], maxPause)*5/4 + lease
}

// wait sleeps until a job falls due, one is enqueued, or the clock is to be
// looked at.
func (r *Runner) wait(ctx context.Context, kinds []string) {
	pause := lookAtClock
	if at, ok, err := r.store.NextJob(ctx, kinds); err == nil && ok {
		pause = min(max(time.Until(at), 10*time.Millisecond), lookAtClock)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-r.kick:
	case <-timer.C:
	}
}

// sleep waits for the time, whatever is enqueued meanwhile.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// claimed is a job in this process's hands.
type claimed struct {
	id, kind string
	args     json.RawMessage
	attempt  int
}

func (r *Runner) claim(ctx context.Context, kinds []string) (claimed, bool, error) {
	now := time.Now()
	id, kind, args, attempt, ok, err := r.store.ClaimJob(ctx, r.name, kinds, now, now.Add(lease))
	if err != nil {
		if ctx.Err() == nil {
			r.log.Error("no job could be claimed", "error", err)
		}
		return claimed{}, false, err
	}
	return claimed{id: id, kind: kind, args: args, attempt: attempt}, ok, nil
}

// do runs a job and writes down how it ended.
func (r *Runner) do(ctx context.Context, c claimed) {
	r.mu.RLock()
	h, interval := r.handlers[c.kind], r.every[c.kind]
	r.mu.RUnlock()
	work, stop := context.WithCancel(ctx)
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		r.hold(work, stop, c)
	}()
	err := call(work, h, c.args)
	stop()
	<-lost
	// The outcome is kept even when the server is stopping.
	end, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	if ctx.Err() != nil && err != nil {
		err = r.store.RetryJob(end, c.id, r.name, "the server stopped", time.Now())
	} else {
		err = r.finish(end, c, err, interval)
	}
	if err != nil {
		r.log.Error("the end of a job could not be kept; it will be run again", "kind", c.kind, "job", c.id, "error", err)
	}
}

func (r *Runner) finish(ctx context.Context, c claimed, err error, interval time.Duration) error {
	now := time.Now()
	problem := ""
	if err != nil {
		problem = err.Error()
		if !hopeless(err) && c.attempt < attempts && interval == 0 {
			pause := r.pauseAfter(c.kind, c.attempt)
			r.log.Warn("a job failed and will be tried again", "kind", c.kind, "job", c.id, "attempt", c.attempt, "pause", pause, "error", err)
			return r.store.RetryJob(ctx, c.id, r.name, problem, now.Add(pause))
		}
		r.log.Error("a job failed", "kind", c.kind, "job", c.id, "attempt", c.attempt, "error", err)
	}
	if interval > 0 { // the same job comes again, so that there is never a second one
		return r.store.RetryJob(ctx, c.id, r.name, problem, now.Add(interval))
	}
	if err := r.store.EndJob(ctx, c.id, r.name, problem, now); err != nil {
		return err
	}
	_, err = r.store.PruneJobs(ctx, now.Add(-keep))
	return err
}

func hopeless(err error) bool {
	return fault.Is(err, fault.Invalid) || fault.Is(err, fault.Unsupported)
}

// pauseAfter doubles from a second to two hours, or to what Impatient says,
// spread by a fifth so that jobs that failed together do not come back
// together.
func (r *Runner) pauseAfter(kind string, attempt int) time.Duration {
	r.mu.RLock()
	longest, bounded := r.longest[kind]
	r.mu.RUnlock()
	if !bounded {
		longest = maxPause
	}
	pause := longest
	if attempt < 14 {
		pause = min(firstGap<<(attempt-1), longest)
	}
	return pause + time.Duration(mrand.Int64N(int64(pause)/5+1))
}

// hold renews the lease until the work ends, and ends the work when the lease
// is lost.
func (r *Runner) hold(ctx context.Context, stop context.CancelFunc, c claimed) {
	ticker := time.NewTicker(renew)
	defer ticker.Stop()
	held := time.Now().Add(lease)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		until := time.Now().Add(lease)
		mine, err := r.store.RenewJob(ctx, c.id, r.name, until)
		if err == nil && mine {
			held = until
			continue
		}
		if ctx.Err() == nil && (err == nil || time.Now().After(held)) {
			r.log.Error("a job's lease is lost; its work is stopped", "kind", c.kind, "job", c.id, "error", err)
			stop()
			return
		}
	}
}

// call turns a panic of a handler into an error: one bad job must not take the
// server down.
func call(ctx context.Context, h Handler, args json.RawMessage) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "job: the handler panicked: %v", p)
		}
	}()
	return h(ctx, args)
}
