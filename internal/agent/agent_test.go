package agent

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

// TestEnrollTrust is trust.md's row 5 from the agent's side: whoever is not
// proven gets nothing, and nothing of it is kept.
func TestEnrollTrust(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	zero := "sha256:" + strings.Repeat("0", 64)
	for name, tc := range map[string]struct {
		change func(*EnrollOptions)
		code   fault.Code
		says   string
	}{
		"wrong CA fingerprint":   {func(o *EnrollOptions) { o.CA = zero }, fault.Untrusted, "expected a CA with fingerprint " + zero},
		"wrong root fingerprint": {func(o *EnrollOptions) { o.Repo = zero }, fault.Untrusted, "root is refused"},
		"no fingerprint":         {func(o *EnrollOptions) { o.CA = "sha256:x" }, fault.Invalid, "fingerprint"},
		"used token":             {func(o *EnrollOptions) { o.Token = "used" }, fault.Unauthenticated, "the token is not known"},
		"plain http":             {func(o *EnrollOptions) { o.Server = strings.Replace(o.Server, "https", "http", 1) }, fault.Invalid, "no https address"},
		"nobody there":           {func(o *EnrollOptions) { o.Server = "https://127.0.0.1:1" }, fault.Unavailable, "can't be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			d := Dir(tempDir(t))
			o := s.enrolment(d, root)
			tc.change(&o)
			_, err := Enroll(context.Background(), o)
			if !fault.Is(err, tc.code) || !strings.Contains(fault.Public(err), tc.says) {
				t.Fatalf("got %s: %v", fault.CodeOf(err), err)
			}
			if _, err := d.identity(); !fault.Is(err, fault.NotFound) {
				t.Fatalf("an identity is there: %v", err)
			}
		})
	}
	d := s.enrolled(root)
	if _, err := Enroll(context.Background(), s.enrolment(d, root)); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a second enrolment gives %v", err)
	}
	info, err := os.Stat(d.key())
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Fatalf("the key has mode %v, %v", info.Mode(), err)
	}
}

// TestFirstContact follows an agent from its start to a quiet day.
func TestFirstContact(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	s.publish(1, s.thePatch())
	d := s.enrolled(root)
	stop := s.agent(d, root)
	s.until("the packages arrive", func() bool { return s.section(inventory.SectionPackages) != nil })
	s.until("the catalog is verified", func() bool { return last(s.checkins).Catalog == 1 })
	if c := last(s.checkins); c.Problem != "" || c.BootID == "" || c.BootID != bootID(t.Context(), root) {
		t.Errorf("check-in %+v", c)
	}
	// Nothing has changed: the next check-in is small and sends no hashes.
	n := len(s.checkins)
	s.wake <- wire.Wake{Kind: "check"}
	s.until("a quiet check-in", func() bool { return len(s.checkins) > n })
	if c := last(s.checkins); len(c.Sections) != 0 || last(s.sizes) > 512 {
		t.Errorf("an unchanged machine sends %d bytes: %+v", last(s.sizes), c)
	}
	// A package changes: only that section travels.
	bodies := len(s.bodies)
	check(t, scripted{string(d), root}.set("lib", "1:1.0-2"))
	announce(t, root)
	s.wake <- wire.Wake{Kind: "check"}
	s.until("the new packages arrive", func() bool { return strings.Contains(string(s.section(inventory.SectionPackages)), "1:1.0-2") })
	if got := len(s.bodies) - bodies; got != 2 { // the section and the root
		t.Errorf("%d new bodies", got)
	}
	stop()
	st, err := ReadStatus(d)
	if err != nil || st.Catalog != 1 || st.Error != "" || st.Contact.IsZero() {
		t.Errorf("status %+v, %v", st, err)
	}
	// A scan with the agent's own catalog, without the server.
	r, err := Scan(context.Background(), ScanOptions{Root: root, State: d}, time.Now())
	if err != nil || len(r.Missing) != 1 || r.Missing[0].Package != "svc" || !r.Missing[0].Security {
		t.Errorf("scan %+v, %v", r.Missing, err)
	}
}

func order(task deploy.TaskID, action wire.Action, refs []deploy.PatchRef) wire.Order {
	return wire.Order{Task: task, Attempt: 1, Action: action, Patches: refs, Catalog: 1, Timeout: 60}
}

func isState(want deploy.State) func(wire.Event) bool {
	return func(e wire.Event) bool { return e.State == want }
}

func isVerdict(e wire.Event) bool { return len(e.Verdicts) > 0 }

