package agent

import "time"

// later does something once after a time. However often it is asked meanwhile,
// there is one timer, and the earliest time counts. It is not safe for
// concurrent use; do runs in a goroutine of its own.
type later struct {
	do    func()
	timer *time.Timer
	at    time.Time
}

// in asks for it after a while, counted from now.
func (l *later) in(after time.Duration, now time.Time) {
	at := now.Add(after)
	if l.timer != nil && now.Before(l.at) && !at.Before(l.at) {
		return
	}
	l.stop()
	l.at, l.timer = at, time.AfterFunc(after, l.do)
}

func (l *later) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
}
