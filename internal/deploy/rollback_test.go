package deploy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/window"
)

// oneRollback takes p2, which restores p0, and p1 back.
func oneRollback() (Deployment, []Task) {
	d, tasks := oneTask()
	d.Operation, d.Cause, tasks[0].Operation = Rollback, "breaks billing", Rollback
	tasks[0].Patches = []PatchRef{{ID: "p2"}, {ID: "p1"}}
	tasks[0].Restores = []Restoration{{For: "p2", Patch: PatchRef{ID: "p0"}}}
	return d, tasks
}

func hasBoth() *fleet {
	w := ready()
	w.has = map[patch.ID]bool{"p1": true, "p2": true}
	// Nothing is approved: taking back needs no approval of the patch.
	w.approvals = map[patch.ID]approval.State{"p1": approval.Declined}
	return w
}

func TestRollbackGoesTheWholeWay(t *testing.T) {
	w := hasBoth()
	d, tasks := oneRollback()
	d, tasks, _ = turn(t, d, tasks, w, start)
	if tasks[0].State != Planning {
		t.Fatalf("%s: %s", tasks[0].State, tasks[0].Reason)
	}
	tasks[0] = hear(t, tasks[0], d, Report{At: start, State: Planned, Plan: aPlan})
	d, tasks, _ = turn(t, d, tasks, w, start)
	tasks[0] = hear(t, tasks[0], d, Report{At: start, State: Staged})
	d, tasks, _ = turn(t, d, tasks, w, start)
	if tasks[0].State != Installing {
		t.Fatalf("%s: %s", tasks[0].State, tasks[0].Reason)
	}
	tasks[0] = hear(t, tasks[0], d, Report{At: start, State: Verifying, Result: &Result{Attempt: 1}})
	tasks[0] = hear(t, tasks[0], d, Report{At: start, State: Verifying, Verdicts: []PatchVerdict{{Patch: "p2"}, {Patch: "p1"}, {Patch: "p0", Installed: true}}})
	d, tasks, _ = turn(t, d, tasks, w, start)
	if tasks[0].State != Verified || d.Status != Finished || !strings.Contains(tasks[0].Reason, "taken back") {
		t.Errorf("task %s (%s), deployment %s", tasks[0].State, tasks[0].Reason, d.Status)
	}
}