// TestInstall takes a patch through all its steps, with orders that come again
// and an answer that is lost.
func TestInstall(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.publish(1, s.thePatch())
	d := s.enrolled(root)
	s.loseAck = true
	s.agent(d, root)
	s.order(order("t1", wire.ActPlan, refs))
	plan := s.event("t1", isState(deploy.Planned)).Plan
	if plan == nil || len(plan.Changes) != 1 || plan.Changes[0].To != "2.0" || plan.DownloadBytes != 40000 {
		t.Fatalf("plan %+v", plan)
	}
	s.order(order("t1", wire.ActDownload, refs))
	s.event("t1", isState(deploy.Staged))
	s.order(order("t1", wire.ActInstall, refs))
	if r := s.event("t1", isState(deploy.Verifying)).Result; r == nil || len(r.Changes) != 1 {
		t.Fatalf("result %+v", r)
	}
	s.order(order("t1", wire.ActInstall, refs)) // again
	s.order(order("t1", wire.ActVerify, refs))
	v := s.event("t1", isVerdict).Verdicts
	if len(v) != 1 || !v[0].Installed || v[0].Reason == "" {
		t.Fatalf("verdicts %+v", v)
	}
	if log := readFile(t, d.path("installs.log")); log != "install t1 1\n" {
		t.Errorf("installations: %q", log)
	}
	s.until("the new inventory arrives", func() bool {
		return strings.Contains(string(s.section(inventory.SectionPackages)), `"n":"svc","a":"amd64","v":"2.0"`)
	})
	if _, err := os.Stat(d.work("t1")); !os.IsNotExist(err) {
		t.Errorf("the work folder stays: %v", err)
	}
	if left, err := os.ReadDir(d.payloads()); err != nil || len(left) != 0 {
		t.Errorf("payloads stay: %v %v", left, err)
	}
	for i, e := range s.events[1:] {
		if e.Seq <= s.events[i].Seq {
			t.Fatalf("numbers do not rise: %d after %d", e.Seq, s.events[i].Seq)
		}
	}
}

// TestRow1ServerCanOnlyChoose: trust.md row 1. The server orders things that
// do not stand in the signed catalog.
func TestRow1ServerCanOnlyChoose(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.publish(1, s.thePatch())
	d := s.enrolled(root)
	s.agent(d, root)
	forged := s.thePatch()
	forged.Install.Argv = []string{"sh", "-c", "id"}
	for task, tc := range map[deploy.TaskID]struct {
		refs []deploy.PatchRef
		says string
	}{
		"unsigned": {[]deploy.PatchRef{{ID: "debian-12:amd64:evil:1", Digest: refs[0].Digest}}, "does not stand in the signed catalog"},
		"changed":  {[]deploy.PatchRef{{ID: refs[0].ID, Digest: strings.Repeat("0", 64)}}, "the signed catalog holds it with " + refs[0].Digest},
		"nothing":  {nil, "names no patch"},
	} {
		s.order(order(task, wire.ActInstall, tc.refs))
		e := s.event(task, isState(deploy.Failed))
		if !strings.Contains(e.Reason, tc.says) || (e.Refused != (task != "nothing")) {
			t.Errorf("%s: refused %v, %q", task, e.Refused, e.Reason)
		}
	}
	if _, err := os.Stat(d.path("installs.log")); !os.IsNotExist(err) {
		t.Error("something was installed")
	}
}

// TestRow3BadCatalog: trust.md row 3. Flipped, rolled back and nonsensical
// catalogs are refused and told; the last good one goes on working.
func TestRow3BadCatalog(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	s.publish(1, s.thePatch())
	d := s.enrolled(root)
	s.agent(d, root)
	s.until("catalog 1", func() bool { return last(s.checkins).Catalog == 1 })
	// Signed by the publisher, but no catalog: it must not wedge the agent.
	s.sign(2, []byte("this is signed and no shard"))
	s.wake <- wire.Wake{Kind: "check"}
	s.until("the refusal is told", func() bool { return strings.Contains(last(s.checkins).Problem, "refused, the old one stays") })
	if c := last(s.checkins); c.Catalog != 1 {
		t.Errorf("catalog %d", c.Catalog)
	}
	// Repaired: it recovers by itself.
	refs := s.publish(4, s.thePatch())
	s.wake <- wire.Wake{Kind: "check"}
	s.until("the good catalog", func() bool { return last(s.checkins).Catalog == 4 && last(s.checkins).Problem == "" })
	s.order(wire.Order{Task: "t", Attempt: 1, Action: wire.ActPlan, Patches: refs, Catalog: 4})
	s.event("t", isState(deploy.Planned))
	// The stored shard is changed on disk: nothing of it is used.
	path := d.Shard(platform)
	data := []byte(readFile(t, path))
	data[len(data)-5] ^= 1
	check(t, os.WriteFile(path, data, 0o600))
	s.order(wire.Order{Task: "u", Attempt: 1, Action: wire.ActPlan, Patches: refs, Catalog: 4})
	if e := s.event("u", isState(deploy.Failed)); !strings.Contains(e.Reason, "SHA-256") {
		t.Errorf("%q", e.Reason)
	}
}

