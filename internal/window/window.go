// Package window says when work on machines is allowed: maintenance windows, patch cycles such as "the Sunday after the
// second Tuesday", freezes, time zones and daylight saving time. It computes with the time it is given and never asks
// for the present one.
//
// Windows are written in wall-clock time of an IANA zone. Where a clock change touches a start:
//
//   - Gap (the start does not exist that day): the window opens at the first instant after the gap.
//   - Overlap (the start exists twice): the window opens at the first occurrence, once.
//   - A duration is elapsed time. A window of four hours is open for four hours, even in a night in which the clock on the
//     wall moves by three or five.
//
// What happens to machines that were off during a window is decided by package deploy, not here.
package window

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Limits of what [Schedule.Validate] accepts.
const (
	MaxDuration = 28 * 24 * time.Hour // One window; longer ones would hide the month's cycle.
	MaxWindows  = 100                 // Of each kind in a schedule.
	MaxFreezes  = 1000                // In a schedule.
	MaxOffset   = 27                  // Days between a rule's weekday and the window, either way.
)

// Schedule says when patches may be installed and when machines may restart. The zero value allows both always.
type Schedule struct {
	// Install holds the windows for installing; they may overlap and touch. None: always, except in a freeze.
	Install []Window `json:"install,omitempty"`
	// Reboot holds the windows for restarts. None: whenever installing is allowed.
	Reboot []Window `json:"reboot,omitempty"`
	// Freezes close everything, whatever the windows say.
	Freezes []Freeze `json:"freezes,omitempty"`
}

// Window opens again and again, on the days of Rule at Start, for Duration. It may cross midnight.
type Window struct {
	// Name is for people; it may be empty.
	Name string `json:"name,omitempty"`
	// Zone is an IANA name such as "Europe/Berlin". Empty means the machine's own zone, which [Schedule.InZone] fills in; where
	// nobody did it is UTC.
	Zone string `json:"zone,omitempty"`
	// Rule picks the days on which the window opens.
	Rule Rule `json:"rule"`
	// Start is the wall-clock time of opening, "00:00" to "23:59".
	Start string `json:"start"`
	// Duration is the elapsed time from opening to closing, one minute to [MaxDuration].
	Duration Duration `json:"duration"`
}

// Freeze is a time in which nothing may happen: a blackout, the days before a quarter's end.
type Freeze struct {
	// From is the first instant of the freeze.
	From time.Time `json:"from"`
	// Until is the first instant after it.
	Until time.Time `json:"until"`
	// Reason is shown to people who wonder why nothing happens.
	Reason string `json:"reason"`
}

// Validate reports everything that is wrong with the schedule as one fault of code [fault.Invalid], each problem with its
// place, such as "install[0]: start"; nil means that nothing is.
func (s Schedule) Validate() error {
	var problems []string
	for _, list := range []struct {
		name    string
		windows []Window
	}{{"install", s.Install}, {"reboot", s.Reboot}} {
		if n := len(list.windows); n > MaxWindows {
			return fault.New(fault.Invalid, "window: %d windows in %s, at most %d are allowed", n, list.name, MaxWindows)
		}
		for i, w := range list.windows {
			if _, err := compile(w); err != nil {
				problems = append(problems, fmt.Sprintf("%s[%d]: %v", list.name, i, err))
			}
		}
	}
	if n := len(s.Freezes); n > MaxFreezes {
		return fault.New(fault.Invalid, "window: %d freezes, at most %d are allowed", n, MaxFreezes)
	}
	for i, f := range s.Freezes {
		if !f.From.Before(f.Until) {
			problems = append(problems, fmt.Sprintf("freezes[%d]: until %s is not after from %s", i,
				f.Until.Format(time.RFC3339), f.From.Format(time.RFC3339)))
		}
	}
	if len(problems) > 0 {
		return fault.New(fault.Invalid, "window: %s", strings.Join(problems, "; "))
	}
	return nil
}

// Validate reports what is wrong with the window as a fault of code [fault.Invalid], nil if nothing is.
func (w Window) Validate() error {
	if _, err := compile(w); err != nil {
		return fault.New(fault.Invalid, "window: %v", err)
	}
	return nil
}

// InZone returns a copy of the schedule in which windows without a zone have this one, the machine's own.
func (s Schedule) InZone(zone string) Schedule {
	fill := func(windows []Window) []Window {
		windows = slices.Clone(windows)
		for i := range windows {
			if windows[i].Zone == "" {
				windows[i].Zone = zone
			}
		}
		return windows
	}
	s.Install, s.Reboot = fill(s.Install), fill(s.Reboot)
	return s
}

// Open reports whether installing is allowed at now, and until when that stays so: until is when it closes if it is
// open, and when it next opens if it is closed. Zero means never. A schedule that is not valid is closed for ever. Who asks
// often makes a [Calendar] once.
func (s Schedule) Open(now time.Time) (open bool, until time.Time) {
	c, err := NewCalendar(s)
	if err != nil {
		return false, time.Time{}
	}
	return c.Install.Open(now)
}

// Next returns the first time from after on in which installing is allowed: after itself if it is open then. A zero until
// means that it never closes; ok is false if it never opens or the schedule is not valid.
func (s Schedule) Next(after time.Time) (from, until time.Time, ok bool) {
	c, err := NewCalendar(s)
	if err != nil {
		return time.Time{}, time.Time{}, false
	}
	return c.Install.Next(after)
}

// OpenReboot is [Schedule.Open] for restarts.
func (s Schedule) OpenReboot(now time.Time) (open bool, until time.Time) {
	c, err := NewCalendar(s)
	if err != nil {
		return false, time.Time{}
	}
	return c.Reboot.Open(now)
}

// NextReboot is [Schedule.Next] for restarts.
func (s Schedule) NextReboot(after time.Time) (from, until time.Time, ok bool) {
	c, err := NewCalendar(s)
	if err != nil {
		return time.Time{}, time.Time{}, false
	}
	return c.Reboot.Next(after)
}
