package window

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
	_ "time/tzdata" // The tests do not depend on the machine's zone files.

	"github.com/google/go-cmp/cmp"
	"github.com/teambition/rrule-go"
	"pgregory.net/rapid"
)

// zones have clock changes of an hour and of half an hour, at midnight, backwards in summer, for Ramadan, by a day, or none.
func zones() []string {
	return []string{
		"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Europe/Dublin", "Africa/Casablanca",
		"Pacific/Apia", "America/St_Johns", "Asia/Kolkata", "UTC",
	}
}

func days() []Day { return []Day{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} }

// drawRule draws a valid rule of any kind.
func drawRule(t *rapid.T) Rule {
	r := Rule{Kind: rapid.SampledFrom([]Kind{Daily, Weekly, Monthly, PatchTuesday}).Draw(t, "kind")}
	if r.Kind == Weekly || r.Kind == Monthly {
		r.Days = rapid.SliceOfNDistinct(rapid.SampledFrom(days()), 1, 3, rapid.ID).Draw(t, "days")
	}
	if r.Kind == Monthly {
		r.Nth = rapid.SampledFrom([]int{1, 2, 3, 4, 5, -1, -2, -5}).Draw(t, "nth")
	}
	if r.Kind == Monthly || r.Kind == PatchTuesday {
		r.Offset = rapid.IntRange(-MaxOffset, MaxOffset).Draw(t, "offset")
	}
	if rapid.Bool().Draw(t, "limited") {
		r.Months = rapid.SliceOfNDistinct(rapid.Map(rapid.IntRange(1, 12), func(m int) time.Month { return time.Month(m) }), 1, 4, rapid.ID).Draw(t, "months")
	}
	return r
}

// drawWindow draws a valid window.
func drawWindow(t *rapid.T) Window {
	minutes := rapid.OneOf(rapid.IntRange(1, 600), rapid.IntRange(1, 28*24*60)).Draw(t, "minutes")
	return Window{
		Zone:     rapid.SampledFrom(zones()).Draw(t, "zone"),
		Rule:     drawRule(t),
		Start:    time.Unix(int64(rapid.IntRange(0, 24*60-1).Draw(t, "start"))*60, 0).UTC().Format("15:04"),
		Duration: Duration(time.Duration(minutes) * time.Minute),
	}
}

// drawInstant draws a minute from 2005 to 2037, in every other case within two days of a clock change.
func drawInstant(t *rapid.T) time.Time {
	first := time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC).Unix() / 60
	last := time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC).Unix() / 60
	when := time.Unix(60*rapid.Int64Range(first, last).Draw(t, "minute"), 0).UTC()
	if rapid.Bool().Draw(t, "near a change") {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones()).Draw(t, "changing zone"))
		if err != nil {
			t.Fatal(err)
		}
		if _, end := when.In(zone).ZoneBounds(); !end.IsZero() {
			when = end.UTC().Add(time.Duration(rapid.IntRange(-2880, 2880).Draw(t, "distance")) * time.Minute)
		}
	}
	return when
}

// TestInstant holds instant against its definition, taken literally: of all minutes in order, the first at which the clock
// on the wall shows the wanted time or a later one.
func TestInstant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones()).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		wall := drawInstant(t)
		want := wall.Add(-48 * time.Hour)
		for shown(want, zone).Before(wall) {
			want = want.Add(time.Minute)
		}
		if got := instant(wall, zone); !got.Equal(want) {
			t.Fatalf("%s in %s: got %s, want %s", wall.Format(time.DateTime), zone, got, want.In(zone))
		}
	})
}

// shown returns what the clock on the wall shows, spelled in UTC.
func shown(when time.Time, zone *time.Location) time.Time {
	local := when.In(zone)
	return time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), 0, time.UTC)
}

