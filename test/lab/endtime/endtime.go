// Package endtime has contexts whose time is up when a test says so, and not
// when a machine was slow.
package endtime

import (
	"context"
	"sync"
)

// Context returns a context whose Err is context.DeadlineExceeded once end was
// called, for it and for what is derived from it. It ends by nothing else, not
// even with its parent.
func Context(parent context.Context) (ctx context.Context, end func()) {
	e := ending{parent, make(chan struct{})}
	return e, sync.OnceFunc(func() { close(e.up) })
}

// ending has a Done of its own, as contexts derived from it ask that for their Err.
type ending struct {
	context.Context
	up chan struct{}
}

func (e ending) Done() <-chan struct{} { return e.up }

func (e ending) Err() error {
	select {
	case <-e.up:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
