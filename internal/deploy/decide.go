package deploy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/approval"
)

// approve drops declined patches and those no longer missing, and waits for
// the others to be approved. A dry run needs no approval.
func (a *advance) approve(t *Task) {
	var keep []PatchRef
	var declined, awaiting []string
	for _, p := range t.Patches {
		if !a.world.Lacks(t.Endpoint, p.ID) {
			continue
		}
		switch state := a.world.Approval(t.Endpoint, p.ID); {
		case a.d.DryRun || state == approval.Approved:
			keep = append(keep, p)
		case state == approval.Declined:
			declined = append(declined, string(p.ID))
		default:
			keep = append(keep, p)
			awaiting = append(awaiting, string(p.ID))
		}
	}
	switch {
	case len(keep) == 0 && len(declined) > 0:
		a.move(t, TaskCancelled, "declined: "+list(declined))
	case len(keep) == 0:
		a.move(t, NotApplicable, "the endpoint lacks none of the patches any more")
	case len(awaiting) > 0:
		a.move(t, AwaitApproval, "awaiting approval of "+list(awaiting))
	default:
		t.Patches = keep
		a.move(t, Scheduled, noted("approved", declined))
	}
}

func noted(text string, declined []string) string {
	if len(declined) == 0 {
		return text
	}
	return text + "; left out because declined: " + list(declined)
}

// list shortens a list of names for a sentence.
func list(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	return strings.Join(names, ", ")
}

// again sends a task back to the decisions. What it was to do, if it was
// planned already, is not what it will do.
func (a *advance) again(t *Task) {
	t.Plan = nil
	a.move(t, Queued, "approvals changed")
}

// unapproved reports that a patch of the task may not be installed (any more).
// What is taken back needs no approval of the patch.
func (a *advance) unapproved(t *Task) bool {
	return t.Operation != Rollback && slices.ContainsFunc(t.Patches, func(p PatchRef) bool {
		return a.world.Approval(t.Endpoint, p.ID) != approval.Approved
	})
}
