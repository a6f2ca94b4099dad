package window

import (
	"fmt"
	"slices"
	"time"
)

// horizon bounds how far closing looks ahead: windows that touch each other without end are reported as open until about
// this long after the question.
const horizon = 31 * 24 * time.Hour

// rareMonths bounds the search for the next opening. The rarest rule, the fifth of a weekday in February, skips 40 years
// around 2100.
const rareMonths = 41 * 12

// Calendar is a schedule made ready for many questions. It does not change and may be used by many goroutines.
type Calendar struct {
	// Install and Reboot answer for the two kinds of work.
	Install, Reboot Times
}

// Times is a set of windows less the freezes.
type Times struct {
	windows []compiled
	freezes []Freeze // By From, none touching another.
}

// span is the time from start up to, not including, end.
type span struct{ start, end time.Time }

// NewCalendar validates s and loads its zones. The error is that of [Schedule.Validate].
func NewCalendar(s Schedule) (*Calendar, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	freezes := mergeFreezes(s.Freezes)
	install, err := compileAll(s.Install)
	if err != nil {
		return nil, err
	}
	reboot, err := compileAll(s.Reboot)
	if err != nil {
		return nil, err
	}
	if len(reboot) == 0 {
		reboot = install
	}
	return &Calendar{Install: Times{install, freezes}, Reboot: Times{reboot, freezes}}, nil
}

// Open reports whether it is open at now; until is when it closes or, if it is closed, when it next opens. Zero means
// never.
func (t Times) Open(now time.Time) (open bool, until time.Time) {
	from, until, ok := t.Next(now)
	switch {
	case !ok:
		return false, time.Time{}
	case from.Equal(now):
		return true, until
	}
	return false, from
}

// Next returns the first time from after on that is open: after itself if it is open then. Windows that overlap or touch
// count as one. A zero until means that it never closes; ok is false if it never opens.
func (t Times) Next(after time.Time) (from, until time.Time, ok bool) {
	from = after
	for {
		frozen := t.frozenUntil(from)
		if frozen.After(from) {
			from = frozen
		}
		opening, ok := t.opening(from)
		if !ok {
			return time.Time{}, time.Time{}, false
		}
		if opening.start.After(from) {
			from = opening.start
		}
		if !t.frozenUntil(from).After(from) {
			return from, t.closing(from, opening.end), true
		}
	}
}

// opening returns the window occurrence that is open at t, or else the next one. Without windows it is a time without end.
func (t Times) opening(at time.Time) (first span, ok bool) {
	if len(t.windows) == 0 {
		return span{start: at}, true
	}
	for _, w := range t.windows {
		if s, found := w.next(at); found && (!ok || s.start.Before(first.start)) {
			first, ok = s, true
		}
	}
	return first, ok
}

// closing returns when what is open at from closes: at end, unless another window is open by then, or at the next freeze.
func (t Times) closing(from, end time.Time) time.Time {
	// The occurrence of each window that is not over at end; looked up again only when end has passed it.
	ahead := make([]span, len(t.windows))
	for extended := len(t.windows) > 0; extended && end.Sub(from) < horizon; {
		extended = false
		for i, w := range t.windows {
			if !ahead[i].end.After(end) {
				ahead[i], _ = w.next(end)
			}
			if ahead[i].end.After(end) && !ahead[i].start.After(end) {
				end, extended = ahead[i].end, true
			}
		}
	}
	for _, f := range t.freezes {
		if f.From.After(from) && (end.IsZero() || f.From.Before(end)) {
			return f.From
		}
	}
	return end
}

// frozenUntil returns the end of the freeze at t, or the zero time.
func (t Times) frozenUntil(at time.Time) time.Time {
	for _, f := range t.freezes {
		if !at.Before(f.From) && at.Before(f.Until) {
			return f.Until
		}
	}
	return time.Time{}
}

// mergeFreezes sorts by start and joins what overlaps or touches.
func mergeFreezes(freezes []Freeze) []Freeze {
	sorted := slices.Clone(freezes)
	slices.SortFunc(sorted, func(a, b Freeze) int { return a.From.Compare(b.From) })
	var out []Freeze
	for _, f := range sorted {
		if n := len(out); n > 0 && !f.From.After(out[n-1].Until) {
			if f.Until.After(out[n-1].Until) {
				out[n-1].Until = f.Until
			}
			continue
		}
		out = append(out, f)
	}
	return out
}

// compiled is a window with its text forms read.
type compiled struct {
	rule     Rule
	zone     *time.Location
	start    time.Duration // Wall-clock time since midnight.
	duration time.Duration
}

// compileAll compiles every window.
func compileAll(windows []Window) ([]compiled, error) {
	out := make([]compiled, 0, len(windows))
	for _, w := range windows {
		c, err := compile(w)
		if err != nil {
			return nil, fmt.Errorf("window: %w", err)
		}
		out = append(out, c)
	}
	return out, nil
}

// compile validates w and loads its zone.
func compile(w Window) (compiled, error) {
	c := compiled{rule: w.Rule, duration: time.Duration(w.Duration)}
	if err := w.Rule.validate(); err != nil {
		return c, err
	}
	clock, err := time.Parse("15:04", w.Start)
	if err != nil || len(w.Start) != len("15:04") {
		return c, fmt.Errorf("start %q is not a time from 00:00 to 23:59", w.Start)
	}
	c.start = time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute
	if c.duration < time.Minute || c.duration > MaxDuration {
		return c, fmt.Errorf("duration %s is not between %s and %s", c.duration, time.Minute, MaxDuration)
	}
	if w.Zone == "Local" {
		return c, fmt.Errorf("zone %q is not an IANA name; leave it empty for the machine's own zone", w.Zone)
	}
	if c.zone, err = time.LoadLocation(w.Zone); err != nil {
		return c, fmt.Errorf("zone: %w", err)
	}
	return c, nil
}

// next returns the first occurrence that is not over at t.
func (c compiled) next(at time.Time) (span, bool) {
	// The clock reached the start of every earlier day before that, so the occurrences of those days are over.
	earliest := at.Add(-c.duration).In(c.zone)
	base := earliest.AddDate(0, 0, -c.rule.Offset)
	month := time.Date(base.Year(), base.Month(), 1, 0, 0, 0, 0, time.UTC)
	earliestDay := time.Date(earliest.Year(), earliest.Month(), earliest.Day(), 0, 0, 0, 0, time.UTC)
	for i := range rareMonths {
		for _, date := range c.rule.dates(month.AddDate(0, i, 0)) {
			if date.Before(earliestDay) {
				continue
			}
			start := instant(date.Add(c.start), c.zone)
			if end := start.Add(c.duration); end.After(at) {
				return span{start, end}, true
			}
		}
	}
	return span{}, false
}

// instant returns when a clock in the zone first shows the wall-clock time that wall, in UTC, spells. In a gap it is the
// first instant after the gap. time.Date does not say which instant it picks in either case.
func instant(wall time.Time, zone *time.Location) time.Time {
	const reach = 48 * time.Hour // More than any offset and any change of offset.
	for at := wall.Add(-reach).In(zone); ; {
		periodStart, periodEnd := at.ZoneBounds()
		_, offset := at.Zone()
		shown := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if !periodEnd.IsZero() && !shown.Before(periodEnd) {
			at = periodEnd
			continue
		}
		if shown.Before(periodStart) {
			return periodStart // Skipped by the change that started this period.
		}
		return shown
	}
}
