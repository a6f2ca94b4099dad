package deploy

import (
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/window"
)

// TestHostilePlans: a plan is an endpoint's word, and the server fetches what
// it names.
func TestHostilePlans(t *testing.T) {
	good := strings.Repeat("a", 64)
	for name, payloads := range map[string][]patch.Payload{
		"no hash":     {{Size: 1}},
		"short hash":  {{SHA256: "abc", Size: 1}},
		"upper case":  {{SHA256: strings.ToUpper(good), Size: 1}},
		"a path":      {{SHA256: "../" + good[3:], Size: 1}},
		"below zero":  {{SHA256: good, Size: -1}},
		"huge":        {{SHA256: good, Size: 1 << 62}},
		"huge in all": {{SHA256: good, Size: MaxPayload}, {SHA256: good, Size: MaxPayload}, {SHA256: good, Size: MaxPayload}, {SHA256: good, Size: MaxPayload}, {SHA256: good, Size: 1}},
		"too many":    make([]patch.Payload, MaxPayloads+1),
	} {
		d, tasks := oneTask()
		tasks[0].State = Planning
		got := hear(t, tasks[0], d, Report{At: start, State: Planned, Plan: &Plan{Changes: aPlan.Changes, Payloads: payloads}})
		if got.State != RetryPlanned || !strings.Contains(got.Reason, "the endpoint's plan is refused") || got.Plan != nil {
			t.Errorf("%s: the task is %s (%s), plan kept: %v", name, got.State, got.Reason, got.Plan != nil)
		}
	}
}

// TestEndpointCannotFillTheStore: whatever an endpoint says of its task, what
// is kept of it has an end.
func TestEndpointCannotFillTheStore(t *testing.T) {
	d, tasks := oneTask()
	task := tasks[0]
	task.State = Installing
	long := strings.Repeat("ö", 1<<20)
	for range 10 * MaxSteps {
		task = hear(t, task, d, Report{At: start, State: WaitingReboot, Reason: long, Result: &Result{Output: long}})
		task = hear(t, task, d, Report{At: start, State: Verifying, Progress: 1 << 40})
	}
	if !task.State.Ended() || len(task.History) > MaxSteps+1 {
		t.Errorf("after %d reports the task is %s with %d steps", 20*MaxSteps, task.State, len(task.History))
	}
	for _, s := range task.History {
		if len(s.Reason) > MaxReason {
			t.Fatalf("a reason of %d bytes is kept", len(s.Reason))
		}
	}
	if len(task.Result.Output) > MaxOutput {
		t.Errorf("an output of %d bytes is kept", len(task.Result.Output))
	}
}

// TestResumeAfterHalt: a person who lets a halted deployment go on has seen the
// failures; only new ones halt it again.
func TestResumeAfterHalt(t *testing.T) {
	d, tasks := oneTask()
	for _, id := range []TaskID{"t2", "t3", "t4"} {
		more := tasks[0]
		more.ID = id
		tasks = append(tasks, more)
	}
	for i := range 2 {
		tasks[i].State = Failed
	}
	now := start.Add(time.Minute)
	d, tasks, _ = turn(t, d, tasks, ready(), now)
	if d.Status != Halted {
		t.Fatalf("two failures leave it %s", d.Status)
	}
	d.Status, d.Reason, d.Resumed = Running, "", now
	if d, tasks, _ = turn(t, d, tasks, ready(), now); d.Status != Running || tasks[2].State != Planning {
		t.Fatalf("resumed, it is %s (%s), its next task %s", d.Status, d.Reason, tasks[2].State)
	}
	for i := range 2 {
		tasks[2+i].State, tasks[2+i].Since = Failed, now.Add(time.Second)
	}
	tasks = append(tasks, Task{ID: "t5", State: Scheduled, Created: start, Since: start, Patches: tasks[0].Patches})
	if d, _, _ = turn(t, d, tasks, ready(), now.Add(time.Minute)); d.Status != Halted {
		t.Errorf("two new failures leave it %s", d.Status)
	}
}

// TestNothingLeftAfterAnAttempt: what an earlier attempt has installed is
// proven by a fresh scan, not called "no longer applicable".
func TestNothingLeftAfterAnAttempt(t *testing.T) {
	d, tasks := oneTask()
	task := tasks[0]
	task.State, task.Attempt, task.Result = Planning, 2, &Result{Attempt: 1, Changes: aPlan.Changes}
	task = hear(t, task, d, Report{At: start, State: Planned, Plan: &Plan{}})
	if task.State != Verifying {
		t.Fatalf("the task is %s: %s", task.State, task.Reason)
	}
	if task = hear(t, task, d, Report{At: start, State: Verifying, Verdicts: verdicts}); task.State != Verified {
		t.Errorf("the task is %s: %s", task.State, task.Reason)
	}
}

func TestAbandon(t *testing.T) {
	for from, want := range map[State]State{
		Queued: TaskCancelled, Planning: TaskCancelled, RetryPlanned: TaskCancelled,
		Installing: Failed, WaitingReboot: Failed, Verifying: Failed, Verified: Verified, Expired: Expired,
	} {
		_, tasks := oneTask()
		tasks[0].State = from
		got := Abandon(tasks[0], start)
		if got.State != want || (from.Ended() != (len(got.History) == 0)) {
			t.Errorf("from %s it goes to %s (%s)", from, got.State, got.Reason)
		}
	}
}

// TestPauseOfLateAttempts: doubling a long pause many times is a long pause,
// not one before the beginning of time.
func TestPauseOfLateAttempts(t *testing.T) {
	d, tasks := oneTask()
	d.Policy.Attempts, d.Policy.RetryAfter = 20, window.Duration(maxPause)
	for attempt := 1; attempt < 20; attempt++ {
		task := tasks[0]
		task.State, task.Attempt = Installing, attempt
		if task = hear(t, task, d, Report{At: start, State: Failed}); !task.NotBefore.Equal(start.Add(maxPause)) {
			t.Fatalf("attempt %d comes at %v", attempt+1, task.NotBefore)
		}
	}
}
