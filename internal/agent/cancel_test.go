package agent

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wire"
)

// steps does what the test says in place of a child.
type steps func(stepRequest) stepReply

func (s steps) step(_ context.Context, req stepRequest, _ func(install.Progress)) (stepReply, error) {
	return s(req), nil
}

func newAgent(t *testing.T) *Agent {
	t.Helper()
	a, err := New(t.Context(), testConfig(tempDir(t), newMachine(t)))
	check(t, err)
	t.Cleanup(func() { check(t, a.Close()) })
	return a
}

// lastStates are the states that the server will hear of, in order.
func lastStates(a *Agent) (all []deploy.State) {
	for _, e := range a.journal.Events(1 << 20) {
		all = append(all, e.State)
	}
	return all
}

// TestCancelledBetweenOrderAndWork: the word that a task is cancelled may come
// when the worker has picked it up and not begun yet. What the server is told
// to be cancelled is not done.
func TestCancelledBetweenOrderAndWork(t *testing.T) {
	for _, action := range []wire.Action{wire.ActPlan, wire.ActDownload, wire.ActInstall, wire.ActReboot, wire.ActVerify} {
		t.Run(string(action), func(t *testing.T) {
			a := newAgent(t)
			a.steps = steps(func(req stepRequest) stepReply {
				t.Errorf("step %s is done all the same", req.Step)
				return stepReply{}
			})
			check(t, a.take([]wire.Order{order("t", action, nil)}, time.Now()))
			e, ok := a.nextOpen()
			if !ok {
				t.Fatal("the order was not taken")
			}
			check(t, a.take([]wire.Order{order("t", wire.ActCancel, nil)}, time.Now()))
			ctx, stop := context.WithTimeout(t.Context(), time.Minute) // a reboot waits for the machine to go down
			defer stop()
			check(t, a.do(ctx, e))
			if got, _ := a.journal.Entry("t"); got.Step != journal.Ended {
				t.Errorf("the task is %s", got.Step)
			}
			if got := lastStates(a); len(got) != 1 || got[0] != deploy.TaskCancelled {
				t.Errorf("the server is told %v", got)
			}
			if _, err := os.Stat(a.cfg.State.path("rebooted")); err == nil {
				t.Error("the machine was restarted")
			}
		})
	}
}

// TestCancelledAtTheEndOfAStep: the same while a step ends well.
func TestCancelledAtTheEndOfAStep(t *testing.T) {
	a := newAgent(t)
	a.steps = steps(func(stepRequest) stepReply {
		check(t, a.take([]wire.Order{order("t", wire.ActCancel, nil)}, time.Now()))
		return stepReply{Plan: &deploy.Plan{}}
	})
	check(t, a.take([]wire.Order{order("t", wire.ActPlan, nil)}, time.Now()))
	e, _ := a.nextOpen()
	check(t, a.do(t.Context(), e))
	if got, _ := a.journal.Entry("t"); got.Step != journal.Ended {
		t.Errorf("the task is %s", got.Step)
	}
	if got := lastStates(a); len(got) != 2 || got[1] != deploy.TaskCancelled {
		t.Errorf("the server is told %v", got)
	}
}

// TestEndlessOrders: whoever owns the server can't fill the machine's disk with
// orders.
func TestEndlessOrders(t *testing.T) {
	a := newAgent(t)
	for i := range 100 {
		var many []wire.Order
		for j := range 50 {
			many = append(many, order(deploy.TaskID(fmt.Sprintf("t%d-%d", i, j)), wire.ActPlan, nil))
		}
		check(t, a.take(many, time.Now()))
	}
	if n := len(a.journal.Entries()); n > maxOpen {
		t.Errorf("%d orders are kept", n)
	}
	check(t, a.take([]wire.Order{order("t0-0", wire.ActCancel, nil)}, time.Now())) // known ones are heard
	if e, _ := a.journal.Entry("t0-0"); e.Step != journal.Ended {
		t.Errorf("the task is %s", e.Step)
	}
	for i := range 60 { // answers that it never takes
		var many []wire.Order
		for j := range 300 {
			many = append(many, order(deploy.TaskID(fmt.Sprintf("u%d-%d", i, j)), wire.ActCancel, nil))
		}
		check(t, a.take(many, time.Now()))
	}
	if n := len(a.journal.Events(1 << 20)); n > maxWaiting+maxOpen {
		t.Errorf("%d events wait", n)
	}
}

// TestResultSurvivesFullDisk: a result that can't be written down is told all
// the same. It says what was done, and that a restart is due.
func TestResultSurvivesFullDisk(t *testing.T) {
	root := newMachine(t)
	b := &bench{dir: Dir(tempDir(t)), root: root, order: order("t", wire.ActInstall, nil)}
	check(t, os.MkdirAll(b.resultFile(), 0o700)) // in the way, as a full disk is
	reply, err := b.done(t.Context(), inventory.State{}, deploy.Result{Changes: []deploy.Change{{Package: "svc"}}, RebootDue: true})
	if err != nil || reply.Result == nil || len(reply.Result.Changes) != 1 || !reply.Result.RebootDue || reply.Result.Output == "" || !reply.Done {
		t.Errorf("%+v, %v", reply.Result, err)
	}
}
