package orchestrate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/window"
	"github.com/fettlehq/fettle/internal/wire"
)

// A machine that was away when its turn came must not begin later, when its
// window has closed, the approval is gone or the deployment was stopped.
func TestOrdersThatAreDueNoMore(t *testing.T) {
	night := []window.Window{{Rule: window.Rule{Kind: window.Daily}, Start: "11:00", Duration: window.Duration(2 * time.Hour), Zone: "UTC"}}
	change := func(f func(*deploy.Deployment)) func(*world) {
		return func(w *world) {
			_, err := w.loop.Update(w.t.Context(), "acme", "d", func(d deploy.Deployment) (deploy.Deployment, error) {
				f(&d)
				return d, nil
			})
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
	windows := change(func(d *deploy.Deployment) { d.Schedule.Install, d.Schedule.Reboot = night, night })
	later := func(w *world) { w.now = noon.Add(6 * time.Hour) }
	heard := func(w *world) {
		w.now = w.now.Add(time.Second)
		w.hear("acme", "web1", wire.Event{Task: "d-web1", Attempt: 1, State: deploy.Installing})
	}
	for _, tc := range []struct {
		name  string
		state deploy.State
		do    []func(*world)
		want  wire.Action
	}{
		{"in its window", deploy.Installing, []func(*world){windows}, wire.ActInstall},
		{"the window has closed", deploy.Installing, []func(*world){windows, later}, ""},
		{"an emergency", deploy.Installing, []func(*world){windows, later, change(func(d *deploy.Deployment) { d.Emergency = true })}, wire.ActInstall},
		{"the next window", deploy.Installing, []func(*world){windows, func(w *world) { w.now = noon.Add(24 * time.Hour) }}, wire.ActInstall},
		{"reboot in its window", deploy.Rebooting, []func(*world){windows}, wire.ActReboot},
		{"the reboot window has closed", deploy.Rebooting, []func(*world){windows, later}, ""},
		{"halted", deploy.Installing, []func(*world){change(func(d *deploy.Deployment) { d.Status = deploy.Halted })}, ""},
		{"cancelled", deploy.Installing, []func(*world){change(func(d *deploy.Deployment) { d.Status = deploy.Cancelled })}, wire.ActCancel},
		{"cancelled, the window has closed", deploy.Installing, []func(*world){windows, change(func(d *deploy.Deployment) { d.Status = deploy.Cancelled }), later}, wire.ActCancel},
		{"cancelled after it has begun", deploy.Installing, []func(*world){heard, change(func(d *deploy.Deployment) { d.Status = deploy.Cancelled })}, wire.ActInstall},
		{"declined", deploy.Installing, []func(*world){func(w *world) { w.state = approval.Declined }}, wire.ActCancel},
		{"declined, the window has closed", deploy.Installing, []func(*world){windows, later, func(w *world) { w.state = approval.Declined }}, wire.ActCancel},
		{"declined after it has begun", deploy.Installing, []func(*world){heard, func(w *world) { w.state = approval.Declined }}, wire.ActInstall},
		{"a scan is always due", deploy.Verifying, []func(*world){windows, later, func(w *world) { w.state = approval.Declined }}, wire.ActVerify},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.deployment("d", tc.state, "web1")
			for _, do := range tc.do {
				do(w)
			}
			if got := w.order(); got != tc.want {
				t.Errorf("the order is %q, want %q", got, tc.want)
			}
		})
	}
}

// The order carries when its window closes; an emergency has no window.
func TestOrderCarriesTheWindow(t *testing.T) {
	for _, emergency := range []bool{false, true} {
		w := newWorld(t)
		w.deployment("d", deploy.Installing, "web1")
		if _, err := w.loop.Update(t.Context(), "acme", "d", func(d deploy.Deployment) (deploy.Deployment, error) {
			d.Schedule.Install = []window.Window{{Rule: window.Rule{Kind: window.Daily}, Start: "11:00", Duration: window.Duration(2 * time.Hour), Zone: "UTC"}}
			d.Emergency = emergency
			return d, nil
		}); err != nil {
			t.Fatal(err)
		}
		orders, err := w.loop.Orders(t.Context(), "acme", "web1")
		if err != nil || len(orders) != 1 || orders[0].Until.Equal(noon.Add(time.Hour)) == emergency || orders[0].Until.IsZero() != emergency {
			t.Errorf("emergency %v: %+v, %v", emergency, orders, err)
		}
	}
}

