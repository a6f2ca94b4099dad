//go:build !windows

// What is the same everywhere is tested where Go can remove its temporary
// folders: Wine 8 lacks the call.

package winpkg

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

// world is a machine whose installers do as they are told.
type world struct {
	mu     sync.Mutex // late changes come by themselves
	listed []inventory.Package
	calls  []string
	answer map[string][]Outcome // by product; the last repeats
	err    map[string]error
	// lag is how long after the installer's end Windows lists the change.
	lag time.Duration
}

func (w *world) Extension() string { return "" }
func (w *world) Registers() bool   { return true }

func (w *world) Install(_ context.Context, work *Work) (Outcome, error) {
	return w.do("install", work.Patch, func() { w.list(work.Patch, version(work.Patch)) })
}

func (w *world) Uninstall(_ context.Context, work *Work) (Outcome, error) {
	return w.do("remove", work.Patch, func() { w.list(work.Patch, "") })
}

func (w *world) do(what string, p patch.Patch, change func()) (Outcome, error) {
	w.mu.Lock()
	w.calls = append(w.calls, what+" "+p.Product+" "+p.Version)
	lag := w.lag
	w.mu.Unlock()
	if err := w.err[p.Product]; err != nil {
		return Outcome{}, err
	}
	out := Outcome{Meaning: patch.ExitOK}
	if a := w.answer[p.Product]; len(a) > 0 {
		out = a[0]
		if len(a) > 1 {
			w.answer[p.Product] = a[1:]
		}
	}
	if out.Meaning == patch.ExitOK && out.Code == 0 || out.Meaning == patch.ExitRebootDue || out.Meaning == patch.ExitRebootBegun {
		if lag == 0 {
			change()
		} else {
			time.AfterFunc(lag, change)
		}
	}
	return out, nil
}

// list puts the product's version into Windows' list; "" takes it out.
func (w *world) list(p patch.Patch, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []inventory.Package
	for _, have := range w.listed {
		if have.Name != p.Product {
			out = append(out, have)
		}
	}
	if version != "" {
		out = append(out, row(p.Product, version))
	}
	w.listed = out
}

func row(name, version string) inventory.Package {
	return inventory.Package{Kind: "arp", Name: name, Arch: "amd64", Version: version, Title: name, Publisher: "Acme"}
}

func item(name, version string) patch.Patch {
	return patch.Patch{
		ID: patch.ID(name + ":" + version), Platform: "windows-apps-amd64", Product: name, Version: version,
		Items:   []patch.Item{{Kind: "arp", Name: name, Version: version}},
		Install: patch.Manifest{Kind: "lab", UninstallArgv: []string{"{uninstall}"}},
	}
}

func (w *world) installer() *Installer {
	stock := func(context.Context) ([]inventory.Package, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.listed, nil
	}
	return New(run.OS{}, stock, map[string]Kind{"lab": w})
}

func (w *world) job(t *testing.T, patches ...patch.Patch) install.Job {
	snap := &inventory.Snapshot{OS: inventory.OS{Family: "windows", Arch: "amd64"}, Packages: list(w.listed).Packages}
	return install.Job{Task: "t", Attempt: 1, Patches: patches, Snapshot: snap, Dir: t.TempDir()}
}

func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func silent(install.Progress) {}

