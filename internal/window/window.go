// Package window holds maintenance windows, freezes and patch cycles: when a
// machine may be changed and when it may be rebooted.
package window

import "time"

// Schedule says when installations and reboots may happen. The empty schedule
// is always open.
type Schedule struct {
	Install []Window `json:"install,omitempty"`
	// Reboot windows stand apart; none means that Install's count.
	Reboot  []Window `json:"reboot,omitempty"`
	Freezes []Freeze `json:"freezes,omitempty"`
}

// Window is a recurring span of time in a time zone.
type Window struct {
	Name     string   `json:"name,omitempty"`
	Zone     string   `json:"zone,omitempty"` // IANA; empty means UTC
	Start    string   `json:"start"`          // "22:00"
	Duration Duration `json:"duration"`
}

// Freeze is a span in which nothing is changed.
type Freeze struct {
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}
