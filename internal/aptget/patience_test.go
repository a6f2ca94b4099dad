package aptget

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// lockedFor answers like apt-get while another one holds its lock.
type lockedFor struct{ until time.Time }

func (l lockedFor) Run(context.Context, run.Cmd) (run.Result, error) {
	if time.Now().Before(l.until) {
		return run.Result{ExitCode: 100, Stderr: []byte("E: Could not get lock /x/lists/lock. It is held by process 7 (apt-get)\n")}, nil
	}
	return run.Result{}, nil
}

// An apt that a killed program left behind is waited for, and people are told;
// one that stays is named.
func TestWaitsForAnotherApt(t *testing.T) {
	for _, tc := range []struct {
		held, took time.Duration
		fails      bool
	}{{0, 0, false}, {9500 * time.Millisecond, 10 * time.Second, false}, {time.Hour, lockWait, true}} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			a := &Apt{runner: lockedFor{began.Add(tc.held)}}
			told := ""
			_, err := a.patient(t.Context(), run.Cmd{Argv: []string{"apt-get", "update"}}, func(_ float64, doing string) { told = doing })
			if took := time.Since(began); took != tc.took || (err != nil) != tc.fails {
				t.Errorf("held for %v: %v after %v", tc.held, err, took)
			}
			if (tc.took > 0) != strings.Contains(told, "waiting for another apt") {
				t.Errorf("held for %v: told %q", tc.held, told)
			}
			if tc.fails && (!fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" || !strings.Contains(fault.Public(err), "another apt")) {
				t.Errorf("%v", err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		a := &Apt{runner: lockedFor{time.Now().Add(time.Hour)}}
		if _, err := a.patient(ctx, run.Cmd{Argv: []string{"apt-get", "update"}}, nil); !fault.Is(err, fault.Cancelled) {
			t.Errorf("asked to stop: %v", err)
		}
	})
}
