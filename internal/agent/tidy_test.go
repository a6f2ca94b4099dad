package agent

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

// TestOldWorkIsRemoved: dry runs, cancelled deployments and failed tasks leave
// nothing on the machine for good; what may still be needed stays.
func TestOldWorkIsRemoved(t *testing.T) {
	d := Dir(tempDir(t))
	a, err := New(t.Context(), testConfig(string(d), newMachine(t)))
	check(t, err)
	t.Cleanup(func() { check(t, a.Close()) })
	now := time.Now()
	long := now.Add(-2 * keepIdle)
	put := func(id deploy.TaskID, s journal.Step, since time.Time) {
		check(t, a.journal.Apply(journal.Change{Put: []journal.Entry{{Task: id, Attempt: 1, Step: s, Since: since}}}, now))
		check(t, os.MkdirAll(d.work(id)+"/apt/lists", 0o700))
	}
	put("dry", journal.Planned, long)
	put("cancelled", journal.Staged, long)
	put("failed", journal.Ended, long)
	put("waits", journal.Staged, now.Add(-time.Hour))
	put("reboot", journal.Installed, long)
	put("busy", journal.Installing, long)
	check(t, os.MkdirAll(d.work("orphan"), 0o700))
	write(t, d.path("payloads", strings.Repeat("a", 64)), "bytes")

	if got := a.forget([]journal.Entry{{Task: "cancelled"}}, now); !slices.Equal(got, []deploy.TaskID{"dry"}) {
		t.Errorf("with a new order for one, %v are forgotten", got)
	}
	check(t, a.sweep(now))
	folders := func() (names []string) {
		all, err := os.ReadDir(d.path("work"))
		check(t, err)
		for _, f := range all {
			names = append(names, f.Name())
		}
		return names
	}
	if got := folders(); !slices.Equal(got, []string{safe("busy"), safe("reboot"), safe("waits")}) {
		t.Errorf("left: %v", got)
	}
	if files, _ := os.ReadDir(d.payloads()); len(files) != 1 {
		t.Error("payloads of tasks at work are gone")
	}
	for _, id := range []deploy.TaskID{"waits", "reboot", "busy"} {
		put(id, journal.Ended, long)
	}
	check(t, a.sweep(now))
	if files, _ := os.ReadDir(d.payloads()); len(files) != 0 || len(folders()) != 0 {
		t.Errorf("with nothing to do, %v and %d payloads are left", folders(), len(files))
	}
}

// TestEventsThatTheServerNeverTakes: one of them must not hold up all others
// for ever.
func TestEventsThatTheServerNeverTakes(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.publish(1, s.thePatch())
	d := s.enrolled(root)
	j, _, err := journal.Open(d.journal())
	check(t, err)
	big := &deploy.Plan{Payloads: make([]patch.Payload, 60000)}
	for i := range big.Payloads {
		big.Payloads[i] = patch.Payload{SHA256: strings.Repeat("a", 64), Size: 1, Name: "pool/x"}
	}
	check(t, j.Apply(journal.Change{Emit: []wire.Event{
		{Task: "foreign", Attempt: 1, State: deploy.Failed},
		{Task: "huge", Attempt: 1, State: deploy.Planned, Plan: big},
	}}, time.Now()))
	check(t, j.Close())
	s.agent(d, root)
	s.order(order("t1", wire.ActPlan, refs))
	if e := s.event("huge", isState(deploy.Failed)); !strings.Contains(e.Reason, "a message may have") || e.Plan != nil {
		t.Errorf("the huge plan became %q", e.Reason)
	}
	s.event("t1", isState(deploy.Planned))
}

// looking answers every step with a fresh look that found nothing.
type looking struct{}

func (looking) step(context.Context, stepRequest, func(install.Progress)) (stepReply, error) {
	return stepReply{Verdicts: []deploy.PatchVerdict{{Patch: "p"}}}, nil
}

// TestWorkStaysForTheNextAttempt: what an attempt that failed has left in its
// folder, such as the note that a product had to make room, is there for the
// next one; the folder of one that did all its work is cleared.
func TestWorkStaysForTheNextAttempt(t *testing.T) {
	d := Dir(tempDir(t))
	a, err := New(t.Context(), testConfig(string(d), newMachine(t)))
	check(t, err)
	t.Cleanup(func() { check(t, a.Close()) })
	a.steps = looking{}
	for id, failures := range map[deploy.TaskID][]deploy.ItemError{"did-all": nil, "failed": {{Package: "p", Reason: "1603"}}} {
		write(t, d.work(id)+"/begun.json", "{}")
		e := journal.Entry{Task: id, Attempt: 1, Step: journal.Accepted, Order: wire.Order{Task: id, Attempt: 1, Action: wire.ActVerify}, Result: &deploy.Result{Failures: failures}}
		check(t, a.journal.Apply(journal.Change{Put: []journal.Entry{e}}, time.Now()))
		check(t, a.verify(t.Context(), e))
		if _, err := os.Stat(d.work(id) + "/begun.json"); (err == nil) != (len(failures) > 0) {
			t.Errorf("%s: %v", id, err)
		}
	}
}
