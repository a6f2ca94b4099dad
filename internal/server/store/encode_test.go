package store

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
)

// A cursor comes back from people: anything else than ours is refused.
func FuzzParseCursor(f *testing.F) {
	f.Add("", 1)
	f.Add(cursor("acme", "e1"), 2)
	f.Add("!!!", 2)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = 1 + n&3
		keys, err := parseCursor(text, n)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%v", err)
			}
			return
		}
		if len(keys) != n {
			t.Errorf("%d keys of %d", len(keys), n)
		}
	})
}

func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfN(rapid.StringMatching(`[^\x00]{1,20}`), 1, 3).Draw(t, "keys")
		got, err := parseCursor(cursor(keys...), len(keys))
		if err != nil || !slices.Equal(got, keys) {
			t.Fatalf("%q became %q, %v", keys, got, err)
		}
	})
}

func TestMillis(t *testing.T) {
	if millis(time.Time{}) != 0 || !moment(0).IsZero() {
		t.Error("no time is not kept as no time")
	}
	at := time.Date(2026, 11, 21, 12, 0, 0, 123e6, time.FixedZone("x", 3600))
	if got := moment(millis(at)); !got.Equal(at) || got.Location() != time.UTC {
		t.Errorf("%v became %v", at, got)
	}
}

func TestQueryNumbersItsArguments(t *testing.T) {
	q := (&query{}).add("select a where b = ? and c = ?", 1, 2).in("d", []string{"x", "y"}).in("e", nil)
	if got, want := q.text.String(), "select a where b = $1 and c = $2 and d in ($3, $4) and 1 = 0"; got != want || len(q.args) != 4 {
		t.Errorf("%s %v", got, q.args)
	}
}
