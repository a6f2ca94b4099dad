package endtime_test

import (
	"context"
	"errors"
	"testing"

	"github.com/fettlehq/fettle/test/lab/endtime"
)

func TestChildrenEndWithIt(t *testing.T) {
	ctx, end := endtime.Context(t.Context())
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	if ctx.Err() != nil || child.Err() != nil {
		t.Fatal("its time was up before the end")
	}
	end()
	end() // as often as one likes
	<-child.Done()
	for _, c := range []context.Context{ctx, child} {
		if !errors.Is(c.Err(), context.DeadlineExceeded) {
			t.Errorf("ended with %v", c.Err())
		}
	}
}
