//go:build !windows

package winpkg

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// replacing is a patch that has the version before it uninstalled, and that.
func replacing() (p, before patch.Patch) {
	p, before = item("a", "2.0"), item("a", "1.0")
	p.Install.Replace, p.Install.Restores = patch.ReplaceUninstall, before.ID
	return p, before
}

// TestReplace: the version before goes first; when the new one does not come, it
// is put back, and whatever happens is said.
func TestReplace(t *testing.T) {
	failed := Outcome{Code: 1603, Meaning: patch.ExitFailed, Reason: "1603: fatal"}
	nothing := Outcome{Code: 7, Meaning: patch.ExitOK} // says "done" and does nothing
	for name, tc := range map[string]struct {
		answers []Outcome
		alone   bool // nothing to put back
		calls   string
		left    string // the version that is there in the end
		says    string // the first failure
	}{
		"done":             {[]Outcome{{Meaning: patch.ExitOK}}, false, "remove a 2.0, install a 2.0", "2.0", ""},
		"restart due":      {[]Outcome{{Code: 3010, Meaning: patch.ExitRebootDue}}, false, "remove a 2.0, install a 2.0", "2.0", ""},
		"can't be removed": {[]Outcome{failed}, false, "remove a 2.0", "1.0", "1603: fatal"},
		"removed in words": {[]Outcome{nothing}, false, "remove a 2.0", "1.0", "(1.0) could not be uninstalled: Windows still lists it after exit code 7"},
		"put back":         {[]Outcome{{Meaning: patch.ExitOK}, failed, {Meaning: patch.ExitOK}}, false, "remove a 2.0, install a 2.0, install a 1.0", "1.0", "1603: fatal; the version before it had been uninstalled; a 1.0 was put back"},
		"did nothing":      {[]Outcome{{Meaning: patch.ExitOK}, nothing, {Meaning: patch.ExitOK}}, false, "remove a 2.0, install a 2.0, install a 1.0", "1.0", "exit code 7, but Windows does not list it: it did nothing; the version before it had been uninstalled; a 1.0 was put back"},
		"not put back":     {[]Outcome{{Meaning: patch.ExitOK}, failed, failed}, false, "remove a 2.0, install a 2.0, install a 1.0", "", "the machine is without a now: a 1.0 could not be put back: 1603: fatal"},
		"nothing to put":   {[]Outcome{{Meaning: patch.ExitOK}, failed}, true, "remove a 2.0, install a 2.0", "", "the machine is without a now: the catalog has nothing to put back"},
	} {
		bubble(t, name, func(t *testing.T) {
			w := &world{listed: []inventory.Package{row("a", "1.0")}, answer: map[string][]Outcome{"a": tc.answers}}
			p, before := replacing()
			job := w.job(t, p)
			if !tc.alone {
				job.Restored = []patch.Patch{before}
			}
			res, err := w.installer().Install(t.Context(), job, silent)
			if err != nil || strings.Join(w.calls, ", ") != tc.calls {
				t.Fatalf("%v %v %+v", err, w.calls, res)
			}
			if left := machineRows(list(w.listed), p); (len(left) == 0) != (tc.left == "") || len(left) > 0 && left[0].Version != tc.left {
				t.Errorf("Windows lists %+v", left)
			}
			if (len(res.Failures) == 0) != (tc.says == "") || tc.says != "" && !strings.Contains(res.Failures[0].Reason, tc.says) {
				t.Errorf("%+v", res.Failures)
			}
			if changed := len(res.Changes) > 0; changed != (tc.left != "1.0") {
				t.Errorf("%+v", res.Changes)
			}
		})
	}
}

// slow is a machine on which installing 2.0 takes longer than it may.
type slow struct{ *world }

func (s *slow) Install(ctx context.Context, work *Work) (Outcome, error) {
	if work.Patch.Version != "2.0" {
		return s.world.Install(ctx, work)
	}
	<-ctx.Done()
	return Outcome{}, fault.New(fault.Cancelled, "the installer was ended")
}

// TestReplaceGoesOn: an attempt that was cut off, or that ended, after the
// removal is followed by one that installs, though nothing of the product is
// there to be upgraded.
func TestReplaceGoesOn(t *testing.T) {
	bubble(t, "cut off", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0")}}
		p, before := replacing()
		job := w.job(t, p)
		job.Restored = []patch.Patch{before}
		in := w.installer()
		s := &session{in: in, job: job, res: deploy.Result{Started: time.Now().UTC()}}
		_, steps := in.plan(job)
		if err := s.begin(t.Context(), steps); err != nil {
			t.Fatal(err)
		}
		w.list(p, "")
		job.Snapshot = w.job(t).Snapshot
		if _, done, err := in.Recover(t.Context(), job); done || err != nil {
			t.Fatalf("%v %v", done, err)
		}
		res, err := in.Install(t.Context(), job, silent)
		if err != nil || strings.Join(w.calls, ", ") != "install a 2.0" || len(res.Changes) != 1 || res.Changes[0].From != "1.0" {
			t.Errorf("%v %v %+v", err, w.calls, res)
		}
	})
	bubble(t, "ended without it", func(t *testing.T) {
		failed := Outcome{Code: 1603, Meaning: patch.ExitFailed, Reason: "1603: fatal"}
		w := &world{listed: []inventory.Package{row("a", "1.0")}, answer: map[string][]Outcome{"a": {{Meaning: patch.ExitOK}, failed, failed, {Meaning: patch.ExitOK}}}}
		p, _ := replacing()
		job := w.job(t, p)
		for attempt := range 3 { // the second fails as well
			job.Attempt, job.Snapshot = attempt+1, list(w.listed)
			job.Snapshot.OS = inventory.OS{Family: "windows", Arch: "amd64"}
			if _, err := w.installer().Install(t.Context(), job, silent); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(w.calls, ", "); got != "remove a 2.0, install a 2.0, install a 2.0, install a 2.0" || len(w.listed) != 1 {
			t.Errorf("%s: %+v", got, w.listed)
		}
	})
	bubble(t, "the time is up", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0")}}
		p, before := replacing()
		job := w.job(t, p)
		job.Restored = []patch.Patch{before}
		in := w.installer()
		in.kinds["lab"] = &slow{w}
		_, err := in.Install(t.Context(), job, silent)
		if !fault.Is(err, fault.Cancelled) || !strings.Contains(fault.Public(err), "a 1.0 was put back") || len(w.listed) != 1 || w.listed[0].Version != "1.0" {
			t.Errorf("%v %+v", err, w.listed)
		}
	})
}

// TestReplaceIsRefused where nobody can say how to make room.
func TestReplaceIsRefused(t *testing.T) {
	w := &world{listed: []inventory.Package{row("a", "1.0")}}
	for want, change := range map[string]func(*patch.Manifest){
		"says no way to do that": func(m *patch.Manifest) { m.UninstallArgv = []string{"{payload}", "/u"} },
		"does not know how":      func(m *patch.Manifest) { m.Replace = "magic" },
	} {
		p, _ := replacing()
		change(&p.Install)
		plan, err := w.installer().Plan(t.Context(), w.job(t, p))
		if err != nil || len(plan.Changes) > 0 || len(plan.Refused) != 1 || !strings.Contains(plan.Refused[0].Reason, want) {
			t.Errorf("%v %+v", err, plan)
		}
	}
}