// TestPayloads: a payload that is cut short goes on, other bytes are
// refused, and the server is told so; the order is not, another attempt may work.
func TestPayloads(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	p := s.thePatch()
	refs := s.publish(1, p)
	d := s.enrolled(root)
	check(t, d.make())
	sum := p.Items[0].Payload.SHA256
	whole := s.blobs[sum]
	s.blobs[sum] = append([]byte("X"), whole[1:]...)
	s.agent(d, root)
	s.order(order("flip", wire.ActDownload, refs))
	if e := s.event("flip", isState(deploy.Failed)); e.Refused || e.Damaged != sum || !strings.Contains(e.Reason, "have another hash") {
		t.Errorf("refused %v: %q", e.Refused, e.Reason)
	}
	s.mu.Lock()
	s.blobs[sum] = whole[:1000]
	s.mu.Unlock()
	s.order(order("cut", wire.ActDownload, refs))
	if e := s.event("cut", isState(deploy.Failed)); e.Refused || e.Damaged != sum || !strings.Contains(e.Reason, "broke off after 1000 of 40000") {
		t.Errorf("refused %v: %q", e.Refused, e.Reason)
	}
	s.mu.Lock()
	s.blobs[sum] = whole
	s.mu.Unlock()
	o := order("cut", wire.ActDownload, refs)
	o.Attempt = 2
	s.order(o)
	s.event("cut", isState(deploy.Staged))
	if last(s.ranges) != "bytes=1000-" {
		t.Errorf("ranges %q", s.ranges)
	}
}

func TestPolicyWins(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.publish(1, s.thePatch())
	d := s.enrolled(root)
	write(t, d.path("policy.json"), `{"refuse_patches":["debian-12:*:svc:*"],"allow_reboot":false}`)
	s.agent(d, root)
	s.order(order("a", wire.ActInstall, refs))
	if e := s.event("a", isState(deploy.Failed)); !e.Refused || !strings.Contains(e.Reason, "this machine's policy refuses patch") {
		t.Errorf("refused %v: %q", e.Refused, e.Reason)
	}
	s.order(order("b", wire.ActReboot, refs))
	if e := s.event("b", isState(deploy.Failed)); !e.Refused || !strings.Contains(e.Reason, "allow_reboot") {
		t.Errorf("refused %v: %q", e.Refused, e.Reason)
	}
	write(t, d.path("policy.json"), `{"refuse_patches":`)
	s.order(order("c", wire.ActInstall, refs))
	if e := s.event("c", isState(deploy.Failed)); !e.Refused || !strings.Contains(e.Reason, "can't be used") {
		t.Errorf("refused %v: %q", e.Refused, e.Reason)
	}
}

// TestFailureIsTold: a failing postinst ends in verdicts and the true reason.
func TestFailureIsTold(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.publish(1, s.thePatch())
	d := s.enrolled(root)
	write(t, d.path("script"), "fail")
	s.agent(d, root)
	s.order(order("t", wire.ActInstall, refs))
	if r := s.event("t", isState(deploy.Verifying)).Result; len(r.Failures) != 1 || r.Failures[0].Reason != "postinst says no" {
		t.Fatalf("%+v", r)
	}
	s.order(order("t", wire.ActVerify, refs))
	if v := s.event("t", isVerdict).Verdicts; v[0].Installed {
		t.Fatalf("%+v", v)
	}
}

func TestWindowClosed(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.publish(1, s.thePatch())
	d := s.enrolled(root)
	s.agent(d, root)
	o := order("t", wire.ActInstall, refs)
	o.Until = time.Now().Add(-time.Second)
	s.order(o)
	if e := s.event("t", isState(deploy.Failed)); !strings.Contains(e.Reason, "window closed") {
		t.Errorf("%q", e.Reason)
	}
}

func TestCancel(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.publish(1, s.thePatch())
	d := s.enrolled(root)
	write(t, d.path("script"), "hang in plan")
	s.agent(d, root)
	s.order(order("t", wire.ActPlan, refs))
	s.event("t", isState(deploy.Planning))
	s.order(order("t", wire.ActCancel, nil))
	s.event("t", isState(deploy.TaskCancelled))
	check(t, os.Remove(d.path("script")))
	s.order(order("u", wire.ActPlan, refs)) // the worker is free again
	s.event("u", isState(deploy.Planned))
}