func TestFlow(t *testing.T) {
	bubble(t, "in order, and late entries are waited for", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0"), row("b", "1.0")}, lag: 3 * time.Second}
		res, err := w.installer().Install(t.Context(), w.job(t, item("b", "2.0"), item("a", "2.0")), silent)
		want := []deploy.Change{{Package: "b", Arch: "amd64", From: "1.0", To: "2.0", Why: "approved"}, {Package: "a", Arch: "amd64", From: "1.0", To: "2.0", Why: "approved"}}
		if d := cmp.Diff(want, res.Changes); err != nil || d != "" || len(res.Failures) > 0 || strings.Join(w.calls, ", ") != "install b 2.0, install a 2.0" {
			t.Errorf("%v %+v %s %v", err, res, d, w.calls)
		}
	})
	bubble(t, "what a failed patch is required for is left out", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0"), row("b", "1.0"), row("c", "1.0")}}
		w.answer = map[string][]Outcome{"a": {{Code: 1603, Meaning: patch.ExitFailed, Reason: "1603: fatal"}}}
		b := item("b", "2.0")
		b.Requires = []patch.ID{"a:2.0"}
		res, err := w.installer().Install(t.Context(), w.job(t, item("a", "2.0"), b, item("c", "2.0")), silent)
		if err != nil || len(res.Changes) != 1 || len(res.Failures) != 2 || res.Failures[0].Reason != "1603: fatal" || !strings.Contains(res.Failures[1].Reason, "a:2.0, which it requires, failed") || res.ExitCode != 1603 {
			t.Errorf("%v %+v", err, res)
		}
	})
	bubble(t, "nothing is begun after a restart was", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0"), row("b", "1.0")}}
		w.answer = map[string][]Outcome{"a": {{Code: 1641, Meaning: patch.ExitRebootBegun}}}
		res, err := w.installer().Install(t.Context(), w.job(t, item("a", "2.0"), item("b", "2.0")), silent)
		if err != nil || !res.RebootDue || len(w.calls) != 1 || len(res.Failures) != 1 || !strings.Contains(res.Failures[0].Reason, "left for the next attempt") {
			t.Errorf("%v %+v %v", err, res, w.calls)
		}
	})
	bubble(t, "done, it said", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0")}, lag: time.Hour}
		res, err := w.installer().Install(t.Context(), w.job(t, item("a", "2.0")), silent)
		if err != nil || len(res.Changes) > 0 || len(res.Failures) != 1 || !strings.Contains(res.Failures[0].Reason, "exit code 0, but Windows still lists version 1.0: it did nothing") {
			t.Errorf("%v %+v", err, res)
		}
		synctest.Wait()
		time.Sleep(time.Hour) // the late change, so that nothing is left in the bubble
	})
	bubble(t, "busy, then done", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0")}}
		busy := Outcome{Code: 1618, Meaning: patch.ExitBusy, Reason: "1618: another installation is at work"}
		w.answer = map[string][]Outcome{"a": {busy, busy, {Meaning: patch.ExitOK}}}
		var lines []string
		start := time.Now()
		res, err := w.installer().Install(t.Context(), w.job(t, item("a", "2.0")), func(p install.Progress) { lines = append(lines, p.Line) })
		if err != nil || len(res.Changes) != 1 || len(w.calls) != 3 || time.Since(start) != firstPause*3 || !strings.Contains(strings.Join(lines, "|"), "waiting: 1618") {
			t.Errorf("%v %+v %v %s", err, res, lines, time.Since(start))
		}
	})
	bubble(t, "busy all the time", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0")}}
		w.answer = map[string][]Outcome{"a": {{Code: 1618, Meaning: patch.ExitBusy, Reason: "1618"}}}
		job := w.job(t, item("a", "2.0"))
		res, err := w.installer().Install(t.Context(), job, silent)
		if !fault.Is(err, fault.Unavailable) || len(res.Changes) > 0 {
			t.Errorf("%v %+v", err, res)
		}
		if _, begun := readBegun(job); begun {
			t.Error("something counts as begun though nothing was changed")
		}
	})
	bubble(t, "stopped by the time", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0"), row("b", "1.0")}}
		w.err = map[string]error{"b": fault.New(fault.Cancelled, "ended after 1h")}
		job := w.job(t, item("a", "2.0"), item("b", "2.0"))
		res, err := w.installer().Install(t.Context(), job, silent)
		if !fault.Is(err, fault.Cancelled) || len(res.Changes) != 1 {
			t.Errorf("%v %+v", err, res)
		}
	})
}