func TestWhatARollbackTakes(t *testing.T) {
	for name, tt := range map[string]struct {
		setup    func(*Deployment, *Task, *fleet)
		state    State
		reason   string
		patches  []PatchRef
		restores int
	}{
		"what the machine has": {
			func(_ *Deployment, _ *Task, w *fleet) { w.has = map[patch.ID]bool{"p1": true} },
			Planning, "",
			[]PatchRef{{ID: "p1"}},
			0,
		},
		"nothing": {
			func(_ *Deployment, _ *Task, w *fleet) { w.has = nil },
			NotApplicable, "has none",
			[]PatchRef{{ID: "p2"}, {ID: "p1"}},
			1,
		},
		"not while blind": {
			func(_ *Deployment, _ *Task, w *fleet) { w.blind = true },
			Queued, "can't be told",
			[]PatchRef{{ID: "p2"}, {ID: "p1"}},
			1,
		},
		"not while halted": {
			func(d *Deployment, _ *Task, _ *fleet) { d.Status = Halted },
			Scheduled, "halted",
			[]PatchRef{{ID: "p2"}, {ID: "p1"}},
			1,
		},
		"not outside its window": {
			func(d *Deployment, x *Task, _ *fleet) {
				x.State = Staged
				d.Schedule.Freezes = []window.Freeze{{From: start, Until: start.Add(1), Reason: "year end"}}
			},
			WaitingWindow, "maintenance window",
			[]PatchRef{{ID: "p2"}, {ID: "p1"}},
			1,
		},
		"not past the breaker": {
			func(_ *Deployment, x *Task, w *fleet) { x.State, w.started = Staged, 25 },
			Staged, "blast-radius",
			[]PatchRef{{ID: "p2"}, {ID: "p1"}},
			1,
		},
	} {
		w := hasBoth()
		d, tasks := oneRollback()
		tt.setup(&d, &tasks[0], w)
		_, tasks, _ = turn(t, d, tasks, w, start)
		got := tasks[0]
		if got.State != tt.state || !strings.Contains(got.Reason, tt.reason) || len(got.Restores) != tt.restores {
			t.Errorf("%s: %s (%s), restores %v; want %s (%s)", name, got.State, got.Reason, got.Restores, tt.state, tt.reason)
		}
		if diff := cmp.Diff(tt.patches, got.Patches); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRollbackIsVerifiedOnlyByAFreshScan(t *testing.T) {
	gone, back := PatchVerdict{Patch: "p2"}, PatchVerdict{Patch: "p0", Installed: true}
	other := PatchVerdict{Patch: "p1"}
	left := &Plan{Refused: []Refusal{{Patch: "p2", Reason: "another one needs it"}}}
	for name, tt := range map[string]struct {
		plan     *Plan
		verdicts []PatchVerdict
		state    State
		reason   string
	}{
		"gone and restored":        {nil, []PatchVerdict{gone, other, back}, Verified, "taken back"},
		"still there":              {nil, []PatchVerdict{{Patch: "p2", Installed: true, Reason: "7-Zip 24 is installed"}, other, back}, Failed, "7-Zip 24 is installed"},
		"not restored":             {nil, []PatchVerdict{gone, other, {Patch: "p0", Reason: "7-Zip is not installed"}}, Failed, "7-Zip is not installed"},
		"no word of what it keeps": {nil, []PatchVerdict{gone, other}, Failed, "p0: the scan says nothing"},
		"no word of the patch":     {nil, []PatchVerdict{other, back}, Failed, "p2: the scan says nothing"},
		"one was left out":         {left, []PatchVerdict{other}, Verified, "another one needs it"},
	} {
		d, tasks := oneRollback()
		x := tasks[0]
		x.State, x.Attempt, x.Plan = Verifying, 3, tt.plan
		got := hear(t, x, d, Report{At: start, State: Verifying, Verdicts: tt.verdicts})
		if got.State != tt.state || !strings.Contains(got.Reason, tt.reason) {
			t.Errorf("%s: %s (%s), want %s (%s)", name, got.State, got.Reason, tt.state, tt.reason)
		}
	}
}

func TestRollbackPlansInItsOwnWords(t *testing.T) {
	d, tasks := oneRollback()
	x := tasks[0]
	x.State = Planning
	if got := hear(t, x, d, Report{At: start, State: Planned, Plan: &Plan{}}); got.State != NotApplicable || !strings.Contains(got.Reason, "take back") {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
	refused := &Plan{Refused: []Refusal{{Patch: "p2", Reason: "the machine's policy forbids it"}}}
	if got := hear(t, x, d, Report{At: start, State: Planned, Plan: refused}); got.State != Failed || !strings.Contains(got.Reason, "nothing can be taken back: p2 (the machine's policy") {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
}

func TestReversible(t *testing.T) {
	files := []patch.Item{{Kind: "file", Name: "setup.exe", Version: "2"}}
	listed := append([]patch.Item{{Kind: "app", Name: "tool|maker", Version: "2"}}, files...)
	for name, tt := range map[string]struct {
		kind  string
		argv  []string
		items []patch.Item
		says  string
	}{
		"a package":            {"apt", []string{"apt-get"}, listed, "apt packages have no safe way back"},
		"a product":            {"exe", []string{"{uninstall}", "/S"}, listed, ""},
		"no way":               {"msu", nil, nil, "says no way to uninstall it"},
		"an update":            {"msu", []string{"Package_for_KB1~a~amd64~~1.0"}, files, ""},
		"a program by files":   {"exe", []string{"{payload}", "/uninstall"}, files, "recognised by its files alone"},
		"a package by files":   {"msi", []string{"{uninstall}"}, files, "recognised by its files alone"},
		"a program by nothing": {"exe", []string{"{uninstall}"}, nil, "recognised by its files alone"},
	} {
		err := Reversible(patch.Patch{ID: "p", Items: tt.items, Install: patch.Manifest{Kind: tt.kind, UninstallArgv: tt.argv}})
		if tt.says == "" && err == nil {
			continue
		}
		if !fault.Is(err, fault.Unsupported) || fault.HintOf(err) == "" || tt.says == "" || !strings.Contains(err.Error(), "p can't be rolled back: ") || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneVersion(t *testing.T) {
	p := func(id, product, version, platform string) patch.Patch {
		return patch.Patch{ID: patch.ID(id), Vendor: "v", Product: product, Version: version, Platform: platform}
	}
	for name, tt := range map[string]struct {
		patches []patch.Patch
		says    string
	}{
		"one":                 {[]patch.Patch{p("a1", "a", "1", "x")}, ""},
		"two products":        {[]patch.Patch{p("a1", "a", "1", "x"), p("b2", "b", "2", "x")}, ""},
		"two forms of one":    {[]patch.Patch{p("a1", "a", "1", "x"), p("a1:msi", "a", "1", "x")}, ""},
		"on two platforms":    {[]patch.Patch{p("a1", "a", "1", "x"), p("a2", "a", "2", "y")}, ""},
		"two versions of one": {[]patch.Patch{p("a1", "a", "1", "x"), p("b2", "b", "2", "x"), p("a2", "a", "2", "x")}, "a1 and a2 are two versions of a"},
	} {
		err := OneVersion(tt.patches)
		if (err == nil) != (tt.says == "") || err != nil && (!fault.Is(err, fault.Invalid) || !strings.Contains(fault.Public(err), tt.says) || fault.HintOf(err) == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