// TestFewerPatches: when a patch was declined meanwhile, the task is planned
// anew for the others, not answered with the plan for all of them.
func TestFewerPatches(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	p := s.thePatch()
	other := p
	other.ID, other.Product = "debian-12:amd64:aux:2.0", "aux"
	other.Items = slices.Clone(p.Items)
	other.Items[0].Name = "aux"
	refs := s.publish(1, other, p)
	d := s.enrolled(root)
	s.agent(d, root)
	planned := func(n int) wire.Event {
		t.Helper()
		var all []wire.Event
		s.until("another plan", func() bool {
			all = nil
			for _, e := range s.events {
				if e.State == deploy.Planned {
					all = append(all, e)
				}
			}
			return len(all) == n
		})
		return all[n-1]
	}
	s.order(order("t", wire.ActPlan, refs))
	whole := len(planned(1).Plan.Changes)
	s.order(order("t", wire.ActDownload, refs))
	s.event("t", isState(deploy.Staged))
	s.order(order("t", wire.ActPlan, refs[:1]))
	if part := len(planned(2).Plan.Changes); part >= whole {
		t.Errorf("the plan for one of two patches has %d changes, that for both %d", part, whole)
	}
	s.order(order("t", wire.ActPlan, refs[:1])) // the same again is the same answer
	planned(3)
}

// TestReboot restarts the machine once, and goes on after it.
func TestReboot(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.publish(1, s.thePatch())
	d := s.enrolled(root)
	write(t, d.path("script"), "reboot")
	stop := s.agent(d, root)
	s.order(order("t", wire.ActInstall, refs))
	s.event("t", isState(deploy.WaitingReboot))
	s.order(order("t", wire.ActReboot, refs))
	s.event("t", isState(deploy.Rebooting))
	s.until("the reboot command runs", func() bool { _, err := os.Stat(d.path("rebooted")); return err == nil })
	stop()
	before := bootID(t.Context(), root)
	restart(t, root)
	s.agent(d, root)
	s.event("t", isState(deploy.Verifying))
	s.order(order("t", wire.ActVerify, refs))
	if v := s.event("t", isVerdict).Verdicts; !v[0].Installed {
		t.Fatalf("%+v", v)
	}
	if c := last(s.checkins); c.BootID == before || c.BootID != bootID(t.Context(), root) {
		t.Errorf("boot id %q", c.BootID)
	}
}

// process starts an agent that can be killed like any other.
func (s *server) process(d Dir, root string) *exec.Cmd {
	s.t.Helper()
	self, err := os.Executable()
	check(s.t, err)
	cmd := exec.Command(self, agentArg, string(d), root)
	cmd.Stderr = os.Stderr
	check(s.t, cmd.Start())
	s.t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // it may have ended; SIGKILL to our own child
	_ = cmd.Wait()         // "killed" is what it says
}

// TestKilledAgent: kill -9 of the agent in mid-install. Its child works on, and
// the next agent takes up the result: installed once, told once.
func TestKilledAgent(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.publish(1, s.thePatch())
	d := s.enrolled(root)
	write(t, d.path("script"), "linger")
	first := s.process(d, root)
	s.order(order("t", wire.ActInstall, refs))
	s.until("the installation is at work", func() bool { _, err := os.Stat(d.path("lingers")); return err == nil })
	kill(first)
	s.process(d, root)
	n := len(s.checkins)
	s.until("the next agent checks in", func() bool { return len(s.checkins) > n })
	write(t, d.path("go"), "")
	if r := s.event("t", isState(deploy.Verifying)).Result; r == nil || len(r.Changes) != 1 {
		t.Fatalf("%+v", r)
	}
	if log := readFile(t, d.path("installs.log")); log != "install t 1\n" {
		t.Errorf("installations: %q", log)
	}
}

// TestKilledInstaller: the child dies too. The machine is looked at before
// anything is done again.
func TestKilledInstaller(t *testing.T) {
	for script, want := range map[string]string{
		"die after":  "install t 1\nrecover t 1\n",
		"die before": "install t 1\nrecover t 1\ninstall t 1\n",
	} {
		t.Run(script, func(t *testing.T) {
			s, root := newServer(t), newMachine(t)
			refs := s.publish(1, s.thePatch())
			d := s.enrolled(root)
			write(t, d.path("script"), script)
			s.agent(d, root)
			s.order(order("t", wire.ActInstall, refs))
			s.event("t", isState(deploy.Verifying))
			if log := readFile(t, d.path("installs.log")); log != want {
				t.Errorf("installations: %q", log)
			}
		})
	}
}

func TestPick(t *testing.T) {
	in := map[string]Installer{"apt": scripted{}}
	apt, msi := patch.Patch{Install: patch.Manifest{Kind: "apt"}}, patch.Patch{Install: patch.Manifest{Kind: "msi"}}
	for name, tc := range map[string]struct {
		patches []patch.Patch
		code    fault.Code
	}{
		"one": {[]patch.Patch{apt, apt}, ""}, "none": {nil, fault.Invalid},
		"unknown": {[]patch.Patch{msi}, fault.Unsupported}, "mixed": {[]patch.Patch{apt, msi}, fault.Unsupported},
	} {
		if _, err := pick(in, tc.patches, nil); fault.CodeOf(err) != tc.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}
