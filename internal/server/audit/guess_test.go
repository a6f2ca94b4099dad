package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
)

// moody is a store that takes entries unless it is away.
type moody struct {
	Store
	away *atomic.Bool
}

func (m moody) AppendAudit(ctx context.Context, tenant estate.TenantID, at time.Time, actor, action, object string,
	seal func(seq int64, prev string) ([]byte, string, error),
) error {
	if m.away.Load() {
		return fault.New(fault.Unavailable, "the store is away")
	}
	return m.Store.AppendAudit(ctx, tenant, at, actor, action, object, seal)
}

// quarters runs the test in a bubble, over a real store, with Run; stop ends
// that and gives the server's chain, oldest first, which verifies.
func quarters(t *testing.T, test func(t *testing.T, l *Log, away *atomic.Bool, stop func() []Entry)) {
	file := filepath.Join(t.TempDir(), "fettle.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlite.Open(t.Context(), file)
		must(t, err)
		defer func() { must(t, db.Close()) }()
		var away atomic.Bool
		l := New(func(s estate.Scope) Store { return moody{db.In(s), &away} }, time.Now)
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { l.Run(ctx, slog.New(slog.DiscardHandler)) })
		test(t, l, &away, func() (chain []Entry) {
			cancel()
			running.Wait()
			if _, _, problem, err := l.Verify(t.Context()); problem != "" || err != nil {
				t.Errorf("the chain: %q %v", problem, err)
			}
			must(t, l.walk(t.Context(), "", func(_ int64, _ string, doc []byte) error {
				var e Entry
				must(t, json.Unmarshal(doc, &e))
				chain = append(chain, e)
				return nil
			}))
			return chain
		})
		cancel()
		running.Wait()
	})
}

// count reads how many guesses an entry tells of.
func count(t *testing.T, e Entry) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(e.Detail, "%d wrong guess", &n); err != nil || e.Actor != "somebody" {
		t.Fatalf("%+v is no entry of guesses", e)
	}
	return n
}

// TestTrustRow10GuessesFillNoLog: guesses from very many addresses leave an
// entry an hour for each account, and none is forgotten; what others do
// meanwhile is written at its time.
func TestTrustRow10GuessesFillNoLog(t *testing.T) {
	quarters(t, func(t *testing.T, l *Log, _ *atomic.Bool, stop func() []Entry) {
		const accounts, hours, each = 5, 4, 100
		began := time.Now()
		for minute := range hours * 60 {
			for i := range each {
				who := minute*each + i
				l.Guess("session.create.failed", fmt.Sprint("account", i%accounts), fmt.Sprintf("10.%d.%d.%d", who>>16, who>>8&255, who&255))
			}
			if minute%10 == 5 {
				must(t, l.Append(t.Context(), "", ada(), "users.create", fmt.Sprint(minute), ""))
			}
			time.Sleep(time.Minute)
		}
		guesses, entries, deeds := 0, 0, 0
		for _, e := range stop() {
			if e.Action == "users.create" {
				deeds++
				if at := e.At.Sub(began); fmt.Sprint(int(at.Minutes())) != e.Object {
					t.Errorf("what was done in minute %s stands at %v", e.Object, at)
				}
				continue
			}
			entries++
			guesses += count(t, e)
		}
		if want := hours * 60 * each; guesses != want {
			t.Errorf("%d guesses were made, the log has %d", want, guesses)
		}
		if entries > accounts*(hours+2) || deeds != hours*6 {
			t.Errorf("%d entries of guesses, %d of what was done", entries, deeds)
		}
	})
}

// TestGuesses: the first is told at once and those after it with their first
// and last address; what is quiet for long begins anew.
func TestGuesses(t *testing.T) {
	quarters(t, func(t *testing.T, l *Log, _ *atomic.Bool, stop func() []Entry) {
		wrong := func(from string) { l.Guess("key.use.failed", "API key", from) }
		wrong("192.0.2.1")
		time.Sleep(10 * time.Minute)
		for i := range 3 {
			wrong(fmt.Sprint("192.0.2.", 2+i))
			time.Sleep(10 * time.Minute)
		}
		time.Sleep(24 * time.Hour)
		wrong("192.0.2.9")
		time.Sleep(time.Second)
		for range 1000 {
			wrong("192.0.2.9")
		}
		for i := range 2 * maxAddresses {
			l.Guess("session.create.failed", "ada", fmt.Sprint("2001:db8:0:", i, "::/64"))
		}
		var told []string
		for _, e := range stop() {
			told = append(told, e.At.Format(time.TimeOnly)+" "+e.Action+" "+e.Object+": "+e.Detail)
		}
		for i, want := range []string{
			"00:00:00 key.use.failed API key: 1 wrong guess, 2000-01-01T00:00:00Z from 192.0.2.1",
			"01:00:00 key.use.failed API key: 3 wrong guesses from 3 addresses, the first 2000-01-01T00:10:00Z from 192.0.2.2, the last 2000-01-01T00:30:00Z from 192.0.2.4",
			"00:40:00 key.use.failed API key: 1 wrong guess, 2000-01-02T00:40:00Z from 192.0.2.9",
		} {
			if i >= len(told) || told[i] != want {
				t.Fatalf("entry %d is not %q in %q", i+1, want, told)
			}
		}
		all := strings.Join(told[3:], "\n")
		for _, want := range []string{"1000 wrong guesses from 1 address,", "from 256 addresses or more,"} {
			if !strings.Contains(all, want) {
				t.Errorf("%q is not in %q", want, all)
			}
		}
	})
}

// TestGuessesOutliveTheStore: what the store does not take is counted on.
func TestGuessesOutliveTheStore(t *testing.T) {
	quarters(t, func(t *testing.T, l *Log, away *atomic.Bool, stop func() []Entry) {
		away.Store(true)
		for i := range 90 {
			l.Guess("key.use.failed", "API key", fmt.Sprint("192.0.2.", i))
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		away.Store(false)
		time.Sleep(5 * time.Minute)
		l.Guess("key.use.failed", "API key", "192.0.2.200")
		chain := stop()
		if len(chain) != 2 || count(t, chain[0]) != 90 || count(t, chain[1]) != 1 {
			t.Errorf("%+v", chain)
		}
	})
}