// A machine that is shut out for good holds up no ring.
func TestAbandonedMachine(t *testing.T) {
	w := newWorld(t)
	w.deployment("d", deploy.Planning, "web1", "web2")
	w.deployment("e", deploy.Installing, "web1")
	if err := w.loop.Abandon(t.Context(), "rival", "web1"); err != nil {
		t.Fatal(err)
	}
	if got := w.task("d-web1").State; got != deploy.Planning {
		t.Fatalf("another tenant's word made it %s", got)
	}
	if err := w.loop.Abandon(t.Context(), "acme", "web1"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[deploy.TaskID]deploy.State{"d-web1": deploy.TaskCancelled, "d-web2": deploy.Planning, "e-web1": deploy.Failed} {
		if got := w.task(id); got.State != want {
			t.Errorf("%s is %s (%s), want %s", id, got.State, got.Reason, want)
		}
	}
	w.once()
	if d, err := w.db.In(estate.InTenant("acme")).Deployment(t.Context(), "e"); err != nil || d.Status != deploy.Finished {
		t.Errorf("its only deployment is %s, %v", d.Status, err)
	}
}

// Whoever cancels a deployment need not wait until it expires: an endpoint that
// has not begun is told, and its answer ends the task. Nobody can end one that
// was not cancelled by saying so.
func TestCancelledBeforeItBegan(t *testing.T) {
	w := newWorld(t)
	w.deployment("d", deploy.Installing, "web1", "web2")
	says := func(e estate.EndpointID) {
		w.now = w.now.Add(time.Second)
		w.hear("acme", e, wire.Event{Task: deploy.TaskID("d-" + e), Attempt: 1, State: deploy.TaskCancelled, Reason: "cancelled before anything was changed"})
	}
	says("web2")
	if got := w.task("d-web2"); got.State != deploy.Installing {
		t.Errorf("an endpoint has cancelled its task by itself: %s", got.State)
	}
	w.wakes = nil
	_, err := w.loop.Update(t.Context(), "acme", "d", func(d deploy.Deployment) (deploy.Deployment, error) {
		d.Status, d.Reason = deploy.Cancelled, "by ada"
		return d, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.wakes) != 1 || w.wakes[0] != "web1" { // web2 was heard of: it has the order
		t.Errorf("woken: %v", w.wakes)
	}
	w.once()
	if got := w.order(); got != wire.ActCancel {
		t.Errorf("the order is %q", got)
	}
	says("web1")
	if got := w.task("d-web1"); got.State != deploy.TaskCancelled || got.Reason != "the deployment was cancelled; the endpoint says: cancelled before anything was changed" {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}

// Nor does a task stay open whose patches were declined before its machine
// began: the decisions are looked at again.
func TestDeclinedBeforeItBegan(t *testing.T) {
	w := newWorld(t)
	w.deployment("d", deploy.Installing, "web1")
	answer := wire.Event{Task: "d-web1", Attempt: 1, State: deploy.TaskCancelled, Reason: "cancelled before anything was changed"}
	w.state = approval.Declined
	w.now = w.now.Add(time.Second)
	w.hear("acme", "web1", answer)
	if got := w.task("d-web1"); got.State != deploy.Queued || got.Attempt != 2 || got.Plan != nil {
		t.Errorf("%s, attempt %d: %s", got.State, got.Attempt, got.Reason)
	}
	w.once()
	if got := w.task("d-web1"); got.State != deploy.TaskCancelled || !strings.Contains(got.Reason, "declined") {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}