func TestRollback(t *testing.T) {
	bubble(t, "to the version before", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "2.0")}}
		p, before := item("a", "2.0"), item("a", "1.0")
		p.Install.Restores = before.ID
		job := w.job(t, p)
		job.Operation, job.Restored = deploy.Rollback, []patch.Patch{before}
		res, err := w.installer().Install(t.Context(), job, silent)
		want := []deploy.Change{{Package: "a", Arch: "amd64", From: "2.0", To: "1.0", Why: "rolled back"}}
		if d := cmp.Diff(want, res.Changes); err != nil || d != "" || strings.Join(w.calls, ", ") != "remove a 2.0, install a 1.0" {
			t.Errorf("%v %s %v %+v", err, d, w.calls, res)
		}
	})
	bubble(t, "a removal that lags is waited for", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "2.0")}, lag: 30 * time.Second}
		p, before := item("a", "2.0"), item("a", "1.0")
		p.Install.Restores = before.ID
		job := w.job(t, p)
		job.Operation, job.Restored = deploy.Rollback, []patch.Patch{before}
		start := time.Now()
		done := make(chan struct{})
		go func() { // while the removal is under way nothing else is begun
			time.Sleep(29 * time.Second)
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.calls) != 1 {
				t.Errorf("too early: %v", w.calls)
			}
			w.lag = 0
			close(done)
		}()
		res, err := w.installer().Install(t.Context(), job, silent)
		<-done
		if err != nil || len(res.Changes) != 1 || res.Changes[0].To != "1.0" || len(w.calls) != 2 || time.Since(start) < 30*time.Second {
			t.Errorf("%v %+v %v", err, res, w.calls)
		}
	})
	bubble(t, "what can't be removed is not replaced", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "2.0")}}
		w.answer = map[string][]Outcome{"a": {{Code: 1603, Meaning: patch.ExitFailed, Reason: "1603"}}}
		p, before := item("a", "2.0"), item("a", "1.0")
		p.Install.Restores = before.ID
		job := w.job(t, p)
		job.Operation, job.Restored = deploy.Rollback, []patch.Patch{before}
		res, err := w.installer().Install(t.Context(), job, silent)
		if err != nil || len(res.Changes) > 0 || len(res.Failures) != 2 || len(w.calls) != 1 || !strings.Contains(res.Failures[1].Reason, "a:2.0 could not be removed") {
			t.Errorf("%v %+v %v", err, res, w.calls)
		}
	})
	bubble(t, "an attempt that only removed goes on", func(t *testing.T) {
		w := &world{}
		p, before := item("a", "2.0"), item("a", "1.0")
		p.Install.Restores = before.ID
		job := w.job(t, p)
		job.Operation, job.Restored = deploy.Rollback, []patch.Patch{before}
		res, err := w.installer().Install(t.Context(), job, silent)
		if err != nil || len(res.Changes) != 1 || strings.Join(w.calls, ", ") != "install a 1.0" {
			t.Errorf("%v %+v %v", err, res, w.calls)
		}
	})
}

// TestRecover: whether something was done is for Windows' list to say.
func TestRecover(t *testing.T) {
	bubble(t, "all", func(t *testing.T) {
		w := &world{listed: []inventory.Package{row("a", "1.0"), row("b", "1.0")}}
		job := w.job(t, item("a", "2.0"), item("b", "2.0"))
		in := w.installer()
		if _, done, err := in.Recover(t.Context(), job); done || err != nil {
			t.Fatalf("nothing was begun: %v %v", done, err)
		}
		s := &session{in: in, job: job, res: deploy.Result{Started: time.Now().UTC()}}
		_, steps := in.plan(job)
		if err := s.begin(t.Context(), steps); err != nil {
			t.Fatal(err)
		}
		w.list(item("a", ""), "2.0")
		res, done, err := in.Recover(t.Context(), job)
		if err != nil || done || len(res.Changes) != 1 {
			t.Fatalf("half done: %v %v %+v", done, err, res)
		}
		// Install goes on with what is left, and its result covers the whole.
		job.Snapshot = w.job(t).Snapshot
		res, err = in.Install(t.Context(), job, silent)
		if err != nil || len(res.Changes) != 2 || strings.Join(w.calls, ", ") != "install b 2.0" {
			t.Fatalf("%v %+v %v", err, res, w.calls)
		}
		if err := s.begin(t.Context(), steps); err != nil {
			t.Fatal(err)
		}
		if _, done, err = in.Recover(t.Context(), job); err != nil || !done {
			t.Fatalf("done: %v %v", done, err)
		}
		other := job
		other.Attempt = 2
		if err := s.begin(t.Context(), steps); err != nil {
			t.Fatal(err)
		}
		if _, done, _ = in.Recover(t.Context(), other); done {
			t.Error("another attempt's notes count")
		}
		if filepath.Base(begunPath(job)) != "begun.json" {
			t.Error(begunPath(job))
		}
	})
}

