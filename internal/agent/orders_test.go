package agent

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

// TestResultOutlivesLaterOrders: whatever an order of the same attempt names
// after the installation, what the installation did is not forgotten; and what
// was planned for other patches never counts.
func TestResultOutlivesLaterOrders(t *testing.T) {
	all := []deploy.PatchRef{{ID: "a", Digest: "1"}, {ID: "b", Digest: "2"}, {ID: "c", Digest: "3"}}
	some := rapid.Custom(func(t *rapid.T) []deploy.PatchRef {
		return slices.DeleteFunc(slices.Clone(all), func(p deploy.PatchRef) bool { return !rapid.Bool().Draw(t, string(p.ID)) })
	})
	rapid.Check(t, func(t *rapid.T) {
		result := &deploy.Result{Attempt: 1, RebootDue: true, Changes: []deploy.Change{{Package: "a", To: "2"}}}
		e := journal.Entry{Task: "t", Attempt: 1, Order: wire.Order{Task: "t", Attempt: 1, Action: wire.ActInstall, Patches: all}, Step: journal.Installed, Result: result}
		e.Done = map[wire.Action]wire.Event{wire.ActPlan: {Task: "t"}, wire.ActInstall: {Task: "t"}}
		for range rapid.IntRange(1, 4).Draw(t, "orders") {
			o := wire.Order{Task: "t", Attempt: 1, Patches: some.Draw(t, "patches")}
			o.Action = rapid.SampledFrom([]wire.Action{wire.ActReboot, wire.ActVerify}).Draw(t, "action")
			same := slices.Equal(o.Patches, e.Order.Patches)
			before := e
			e = accept(e, o, "boot", time.Time{})
			if e.Result != result || e.Order.Action != o.Action || !slices.Equal(e.Order.Patches, o.Patches) || e.Step != journal.Accepted {
				t.Fatalf("%+v after %+v", e, o)
			}
			if _, planned := e.Done[wire.ActPlan]; planned && !same {
				t.Fatalf("the plan for %v counts for %v", before.Order.Patches, o.Patches)
			}
			if o.Action == wire.ActReboot {
				e.Done = map[wire.Action]wire.Event{wire.ActReboot: {Task: "t"}}
			}
			if _, rebooted := before.Done[wire.ActReboot]; rebooted && len(e.Done) == 0 {
				t.Fatal("the restart is forgotten")
			}
		}
	})
}

// TestAnotherAttemptOrPlanBeginsAnew: only orders of the attempt that follow the
// installation take its result over.
func TestAnotherAttemptOrPlanBeginsAnew(t *testing.T) {
	e := journal.Entry{Task: "t", Attempt: 1, Order: wire.Order{Task: "t", Attempt: 1, Patches: []deploy.PatchRef{{ID: "a"}}}, Result: &deploy.Result{}}
	for _, o := range []wire.Order{
		{Task: "t", Attempt: 2, Action: wire.ActVerify, Patches: []deploy.PatchRef{{ID: "a"}}},
		{Task: "t", Attempt: 1, Action: wire.ActPlan, Patches: []deploy.PatchRef{{ID: patch.ID("b")}}},
		{Task: "t", Attempt: 1, Action: wire.ActInstall, Patches: []deploy.PatchRef{{ID: patch.ID("b")}}},
	} {
		if got := accept(e, o, "boot", time.Time{}); got.Result != nil || len(got.Done) > 0 || got.Attempt != o.Attempt {
			t.Errorf("%+v after %+v", got, o)
		}
	}
}
