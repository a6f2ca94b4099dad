package agent

import (
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/agent/journal"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// TestTrustRow11Operations: an operation that the agent does not know is not
// taken for an installation, and what was planned or done to install does not
// count for taking back.
func TestTrustRow11Operations(t *testing.T) {
	refs := []deploy.PatchRef{{ID: "a", Digest: "1"}}
	for _, op := range []deploy.Operation{"install", "remove", "ROLLBACK", "rollback "} {
		if err := (Policy{}).may(op, refs); !fault.Is(err, fault.Unsupported) {
			t.Errorf("%q: %v", op, err)
		}
	}
	e := journal.Entry{Task: "t", Attempt: 1, Order: wire.Order{Task: "t", Attempt: 1, Action: wire.ActInstall, Patches: refs}}
	e.Result = &deploy.Result{Attempt: 1}
	e.Done = map[wire.Action]wire.Event{wire.ActPlan: {Task: "t"}, wire.ActInstall: {Task: "t"}}
	o := wire.Order{Task: "t", Attempt: 1, Action: wire.ActInstall, Operation: deploy.Rollback, Patches: refs}
	if sameWork(e, o) {
		t.Error("an installation counts for a rollback")
	}
	if got := accept(e, o, "boot", time.Time{}); got.Result != nil || len(got.Done) > 0 || got.Order.Operation != deploy.Rollback {
		t.Errorf("%+v", got)
	}
}
