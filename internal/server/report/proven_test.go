package report

import (
	"testing"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/patch"
)

// A task that failed at one patch has still proven the others, when the scan
// after it says so.
func TestFailedTaskHasProvenTheOthers(t *testing.T) {
	r := &request{Writer: &Writer{patch: func(id patch.ID) (patch.Patch, error) {
		return patch.Patch{ID: id, Items: []patch.Item{{Kind: "dpkg", Name: string(id)}}}, nil
	}}}
	task := deploy.Task{
		State: deploy.Failed, Reason: "bad: postinst returned 1", Patches: []deploy.PatchRef{{ID: "good"}, {ID: "bad"}, {ID: "half"}},
		Result: &deploy.Result{
			Failures: []deploy.ItemError{{Package: "bad", Reason: "postinst returned 1"}},
			Changes:  []deploy.Change{{Package: "good", From: "1", To: "2"}, {Package: "half", From: "1", To: "2"}},
		},
		Verdicts: []deploy.PatchVerdict{
			{Patch: "good", Installed: true, Reason: "good 2 is installed"}, {Patch: "bad", Installed: true}, {Patch: "half", Reason: "half is 1"},
		},
	}
	back := task
	back.Operation, back.Result = deploy.Rollback, nil
	back.Verdicts = []deploy.PatchVerdict{{Patch: "good", Reason: "good is gone"}, {Patch: "bad"}, {Patch: "old", Installed: true}, {Patch: "half", Installed: true}}
	back.Restores = []deploy.Restoration{{For: "good", Patch: deploy.PatchRef{ID: "old"}}, {For: "bad", Patch: deploy.PatchRef{ID: "older"}}}
	for _, tc := range []struct {
		task           deploy.Task
		id             patch.ID
		result, reason string
	}{
		{task, "good", resultInstalled, "good 2 is installed"},
		{task, "bad", resultFailed, "bad: postinst returned 1"},
		{task, "half", resultChanged, task.Reason},
		{back, "good", resultBack, "good is gone"},
		{back, "bad", resultFailed, task.Reason}, // what it restores is not there
		{back, "half", resultFailed, task.Reason},
	} {
		if result, reason, _ := r.outcome(tc.task, tc.id); result != tc.result || reason != tc.reason {
			t.Errorf("%s %s: %s, %q", operation(tc.task), tc.id, result, reason)
		}
	}
}
