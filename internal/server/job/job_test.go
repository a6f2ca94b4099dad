package job_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/job"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := sqlite.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// run starts the runner and returns how to stop it.
func run(r *job.Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

// play runs the test in a synctest bubble over a real SQLite file, whose clock
// moves when everybody waits.
func play(t *testing.T, test func(t *testing.T, db *store.DB)) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	synctest.Test(t, func(t *testing.T) {
		db := open(t, path)
		test(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRunsOnceWithArguments(t *testing.T) {
	play(t, func(t *testing.T, db *store.DB) {
		r := job.New(db, 2, quiet)
		got := make(chan string, 10)
		r.Register("greet", func(_ context.Context, args json.RawMessage) error { got <- string(args); return nil })
		stop := run(r)
		defer stop()
		for _, wantAdded := range []bool{true, false} {
			added, err := r.Enqueue(t.Context(), "greet", "ann", map[string]int{"n": 1}, time.Now().Add(10*time.Minute))
			if err != nil || added != wantAdded {
				t.Fatalf("added %v, %v", added, err)
			}
		}
		began := time.Now()
		if args := <-got; args != `{"n":1}` {
			t.Errorf("args %s", args)
		}
		if late := time.Since(began) - 10*time.Minute; late < 0 || late > 10*time.Second {
			t.Errorf("ran %v after it was due", late)
		}
		time.Sleep(10 * time.Minute)
		if len(got) != 0 {
			t.Error("the job ran twice")
		}
	})
}

func TestRetriesWithGrowingPauses(t *testing.T) {
	play(t, func(t *testing.T, db *store.DB) {
		r := job.New(db, 1, quiet)
		var at []time.Time
		done := make(chan struct{})
		r.Register("flaky", func(context.Context, json.RawMessage) error {
			if at = append(at, time.Now()); len(at) < 6 {
				return errors.New("network")
			}
			close(done)
			return nil
		})
		stop := run(r)
		defer stop()
		if _, err := r.Enqueue(t.Context(), "flaky", "", nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		<-done
		for i := 1; i < len(at); i++ {
			gap, want := at[i].Sub(at[i-1]), time.Second<<(i-1)
			if gap < want || gap > want*6/5+time.Second {
				t.Errorf("pause %d is %v, want about %v", i, gap, want)
			}
		}
	})
}

func TestHopelessAndPanickingJobsEnd(t *testing.T) {
	play(t, func(t *testing.T, db *store.DB) {
		r := job.New(db, 1, quiet)
		var invalid, panics atomic.Int64
		r.Register("invalid", func(context.Context, json.RawMessage) error {
			invalid.Add(1)
			return fault.New(fault.Invalid, "no")
		})
		r.Register("panic", func(context.Context, json.RawMessage) error {
			if panics.Add(1) == 1 {
				panic("oops")
			}
			return nil
		})
		stop := run(r)
		defer stop()
		for _, kind := range []string{"invalid", "panic"} {
			if _, err := r.Enqueue(t.Context(), kind, "", nil, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		if invalid.Load() != 1 || panics.Load() != 2 {
			t.Errorf("invalid ran %d times, panic %d times", invalid.Load(), panics.Load())
		}
	})
}

func TestEvery(t *testing.T) {
	play(t, func(t *testing.T, db *store.DB) {
		var n atomic.Int64
		tick := func(context.Context, json.RawMessage) error {
			if n.Add(1) == 2 {
				return errors.New("once in a while it fails") // and comes again at its time
			}
			return nil
		}
		var stops []func()
		for range 2 { // two servers over one store
			r := job.New(db, 1, quiet)
			r.Register("tick", tick)
			r.Every(time.Minute, "tick")
			stops = append(stops, run(r))
		}
		time.Sleep(10*time.Minute + 30*time.Second) // of the bubble's clock
		for _, stop := range stops {
			stop()
		}
		if got := n.Load(); got != 11 {
			t.Errorf("ticked %d times in 10.5 minutes", got)
		}
	})
}

// A long job keeps its lease: no second worker takes it.
func TestLongJobIsNotTakenTwice(t *testing.T) {
	play(t, func(t *testing.T, db *store.DB) {
		var n atomic.Int64
		var stops []func()
		for range 2 {
			r := job.New(db, 1, quiet)
			r.Register("long", func(context.Context, json.RawMessage) error {
				n.Add(1)
				time.Sleep(8 * time.Minute)
				return nil
			})
			stops = append(stops, run(r))
			if _, err := r.Enqueue(t.Context(), "long", "one", nil, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		for _, stop := range stops {
			stop()
		}
		if n.Load() != 1 {
			t.Errorf("ran %d times", n.Load())
		}
	})
}

// The child of TestKilledInMidJob: begins the job and never ends it.
func TestMain(m *testing.M) {
	if path := os.Getenv("FETTLE_JOB_CHILD"); path != "" {
		db, err := sqlite.Open(context.Background(), path)
		if err != nil {
			panic(err)
		}
		r := job.New(db, 1, quiet)
		r.Register("work", func(context.Context, json.RawMessage) error {
			if err := os.WriteFile(path+".begun", nil, 0o600); err != nil {
				panic(err)
			}
			select {}
		})
		r.Run(context.Background())
	}
	os.Exit(m.Run())
}

// kill -9 in the middle of a job: after the restart it is run again at once.
func TestKilledInMidJob(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	db := open(t, path)
	if _, err := job.New(db, 1, quiet).Enqueue(t.Context(), "work", "w", "args", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "FETTLE_JOB_CHILD="+path)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for range 12000 {
		if _, err := os.Stat(path + ".begun"); err == nil {
			break
		}
		<-time.After(10 * time.Millisecond) // another process is at work
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if _, err := os.Stat(path + ".begun"); err != nil {
		t.Fatal("the child never began the job")
	}
	db = open(t, path)
	defer db.Close()
	r := job.New(db, 1, quiet)
	if err := r.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	r.Register("work", func(_ context.Context, args json.RawMessage) error { done <- string(args); return nil })
	defer run(r)()
	select {
	case args := <-done:
		if args != `"args"` {
			t.Errorf("args %s", args)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the killed job was not run again")
	}
}

// A kind whose failures pass by themselves waits no longer than it is told, and
// not at all once somebody knows that they have passed.
func TestImpatient(t *testing.T) {
	play(t, func(t *testing.T, db *store.DB) {
		r := job.New(db, 1, quiet)
		var tries []time.Time
		away := true
		done := make(chan struct{})
		r.Register("stage", func(context.Context, json.RawMessage) error {
			tries = append(tries, time.Now())
			if away {
				return fault.New(fault.Unavailable, "the network is away")
			}
			close(done)
			return nil
		})
		r.Impatient("stage", 5*time.Minute)
		stop := run(r)
		defer stop()
		if _, err := r.Enqueue(t.Context(), "stage", "list", nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(45 * time.Minute)
		synctest.Wait()
		for i := 1; i < len(tries); i++ {
			if gap := tries[i].Sub(tries[i-1]); gap > 6*time.Minute {
				t.Errorf("attempt %d came after %v", i+1, gap)
			}
		}
		if len(tries) < 13 {
			t.Fatalf("%d attempts", len(tries))
		}
		away = false
		at := time.Now()
		if err := r.Hurry(t.Context(), "stage"); err != nil {
			t.Fatal(err)
		}
		<-done
		if wait := time.Since(at); wait > time.Second {
			t.Errorf("it came back after %v", wait)
		}
	})
}

// TestClockWasAhead: a server whose clock was years ahead for a while goes on
// with its periodic work when the clock is set right, and so do retries.
func TestClockWasAhead(t *testing.T) {
	play(t, func(t *testing.T, db *store.DB) {
		later := time.Now().AddDate(10, 0, 0)
		for kind, key := range map[string]string{"sync": "every", "stage": "x"} {
			if added, err := db.EnqueueJob(t.Context(), kind, key, []byte("null"), later, later); !added || err != nil {
				t.Fatal(added, err)
			}
		}
		r := job.New(db, 2, slog.New(slog.DiscardHandler))
		ran := map[string]int{}
		var mu sync.Mutex
		for _, kind := range []string{"sync", "stage"} {
			r.Register(kind, func(context.Context, json.RawMessage) error {
				mu.Lock()
				defer mu.Unlock()
				ran[kind]++
				return nil
			})
		}
		r.Every(time.Hour, "sync")
		stop := run(r)
		time.Sleep(65 * time.Minute)
		stop()
		if ran["sync"] != 2 || ran["stage"] != 1 {
			t.Errorf("ran %v", ran)
		}
	})
}
