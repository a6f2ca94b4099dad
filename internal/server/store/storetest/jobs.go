package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/server/store"
)

func testJobs(t *testing.T, db *store.DB) {
	ctx, kinds := t.Context(), []string{"test.a", "test.b"}
	added, err := db.EnqueueJob(ctx, "test.a", "one", []byte(`{"n":1}`), epoch, epoch)
	must(t, err)
	again, err := db.EnqueueJob(ctx, "test.a", "one", []byte(`{"n":2}`), epoch, epoch)
	must(t, err)
	if !added || again {
		t.Errorf("added %v, again %v", added, again)
	}
	_, _, _, _, ok, err := db.ClaimJob(ctx, "w1", kinds, epoch.Add(-time.Second), epoch)
	must(t, err)
	if ok {
		t.Error("claimed before it was due")
	}
	id, kind, args, attempt, ok, err := db.ClaimJob(ctx, "w1", kinds, epoch, epoch.Add(time.Minute))
	must(t, err)
	if !ok || kind != "test.a" || string(args) != `{"n":1}` || attempt != 1 {
		t.Errorf("claimed %v %s %s %d", ok, kind, args, attempt)
	}
	_, _, _, _, ok, err = db.ClaimJob(ctx, "w2", kinds, epoch.Add(time.Second), epoch.Add(time.Minute))
	must(t, err)
	if ok {
		t.Error("two workers have one job")
	}
	at, ok, err := db.NextJob(ctx, kinds)
	must(t, err)
	if !ok || !at.Equal(epoch.Add(time.Minute)) {
		t.Errorf("next %v %v", at, ok)
	}
	// The worker dies; its lease ends; another takes over.
	late := epoch.Add(2 * time.Minute)
	id2, _, _, attempt, ok, err := db.ClaimJob(ctx, "w2", kinds, late, late.Add(time.Minute))
	must(t, err)
	if !ok || id2 != id || attempt != 2 {
		t.Errorf("rescued %v %s attempt %d", ok, id2, attempt)
	}
	mine, err := db.RenewJob(ctx, id, "w1", late.Add(time.Hour))
	must(t, err)
	if mine {
		t.Error("a dead worker renews")
	}
	must(t, db.EndJob(ctx, id, "w1", "", late)) // not its own: nothing happens
	must(t, db.RetryJob(ctx, id, "w2", "network", late.Add(time.Hour)))
	_, _, _, _, ok, err = db.ClaimJob(ctx, "w2", kinds, late, late)
	must(t, err)
	if ok {
		t.Error("claimed before the retry is due")
	}
	_, _, _, _, ok, err = db.ClaimJob(ctx, "w2", kinds, late.Add(time.Hour), late.Add(2*time.Hour))
	must(t, err)
	must(t, db.EndJob(ctx, id, "w2", "", late.Add(time.Hour)))
	added, err = db.EnqueueJob(ctx, "test.a", "one", nil, late, late)
	must(t, err)
	if !ok || !added {
		t.Errorf("after the end: claimed %v, added %v", ok, added)
	}
	n, err := db.PruneJobs(ctx, late.Add(2*time.Hour))
	must(t, err)
	if n != 1 {
		t.Errorf("%d jobs pruned", n)
	}
	_, err = db.EnqueueJob(ctx, "test.b", "waits", nil, late.Add(time.Hour), late)
	must(t, err)
	for _, want := range []int64{1, 0} {
		if n, err := db.HurryJobs(ctx, "test.b", late); err != nil || n != want {
			t.Errorf("%d jobs are hurried: %v", n, err)
		}
	}
	if at, ok, err := db.NextJob(ctx, []string{"test.b"}); err != nil || !ok || !at.Equal(late) {
		t.Errorf("the hurried one is due at %v, %v", at, err)
	}

	// The server was killed in the middle of a job; the next one need not wait
	// for the lease.
	kinds = []string{"test.killed"}
	_, err = db.EnqueueJob(ctx, "test.killed", "one", nil, late, late)
	must(t, err)
	_, _, _, _, _, err = db.ClaimJob(ctx, "w1", kinds, late, late.Add(time.Hour))
	must(t, err)
	n, err = db.ReleaseJobs(ctx)
	must(t, err)
	_, _, _, attempt, ok, err = db.ClaimJob(ctx, "w2", kinds, late, late.Add(time.Hour))
	must(t, err)
	if n < 1 || !ok || attempt != 2 {
		t.Errorf("%d jobs are released, taken again %v, attempt %d", n, ok, attempt)
	}
}

// Many workers, many jobs: each job is worked on once.
func testJobRace(t *testing.T, db *store.DB) {
	const jobs = 60
	for i := range jobs {
		_, err := db.EnqueueJob(t.Context(), "race.job", fmt.Sprint(i), nil, epoch, epoch)
		must(t, err)
	}
	var mu sync.Mutex
	taken := map[string]int{}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for misses := 0; misses < 20; {
				id, _, _, _, ok, err := db.ClaimJob(context.Background(), fmt.Sprint(w), []string{"race.job"}, epoch, epoch.Add(time.Hour))
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				if !ok { // another worker took the same row
					misses++
					continue
				}
				mu.Lock()
				taken[id]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, n := range taken {
		if n != 1 {
			t.Errorf("job %s taken %d times", id, n)
		}
	}
	if len(taken) != jobs {
		t.Errorf("%d of %d jobs taken", len(taken), jobs)
	}
}
