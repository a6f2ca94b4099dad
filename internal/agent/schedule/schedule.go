// Package schedule decides when the agent does something: how long it waits
// before it tries again, when it checks in, whether a window is still open,
// and whether it may restart the machine once more. It only computes.
package schedule

import (
	"math/rand/v2"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// The bounds of what a server may ask for.
const (
	MinCheckIn = 10 * time.Second
	MaxCheckIn = 6 * time.Hour
	// DefaultCheckIn is used before a server has said anything.
	DefaultCheckIn = 5 * time.Minute
)

// CheckIn returns the pause before the next check-in: what the server said, in
// seconds, within bounds, and up to a tenth more, so that agents that started
// together do not stay together.
func CheckIn(seconds int) time.Duration {
	d := DefaultCheckIn
	if seconds > 0 {
		// Above a day the multiplication could overflow; the bound is lower.
		d = time.Duration(min(seconds, 86400)) * time.Second
	}
	d = min(max(d, MinCheckIn), MaxCheckIn)
	return d + Spread(d/10)
}

// Spread returns a random duration from 0 up to d.
func Spread(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// Backoff is a growing pause between attempts. The zero Backoff is ready.
type Backoff struct{ tries int }

// The first and the longest pause.
const (
	firstPause   = time.Second
	longestPause = 5 * time.Minute
)

// Next returns the next pause: it doubles up to five minutes, and half of it
// is random, so that a fleet does not return at the same moment.
func (b *Backoff) Next() time.Duration {
	d := longestPause
	if b.tries < 9 { // 1 s doubled 9 times is above the longest
		d = min(firstPause<<b.tries, longestPause)
		b.tries++
	}
	return d/2 + Spread(d/2)
}

// Reset starts again from the shortest pause.
func (b *Backoff) Reset() { b.tries = 0 }

// WindowOpen returns a Cancelled fault when the order's window, which ends at
// until (zero: never), has closed.
func WindowOpen(until, now time.Time) error {
	if until.IsZero() || now.Before(until) {
		return nil
	}
	return fault.New(fault.Cancelled, "the maintenance window closed at %s before the work began", until.UTC().Format(time.RFC3339))
}

// MaxReboots is how often the agent restarts its machine within a day.
const MaxReboots = 3

// MayReboot returns a Denied fault when the machine was restarted by the agent
// limit times (0: MaxReboots) within the day before now.
func MayReboot(before []time.Time, now time.Time, limit int) error {
	if limit <= 0 {
		limit = MaxReboots
	}
	n := 0
	for _, t := range before {
		if age := now.Sub(t); age > -24*time.Hour && age < 24*time.Hour {
			n++
		}
	}
	if n >= limit {
		return fault.New(fault.Denied, "the machine was restarted %d times within a day by its agent; it does not do it again", n).
			WithHint("find out why it has to restart so often; restart it by hand, or wait until a day has passed")
	}
	return nil
}