func TestPlan(t *testing.T) {
	never, always := false, true
	w := &world{listed: []inventory.Package{row("a", "1.0"), row("new", "3.0"), {Kind: "arp", Name: "mine", Arch: "amd64", Version: "1.0", Title: "mine", Scope: `user:LAB\mia`}}}
	signed := item("a", "2.0")
	signed.Items[0].Payload = patch.Payload{SHA256: strings.Repeat("ab", 32), Size: 5, Name: "dir/a.exe", Signer: "Acme"}
	for _, tc := range []struct {
		name    string
		change  func(p *patch.Patch)
		p       patch.Patch
		refused string // part of the reason
		changes int
	}{
		{"older", nil, item("a", "2.0"), "", 1},
		{"as new", nil, item("a", "1.0"), "", 0},
		{"newer", nil, item("new", "2.0"), "", 0},
		{"the same, and not whole", func(p *patch.Patch) {
			p.Applicable, p.Installed = &detect.Rule{Always: &always}, &detect.Rule{Always: &never}
		}, item("a", "1.0"), "", 1},
		{"newer, whatever its rule says", func(p *patch.Patch) {
			p.Applicable, p.Installed = &detect.Rule{Always: &always}, &detect.Rule{Always: &never}
		}, item("new", "2.0"), "", 0},
		{"not here", nil, item("x", "2.0"), "it does not apply to this machine", 0},
		{"a user's", nil, item("mine", "2.0"), `only LAB\mia has it`, 0},
		{"another kind", func(p *patch.Patch) { p.Install.Kind = "dnf" }, item("a", "2.0"), "no installer for patches of the kind dnf", 0},
		{"for users", func(p *patch.Patch) { p.Install.Scope = "user" }, item("a", "2.0"), "for single users", 0},
		{"ruled out", func(p *patch.Patch) { p.Applicable = &detect.Rule{Always: &never} }, item("a", "2.0"), "does not apply", 0},
		{"software that is new here", func(p *patch.Patch) {
			p.Applicable, p.Installed = &detect.Rule{Always: &always}, &detect.Rule{Always: &never}
		}, item("x", "2.0"), "", 1},
		{"no certificates", nil, signed, "trusts no certificates", 0},
		{"no signer", func(p *patch.Patch) { p.Items[0].Payload.Signer = "" }, clone(signed), "does not say who must have signed a.exe", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.change != nil {
				tc.change(&tc.p)
			}
			plan, err := w.installer().Plan(t.Context(), w.job(t, tc.p))
			refused := ""
			if len(plan.Refused) > 0 {
				refused = plan.Refused[0].Reason
			}
			if err != nil || (tc.refused == "") != (refused == "") || !strings.Contains(refused, tc.refused) || len(plan.Changes) != tc.changes {
				t.Errorf("%v %+v", err, plan)
			}
		})
	}
	job := w.job(t, signed)
	job.CodeSigning = &catalog.CodeSigning{Roots: [][]byte{{1}}}
	plan, _ := w.installer().Plan(t.Context(), job)
	if err := plan.Check(); err != nil || plan.DownloadBytes != 5 || len(plan.Payloads) != 1 {
		t.Errorf("%v %+v", err, plan)
	}
	if _, err := w.installer().Install(t.Context(), job, silent); !fault.Is(err, fault.Invalid) {
		t.Errorf("a damaged certificate: %v", err)
	}
}

