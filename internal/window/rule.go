package window

import (
	"fmt"
	"slices"
	"time"
)

// Kind names how a [Rule] picks days.
type Kind string

// The kinds of rule.
const (
	Daily        Kind = "daily"         // Every day.
	Weekly       Kind = "weekly"        // The named days of every week.
	Monthly      Kind = "monthly"       // The nth of the named days in a month, and Offset days after it.
	PatchTuesday Kind = "patch-tuesday" // Offset days after the second Tuesday, on which Microsoft and others publish.
)

// Day is a day of the week: mon, tue, wed, thu, fri, sat or sun.
type Day string

// Rule picks the days on which a window opens, by the calendar of the window's zone. A quarterly cycle is a monthly one
// with four Months.
type Rule struct {
	// Kind says which of the other fields count.
	Kind Kind `json:"kind"`
	// Days are the days of a weekly rule, or those of which a monthly rule takes the nth.
	Days []Day `json:"days,omitempty"`
	// Nth is 1 to 5, or -1 for the last to -5. A month without a fifth such day has no window. Monthly only.
	Nth int `json:"nth,omitempty"`
	// Offset is a number of days after (or, below zero, before) the day of a monthly or patch-tuesday rule, up to
	// [MaxOffset]. It may lead into the neighbouring month.
	Offset int `json:"offset,omitempty"`
	// Months, 1 to 12, limit the rule to these months; the month is that of the day before Offset is added. None: all.
	Months []time.Month `json:"months,omitempty"`
}

// weekday returns the number of the day; ok is false if it is none.
func (d Day) weekday() (day time.Weekday, ok bool) {
	i := slices.Index([]Day{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, d)
	return time.Weekday(i), i >= 0
}

// validate reports what is wrong with the rule.
func (r Rule) validate() error {
	wantsDays := r.Kind == Weekly || r.Kind == Monthly
	wantsOffset := r.Kind == Monthly || r.Kind == PatchTuesday
	switch {
	case !slices.Contains([]Kind{Daily, Weekly, Monthly, PatchTuesday}, r.Kind):
		return fmt.Errorf("rule.kind %q is none of daily, weekly, monthly, patch-tuesday", r.Kind)
	case wantsDays == (len(r.Days) == 0):
		return fmt.Errorf("rule.days: a %s rule has %d", r.Kind, len(r.Days))
	case r.Kind == Monthly && (r.Nth == 0 || r.Nth < -5 || r.Nth > 5):
		return fmt.Errorf("rule.nth %d is none of 1 to 5 and -1 to -5", r.Nth)
	case r.Kind != Monthly && r.Nth != 0:
		return fmt.Errorf("rule.nth: a %s rule has none", r.Kind)
	case !wantsOffset && r.Offset != 0:
		return fmt.Errorf("rule.offset: a %s rule has none", r.Kind)
	case r.Offset < -MaxOffset || r.Offset > MaxOffset:
		return fmt.Errorf("rule.offset %d is more than %d days", r.Offset, MaxOffset)
	}
	for i, d := range r.Days {
		if _, ok := d.weekday(); !ok {
			return fmt.Errorf("rule.days: %q is none of mon, tue, wed, thu, fri, sat, sun", d)
		}
		if slices.Contains(r.Days[:i], d) {
			return fmt.Errorf("rule.days: %s is named twice", d)
		}
	}
	for i, m := range r.Months {
		if m < time.January || m > time.December {
			return fmt.Errorf("rule.months: %d is none of 1 to 12", int(m))
		}
		if slices.Contains(r.Months[:i], m) {
			return fmt.Errorf("rule.months: %d is named twice", int(m))
		}
	}
	return nil
}

// dates returns the days that the rule picks by way of the month whose first day is given, in rising order, as midnights in
// UTC. With an offset they may lie in the month before or after.
func (r Rule) dates(first time.Time) []time.Time {
	if len(r.Months) > 0 && !slices.Contains(r.Months, first.Month()) {
		return nil
	}
	length := first.AddDate(0, 1, -1).Day()
	var out []time.Time
	for day := range length {
		if date := first.AddDate(0, 0, day); r.picks(date.Weekday(), day, length) {
			out = append(out, date.AddDate(0, 0, r.Offset))
		}
	}
	return out
}

// picks reports whether the rule means the day with this index, from 0, in a month of this length, Offset aside.
func (r Rule) picks(weekday time.Weekday, index, length int) bool {
	switch r.Kind {
	case Daily:
		return true
	case PatchTuesday:
		return weekday == time.Tuesday && index/7 == 1
	}
	named := slices.ContainsFunc(r.Days, func(d Day) bool {
		day, ok := d.weekday()
		return ok && day == weekday
	})
	if r.Kind == Weekly || !named {
		return named
	}
	if r.Nth > 0 {
		return index/7 == r.Nth-1
	}
	return (length-1-index)/7 == -r.Nth-1
}