// TestNoDayIsLost: a window that opens daily opens once on each day that the zone's calendar has, for just its duration,
// whatever the clocks do.
func TestNoDayIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWindow(t)
		w.Rule = Rule{Kind: Daily}
		w.Zone = rapid.SampledFrom([]string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo"}).Draw(t, "zone")
		w.Duration = Duration(time.Duration(rapid.IntRange(1, 20*60).Draw(t, "minutes")) * time.Minute)
		c, err := NewCalendar(Schedule{Install: []Window{w}})
		if err != nil {
			t.Fatal(err)
		}
		zone := c.Install.windows[0].zone
		year := rapid.IntRange(2005, 2036).Draw(t, "year")
		newYear := time.Date(year, 1, 1, 0, 0, 0, 0, zone)
		after := newYear.AddDate(0, 0, -2)
		for day := newYear; day.Before(newYear.AddDate(1, 0, 0)); {
			from, until, ok := c.Install.Next(after)
			if !ok {
				t.Fatalf("nothing after %s", after)
			}
			after = until
			if from.Before(day) { // A window of the year before, perhaps open when asked.
				continue
			}
			if got, want := from.In(zone).Format(time.DateOnly), day.Format(time.DateOnly); got != want {
				t.Fatalf("the window after %s opens on %s, want %s", after, got, want)
			}
			if until.Sub(from) != time.Duration(w.Duration) {
				t.Fatalf("open from %s to %s, want %s", from, until, time.Duration(w.Duration))
			}
			y, m, d := day.Date()
			day = instant(time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC), zone)
		}
	})
}

// TestNextAndOpenAgree checks what callers rely on, and Open against the plain meaning: within some window, in no freeze.
func TestNextAndOpenAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		after := drawInstant(t)
		s := Schedule{Install: rapid.SliceOfN(rapid.Custom(drawWindow), 0, 4).Draw(t, "windows")}
		for range rapid.IntRange(0, 4).Draw(t, "freezes") {
			from := after.Add(time.Duration(rapid.IntRange(-5000, 50000).Draw(t, "freeze")) * time.Minute)
			s.Freezes = append(s.Freezes, Freeze{From: from, Until: from.Add(time.Duration(rapid.IntRange(1, 20000).Draw(t, "length")) * time.Minute)})
		}
		c, err := NewCalendar(s)
		if err != nil {
			t.Fatal(err)
		}
		from, until, ok := c.Install.Next(after)
		if !ok {
			t.Fatal("a valid schedule never opens")
		}
		probe := after.Add(time.Duration(rapid.IntRange(0, 50000).Draw(t, "probe")) * time.Minute)
		for _, when := range []time.Time{after, from, from.Add(-time.Nanosecond), until, until.Add(-time.Nanosecond), probe} {
			if when.Before(after) || until.IsZero() && when.Before(from) {
				continue
			}
			open, _ := c.Install.Open(when)
			if want := within(c.Install, when); open != want {
				t.Fatalf("open at %s: %v, want %v", when, open, want)
			}
			inside := !when.Before(from) && (until.IsZero() || when.Before(until))
			if !when.Equal(probe) && !inside && open && until.Sub(from) < horizon {
				t.Fatalf("open at %s, outside of %s to %s", when, from, until)
			}
		}
		if from.Before(after) || !until.IsZero() && !until.After(from) {
			t.Fatalf("after %s: %s to %s", after, from, until)
		}
	})
}

// within reports whether some occurrence of a window covers the instant and no freeze does.
func within(ts Times, when time.Time) bool {
	if slices.ContainsFunc(ts.freezes, func(f Freeze) bool { return !when.Before(f.From) && when.Before(f.Until) }) {
		return false
	}
	return len(ts.windows) == 0 || slices.ContainsFunc(ts.windows, func(c compiled) bool {
		for i := -3; i <= 2; i++ {
			local := when.In(c.zone)
			for _, date := range c.rule.dates(time.Date(local.Year(), local.Month()+time.Month(i), 1, 0, 0, 0, 0, time.UTC)) {
				start := instant(date.Add(c.start), c.zone)
				if !when.Before(start) && when.Before(start.Add(c.duration)) {
					return true
				}
			}
		}
		return false
	})
}

