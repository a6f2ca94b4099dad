package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
)

// Bounds of what failed guesses leave in the log.
const (
	guessWindow  = time.Hour   // one entry of each object in it
	guessRetry   = time.Minute // when the store did not take one
	maxAddresses = 256         // that are told apart in one entry
	lastWords    = 5 * time.Second
)

// guesses counts what strangers tried and did not get: wrong passwords, tokens
// and keys. Anybody can make as many as he likes from as many addresses as he
// has, and what is written stays for ever; so the first is written at once and
// all that follow it within an hour in one entry that says how many there were.
// Nothing else waits for them: they are written by Run.
type guesses struct {
	mu   sync.Mutex
	all  map[guessed]*tally
	kick chan struct{} // holds one
}

// guessed is what was guessed at: the action that failed and its object.
type guessed struct{ action, object string }

// tally is what was not written yet.
type tally struct {
	n         int64
	addresses map[string]bool
	first     attempt
	last      attempt
	due       time.Time // when it is written, or forgotten if there is nothing
}

type attempt struct {
	at   time.Time
	from string
}

func (a attempt) String() string {
	return a.at.UTC().Format(time.RFC3339) + " from " + a.from
}

// detail is the text of the entry.
func (t *tally) detail() string {
	if t.n == 1 {
		return "1 wrong guess, " + t.first.String()
	}
	many := fmt.Sprintf("%d addresses", len(t.addresses))
	switch len(t.addresses) {
	case 1:
		many = "1 address"
	case maxAddresses:
		many = fmt.Sprintf("%d addresses or more", maxAddresses)
	}
	return fmt.Sprintf("%d wrong guesses from %s, the first %s, the last %s", t.n, many, t.first, t.last)
}

// Guess counts a failed guess at the object for the server's chain; Run writes
// it. It returns at once whatever the store does. Objects must be few: accounts
// that exist, not names that somebody made up.
func (l *Log) Guess(action, object, address string) {
	g := &l.guesses
	one := attempt{l.now(), short(address)}
	g.mu.Lock()
	defer g.mu.Unlock()
	key := guessed{short(action), short(object)}
	t := g.all[key]
	if t == nil {
		t = &tally{due: one.at}
		g.all[key] = t
		select {
		case g.kick <- struct{}{}:
		default: // Run was told already
		}
	}
	t.add(&tally{n: 1, addresses: map[string]bool{one.from: true}, first: one, last: one})
}

// add counts what other counts, which may have come before or after.
func (t *tally) add(other *tally) {
	if t.n == 0 {
		t.first, t.last, t.addresses = other.first, other.last, map[string]bool{}
	}
	t.n += other.n
	if other.first.at.Before(t.first.at) {
		t.first = other.first
	}
	if !other.last.at.Before(t.last.at) {
		t.last = other.last
	}
	for from := range other.addresses {
		if len(t.addresses) < maxAddresses {
			t.addresses[from] = true
		}
	}
}

// take returns the tallies that are due, and begins their next window; all of
// them at the end.
func (g *guesses) take(now time.Time, end bool) map[guessed]*tally {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[guessed]*tally{}
	for key, t := range g.all {
		switch {
		case !end && t.due.After(now):
		case t.n == 0:
			delete(g.all, key)
		default:
			out[key] = t
			g.all[key] = &tally{due: now.Add(guessWindow)}
		}
	}
	return out
}

// back counts what could not be written again, so that it is tried soon.
func (g *guesses) back(key guessed, t *tally, due time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all[key] == nil {
		g.all[key] = &tally{}
	}
	g.all[key].add(t)
	g.all[key].due = due
}

// WriteGuesses writes what is due of the failed guesses, everything with end
// set. What the store does not take is counted on.
func (l *Log) WriteGuesses(ctx context.Context, end bool) error {
	now := l.now()
	taken := l.guesses.take(now, end)
	var all error
	byTime := func(a, b guessed) int { return taken[a].first.at.Compare(taken[b].first.at) }
	for _, key := range slices.SortedFunc(maps.Keys(taken), func(a, b guessed) int {
		return cmp.Or(byTime(a, b), cmp.Compare(a.action, b.action), cmp.Compare(a.object, b.object))
	}) {
		stranger := estate.Actor{Kind: "stranger", Name: "somebody"}
		if err := l.Append(ctx, "", stranger, key.action, key.object, taken[key].detail()); err != nil {
			l.guesses.back(key, taken[key], now.Add(guessRetry))
			all = errors.Join(all, err)
		}
	}
	return all
}

// Run writes failed guesses until the context ends, and then what was counted
// until then. A server that is killed loses what it counted within the hour.
func (l *Log) Run(ctx context.Context, log *slog.Logger) {
	again := time.NewTicker(guessRetry)
	defer again.Stop()
	for ctx.Err() == nil {
		if err := l.WriteGuesses(ctx, false); err != nil && ctx.Err() == nil {
			log.Error("failed guesses can't be written to the audit log yet", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-again.C:
		case <-l.guesses.kick:
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := l.WriteGuesses(ctx, true); err != nil {
		log.Error("failed guesses are lost to the audit log", "error", err)
	}
}