func clone(p patch.Patch) patch.Patch {
	p.Items = append([]patch.Item(nil), p.Items...)
	return p
}

func TestPlanRollback(t *testing.T) {
	w := &world{listed: []inventory.Package{row("a", "2.0")}}
	before := item("a", "1.0")
	for _, tc := range []struct {
		name     string
		p        patch.Patch
		change   func(p *patch.Patch)
		restored []patch.Patch
		refused  string
		changes  int
	}{
		{"as it is", item("a", "2.0"), nil, nil, "", 1},
		{"newer by now", item("a", "1.5"), nil, nil, "the machine has version 2.0 by now", 0},
		{"gone by now", item("b", "2.0"), nil, nil, "", 0},
		{"an older one", item("a", "3.0"), nil, nil, "", 0},
		{"no way", item("a", "2.0"), func(p *patch.Patch) { p.Install.UninstallArgv = nil }, nil, "no way to uninstall it", 0},
		{"nothing to restore", item("a", "2.0"), func(p *patch.Patch) { p.Install.Restores = before.ID }, nil, "does not stand in this machine's catalog", 0},
		{"restored for users", item("a", "2.0"), func(p *patch.Patch) { p.Install.Restores = before.ID }, []patch.Patch{{ID: before.ID, Install: patch.Manifest{Kind: "lab", Scope: "user"}}}, "the version before it can't be installed", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.change != nil {
				tc.change(&tc.p)
			}
			job := w.job(t, tc.p)
			job.Operation, job.Restored = deploy.Rollback, tc.restored
			plan, err := w.installer().Plan(t.Context(), job)
			refused := ""
			if len(plan.Refused) > 0 {
				refused = plan.Refused[0].Reason
			}
			if err != nil || (tc.refused == "") != (refused == "") || !strings.Contains(refused, tc.refused) || len(plan.Changes) != tc.changes {
				t.Errorf("%v %+v", err, plan)
			}
		})
	}
}

func TestChanges(t *testing.T) {
	msi := func(code, version string) inventory.Package {
		return inventory.Package{Kind: "arp", Name: code, Arch: "amd64", Version: version, Title: "Lab Editor " + version, Publisher: "Acme Inc.", UpgradeCode: "{U}"}
	}
	before := []inventory.Package{msi("{1}", "1.0"), row("a", "1.0"), row("gone", "1.0"), {Kind: "arp", Name: "u", Version: "1.0", Scope: "user:x"}}
	after := []inventory.Package{msi("{2}", "2.0"), row("a", "1.0"), row("came", "1.0"), {Kind: "arp", Name: "u", Version: "2.0", Scope: "user:x"}, {Kind: "kb", Name: "KB1"}}
	want := []deploy.Change{
		{Package: "Lab Editor 2.0", Arch: "amd64", From: "1.0", To: "2.0"},
		{Package: "came", Arch: "amd64", To: "1.0"},
		{Package: "KB1"},
		{Package: "gone", Arch: "amd64", From: "1.0"},
	}
	if d := cmp.Diff(want, changes(before, after, func(inventory.Package) string { return "" })); d != "" {
		t.Error(d)
	}
}