// TestDatesAgainstRRule holds the days that a rule picks against an iCalendar library (RFC 5545).
func TestDatesAgainstRRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRule(t)
		first := time.Date(rapid.IntRange(1990, 2090).Draw(t, "year"), 1, 1, 0, 0, 0, 0, time.UTC)
		var got []string
		for i := range 36 {
			for _, date := range r.dates(first.AddDate(0, i, 0)) {
				got = append(got, date.Format(time.DateOnly))
			}
		}
		oracle, err := rrule.NewRRule(rruleOf(r, first))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, date := range oracle.Between(first, first.AddDate(3, 0, -1), true) {
			want = append(want, date.AddDate(0, 0, r.Offset).Format(time.DateOnly))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%+v: %s", r, diff)
		}
	})
}

// rruleOf writes a rule, its offset aside, in the terms of RFC 5545.
func rruleOf(r Rule, start time.Time) rrule.ROption {
	option := rrule.ROption{Dtstart: start}
	for _, m := range r.Months {
		option.Bymonth = append(option.Bymonth, int(m))
	}
	weekdays := []rrule.Weekday{rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR, rrule.SA, rrule.SU}
	for _, d := range r.Days {
		w := weekdays[slices.Index(days(), d)]
		if r.Kind == Monthly {
			w = w.Nth(r.Nth)
		}
		option.Byweekday = append(option.Byweekday, w)
	}
	switch r.Kind {
	case Daily:
		option.Freq = rrule.DAILY
	case Weekly:
		option.Freq = rrule.WEEKLY
	case PatchTuesday:
		option.Freq, option.Byweekday = rrule.MONTHLY, []rrule.Weekday{rrule.TU.Nth(2)}
	case Monthly:
		option.Freq = rrule.MONTHLY
	}
	return option
}

// FuzzSchedule reads schedules from outside: whatever is valid answers every question, and its JSON form is stable.
func FuzzSchedule(f *testing.F) {
	full, err := json.Marshal(fullSchedule(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full, int64(1_780_000_000))
	f.Add([]byte(`{}`), int64(0))
	f.Add([]byte(`{"install":[{"rule":{"kind":"daily"},"start":"00:00","duration":"24h"}]}`), int64(-1<<40))
	f.Add([]byte(`{"install":[{"zone":"Local","rule":{"kind":"monthly","nth":-9},"start":"99:99","duration":"-1h"}]}`), int64(1<<60))
	f.Fuzz(func(t *testing.T, text []byte, seconds int64) {
		var s Schedule
		if json.Unmarshal(text, &s) != nil || s.Validate() != nil {
			return
		}
		const year9999 = 253_402_300_799
		now := time.Unix(seconds%year9999, 0)
		open, until := s.Open(now)
		from, end, ok := s.Next(now)
		if ok && from.Before(now) || open != (ok && from.Equal(now)) || open && !until.Equal(end) {
			t.Errorf("at %s: open %v until %s; next %s to %s, %v", now, open, until, from, end, ok)
		}
		once, err := json.Marshal(s)
		if err != nil {
			return // A freeze beyond the year 9999 has no JSON form.
		}
		var back Schedule
		if err := json.Unmarshal(once, &back); err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if twice, err := json.Marshal(back); err != nil || string(twice) != string(once) {
			t.Errorf("%s became %s, %v", once, twice, err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	c, err := NewCalendar(fullSchedule(b))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)
	for b.Loop() {
		c.Install.Open(now)
	}
}

func BenchmarkNewCalendar(b *testing.B) {
	s := fullSchedule(b)
	for b.Loop() {
		if _, err := NewCalendar(s); err != nil {
			b.Fatal(err)
		}
	}
}
