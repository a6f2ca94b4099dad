package auth

import (
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Bounds of guessing. A name gets freeTries wrong passwords for nothing, an
// address freeAddress; then each one doubles the pause, up to longestPause.
const (
	freeTries    = 5
	freeAddress  = 20
	firstPause   = time.Second
	longestPause = 15 * time.Minute
	forgetAfter  = time.Hour
	maxWatched   = 100_000
)

// throttle slows guessing down by name and by address.
type throttle struct {
	now func() time.Time

	mu    sync.Mutex
	tries map[string]*tries
	swept time.Time // when forget looked through all of them
}

type tries struct {
	wrong int
	last  time.Time
	until time.Time
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, tries: map[string]*tries{}}
}

// begin counts a try as wrong before it is made, so that many at once count as
// many, and refuses (Exhausted) one that comes too early.
func (t *throttle) begin(address, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.forget(now)
	for _, key := range []string{"n " + name, "a " + address} {
		if one := t.tries[key]; one != nil && one.until.After(now) {
			wait := one.until.Sub(now).Round(time.Second)
			return fault.New(fault.Exhausted, "too many wrong sign-ins").WithHint("wait %s and try again", max(wait, time.Second))
		}
	}
	t.count("n "+name, freeTries, now)
	t.count("a "+address, freeAddress, now)
	return nil
}

func (t *throttle) count(key string, free int, now time.Time) {
	one := t.tries[key]
	if one == nil {
		one = &tries{}
		t.tries[key] = one
	}
	one.wrong++
	one.last = now
	if over := one.wrong - free; over >= 0 {
		one.until = now.Add(min(firstPause<<min(over, 20), longestPause))
	}
}

// right takes the try back: it was the right password.
func (t *throttle) right(address, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.tries, "n "+name)
	if one := t.tries["a "+address]; one != nil {
		one.wrong = max(0, one.wrong-1)
		one.until = time.Time{}
	}
}

// forget drops what is old, now and then; when too much is watched, all that is
// not paused.
func (t *throttle) forget(now time.Time) {
	pause, tooMany := time.Minute, len(t.tries) > maxWatched
	if tooMany {
		pause = time.Second
	}
	if since := now.Sub(t.swept); len(t.tries) < 1000 || since >= 0 && since < pause {
		return
	}
	t.swept = now
	for key, one := range t.tries {
		if now.Sub(one.last) > forgetAfter || tooMany && !one.until.After(now) {
			delete(t.tries, key)
		}
	}
}
