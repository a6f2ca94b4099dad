package cli

import (
	"testing"

	"github.com/fettlehq/fettle/internal/deploy"
)

// TestWatchEndsWherePeopleMustAct: a watch must not stay for ever when all that
// is left is a reboot that nobody but a person will make.
func TestWatchEndsWherePeopleMustAct(t *testing.T) {
	for _, tt := range []struct {
		name   string
		manual bool
		states []deploy.State
		want   int
	}{
		{"one waits, one is done", true, []deploy.State{deploy.WaitingReboot, deploy.Verified}, 1},
		{"one still installs", true, []deploy.State{deploy.WaitingReboot, deploy.Installing}, 0},
		{"a retry is to come", true, []deploy.State{deploy.WaitingReboot, deploy.RetryPlanned}, 0},
		{"fettle reboots itself", false, []deploy.State{deploy.WaitingReboot}, 0},
		{"all is done", true, []deploy.State{deploy.Verified, deploy.Failed}, 0},
	} {
		w := &watcher{manual: tt.manual, last: map[deploy.TaskID]deploy.State{}}
		for i, s := range tt.states {
			w.last[deploy.TaskID(rune('a'+i))] = s
		}
		if got := w.waiting(); got != tt.want {
			t.Errorf("%s: %d wait, want %d", tt.name, got, tt.want)
		}
	}
}
