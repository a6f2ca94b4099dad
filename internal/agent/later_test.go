package agent

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLaterHoldsOneTimer: a server that sends wakes without end gets one
// check-in at the earliest of their times, not one each.
func TestLaterHoldsOneTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done []time.Duration
		start := time.Now()
		l := later{do: func() { done = append(done, time.Since(start)) }}
		for range 1000 {
			l.in(time.Hour, time.Now())
		}
		l.in(time.Minute, time.Now())
		l.in(2*time.Minute, time.Now())
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		if len(done) != 1 || done[0] != time.Minute {
			t.Errorf("done after %v", done)
		}
		l.in(time.Minute, time.Now()) // the next one counts again
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		l.in(time.Minute, time.Now())
		l.stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(done) != 2 {
			t.Errorf("done after %v", done)
		}
	})
}
