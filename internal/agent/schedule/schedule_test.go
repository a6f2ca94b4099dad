package schedule

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
)

func TestCheckInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int().Draw(t, "seconds")
		d := CheckIn(n)
		if d < MinCheckIn || d > MaxCheckIn+MaxCheckIn/10 {
			t.Fatalf("%d s gives %v", n, d)
		}
		want := min(max(time.Duration(min(n, 1<<30))*time.Second, MinCheckIn), MaxCheckIn)
		if n > 0 && (d < want || d > want+want/10) {
			t.Fatalf("%d s gives %v", n, d)
		}
	})
	for _, n := range []int{0, -1, math.MinInt} {
		if d := CheckIn(n); d < DefaultCheckIn || d > DefaultCheckIn+DefaultCheckIn/10 {
			t.Errorf("%d gives %v", n, d)
		}
	}
}

func TestBackoff(t *testing.T) {
	var b Backoff
	most := firstPause
	for i := range 20 {
		d := b.Next()
		if d < most/2 || d > most {
			t.Errorf("pause %d is %v, want %v to %v", i, d, most/2, most)
		}
		most = min(most*2, longestPause)
	}
	b.Reset()
	if d := b.Next(); d > firstPause {
		t.Errorf("after a success it waits %v", d)
	}
}

func TestMayReboot(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ago := func(h float64) time.Time { return now.Add(-time.Duration(h * float64(time.Hour))) }
	for name, tc := range map[string]struct {
		before []time.Time
		limit  int
		may    bool
	}{
		"never":        {nil, 0, true},
		"twice":        {[]time.Time{ago(1), ago(2)}, 0, true},
		"three times":  {[]time.Time{ago(1), ago(2), ago(23.9)}, 0, false},
		"long ago":     {[]time.Time{ago(25), ago(26), ago(24)}, 0, true},
		"clock back":   {[]time.Time{ago(-1), ago(-2), ago(-3)}, 0, false},
		"own limit":    {[]time.Time{ago(1)}, 1, false},
		"higher limit": {[]time.Time{ago(1), ago(1), ago(1)}, 5, true},
	} {
		if err := MayReboot(tc.before, now, tc.limit); (err == nil) != tc.may || (err != nil && !fault.Is(err, fault.Denied)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWindowOpen(t *testing.T) {
	now := time.Now()
	for until, open := range map[time.Time]bool{{}: true, now.Add(1): true, now: false, now.Add(-1): false} {
		if err := WindowOpen(until, now); (err == nil) != open {
			t.Errorf("until %v: %v", until, err)
		}
	}
}