func TestJudge(t *testing.T) {
	kind := map[int64]Exit{3010: {patch.ExitRebootDue, "a restart is due"}, 1: {patch.ExitFailed, "cancelled or so"}}
	manifest := map[int]patch.ExitMeaning{1: patch.ExitOK, -5: patch.ExitNotNeeded, 0x80070005: patch.ExitBusy, 7: patch.ExitFailed}
	for _, tc := range []struct {
		code    int64
		meaning patch.ExitMeaning
		reason  string
	}{
		{0, patch.ExitOK, ""},
		{1, patch.ExitOK, ""},
		{3010, patch.ExitRebootDue, "3010: a restart is due"},
		{4294967291, patch.ExitNotNeeded, "4294967291 (0xFFFFFFFB): it is installed already"},
		{0x80070005, patch.ExitBusy, "2147942405 (0x80070005): another installation is at work"},
		{7, patch.ExitFailed, "7: the installation failed"},
		{1223, patch.ExitFailed, "1223: it was cancelled by the user"},
		{-1073741819, patch.ExitFailed, "3221225477 (0xC0000005): the installer crashed (access violation)"},
		{4711, patch.ExitFailed, "4711: an exit code that neither the vendor nor Windows explains"},
	} {
		if got := Judge(tc.code, manifest, kind); got.Meaning != tc.meaning || got.Reason != tc.reason {
			t.Errorf("%d: %+v, want %s %q", tc.code, got, tc.meaning, tc.reason)
		}
	}
}

// TestBeat: a silent installer is heard of all the same.
func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		s := &session{report: func(p install.Progress) { lines = append(lines, p.Line) }}
		stop := s.beat(t.Context())
		time.Sleep(3*beatPause + time.Second)
		stop()
		if d := cmp.Diff([]string{"still at work after 1m0s", "still at work after 2m0s", "still at work after 3m0s"}, lines); d != "" {
			t.Error(d)
		}
	})
}

// TestRoom: a plan that no disk has room for is refused before anything is
// fetched, in words; files and what they install are counted on their disks.
func TestRoom(t *testing.T) {
	const mib = 1 << 20
	big := item("a", "2.0")
	big.Items[0].Payload = patch.Payload{SHA256: strings.Repeat("ab", 32), Size: 100 * mib, Name: "a.exe", Signer: "Acme"}
	for name, tc := range map[string]struct {
		state, system string // their disks
		free          map[string]int64
		says          string
		late          bool // the files are there, and room is refused all the same
	}{
		"one disk, room":         {"C:", "C:", map[string]int64{"C:": (300 + 64) * mib}, "", false},
		"one disk, no room":      {"C:", "C:", map[string]int64{"C:": (300+64)*mib - 1}, "has 363 MiB free, the installation needs 364 MiB", false},
		"one disk, too little":   {"C:", "C:", map[string]int64{"C:": (200+64)*mib - 1}, "has 263 MiB free, the installation needs 364 MiB", true},
		"two disks, room":        {"D:", "C:", map[string]int64{"D:": 164 * mib, "C:": 264 * mib}, "", false},
		"no room for the files":  {"D:", "C:", map[string]int64{"D:": 163 * mib, "C:": 264 * mib}, "has 163 MiB free, the installation needs 164 MiB", false},
		"no room for the system": {"D:", "C:", map[string]int64{"D:": 164 * mib, "C:": 263 * mib}, "has 263 MiB free, the installation needs 264 MiB", true},
		"the disk does not tell": {"D:", "D:", nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{listed: []inventory.Package{row("a", "1.0")}}
			in := w.installer()
			in.system = "system"
			in.disk = func(dir string) (string, int64, error) {
				on := tc.state
				if dir == "system" {
					on = tc.system
				}
				free, known := tc.free[on]
				if !known {
					return "", 0, fault.New(fault.Unavailable, "no word")
				}
				return on, free, nil
			}
			job := w.job(t, big)
			job.CodeSigning = &catalog.CodeSigning{Roots: [][]byte{{1}}}
			plan, err := in.Plan(t.Context(), job)
			if plan.DiskBytes != 200*mib || plan.DownloadBytes != 100*mib {
				t.Errorf("%+v", plan)
			}
			if (err == nil) != (tc.says == "") || err != nil && (!fault.Is(err, fault.Exhausted) || !strings.Contains(fault.Public(err), tc.says) || fault.HintOf(err) == "") {
				t.Errorf("%v", err)
			}
			if late := in.room(job, plan, true); (late != nil) != tc.late {
				t.Errorf("with the files there: %v", late)
			}
		})
	}
}
