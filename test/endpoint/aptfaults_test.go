package endpoint

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/test/endpoint/aptdriver/order"
	"github.com/fettlehq/fettle/test/lab"
)

// outcome is what a driver in the background came to.
type outcome struct {
	reply order.Reply
	said  said
	err   error
}

// start runs the driver in the background; its lines stand in driverLog too.
func (m *machine) start(req order.Request) <-chan outcome {
	req.Log = driverLog
	done := make(chan outcome, 1)
	go func() {
		r, s, err := m.try(req)
		done <- outcome{r, s, err}
	}()
	return done
}

const driverLog = "/run/aptdriver.log"

// result waits for a driver that must end without a fault.
func (m *machine) result(done <-chan outcome) (deploy.Result, said) {
	m.w.t.Helper()
	o := <-done
	m.w.must(o.err)
	if o.reply.Fault != nil {
		m.w.t.Fatalf("%s (%s)\n%s", o.reply.Fault.Message, o.reply.Private, o.said.text())
	}
	return *o.reply.Result, o.said
}

// waitSaid waits until the driver in the background has said something.
func (m *machine) waitSaid(what string) {
	m.w.t.Helper()
	m.until("waiting for the driver to say "+what, func() bool {
		res, err := m.Exec(m.w.ctx, "grep", "-qF", what, driverLog)
		return err == nil && res.Code == 0
	})
}

// kill ends processes by name with SIGKILL, in the order given.
func (m *machine) kill(names ...string) {
	m.w.t.Helper()
	for _, name := range names {
		for pid := range strings.FieldsSeq(m.run("sh", "-c", `for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = "$1" ] && basename $p; done; true`, "sh", name)) {
			n, err := strconv.Atoi(pid)
			m.w.must(err)
			m.w.must(m.Kill(m.w.ctx, n))
		}
	}
}

// gone waits until no process of that name is left.
func (m *machine) gone(name string) {
	m.w.t.Helper()
	m.until("waiting for the end of "+name, func() bool {
		res, err := m.Exec(m.w.ctx, "sh", "-c", `for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = "$1" ] && exit 1; done; exit 0`, "sh", name)
		return err == nil && res.Code == 0
	})
}

// logged counts the lines of dpkg.log that hold the text.
func (m *machine) logged(text string) int {
	m.w.t.Helper()
	return strings.Count(m.run("cat", "/var/log/dpkg.log"), text)
}

// faultWorld is a world of an ordinary, a slow and a large package.
func faultWorld(t *testing.T, large int) *world {
	w := newWorld(t, plain("lab-a", nil), lab.SlowCase(), lab.LargeCase(large))
	return w
}

// all are the patches to everything new in the world, staged.
func (w *world) all() []patch.Patch {
	w.t.Helper()
	var names []string
	for _, c := range w.cases {
		names = append(names, c.Package)
	}
	out := w.newest(names...)
	w.stage(out)
	return out
}

// wantInstalled checks that all cases are at their new version, each unpacked
// and configured as often as the log may show.
func (m *machine) wantInstalled(r deploy.Result) {
	m.w.t.Helper()
	if len(r.Failures) != 0 || len(r.Changes) != len(m.w.cases) {
		m.w.t.Errorf("result: %+v", r)
	}
	have := m.versions()
	for _, c := range m.w.cases {
		if got := have[c.Package+":all"]; got != "installed "+lab.NewVersion {
			m.w.t.Errorf("dpkg: %s is %q", c.Package, got)
		}
	}
	if out := m.run("dpkg", "--audit"); out != "" {
		m.w.t.Errorf("dpkg --audit: %s", out)
	}
}

// once checks that dpkg upgraded each case exactly once.
func (m *machine) once(but ...string) {
	m.w.t.Helper()
	for _, c := range m.w.cases {
		if n := m.logged(" upgrade " + c.Package + ":all "); n != 1 && !slices.Contains(but, c.Package) {
			m.w.t.Errorf("dpkg unpacked %s %d times", c.Package, n)
		}
	}
}

// TestAptWaitsForLock lets an administrator's apt-get hold dpkg.
func TestAptWaitsForLock(t *testing.T) {
	w := newWorld(t, plain("lab-a", nil), plain("lab-b", nil), lab.SlowCase())
	m := w.machine("locked", lab.MachineOptions{})
	w.release()
	w.all()
	m.run("apt-get", "update")
	admin := func() <-chan error {
		m.run("rm", "-f", lab.SlowStarted, lab.SlowContinue)
		done := make(chan error, 1)
		go func() {
			_, err := m.Run(w.ctx, "apt-get", "-y", "--reinstall", "install", "lab-slow="+lab.NewVersion)
			done <- err
		}()
		m.waitFor(lab.SlowStarted)
		return done
	}
	t.Run("before", func(t *testing.T) {
		theirs := admin()
		ours := m.start(m.request(order.Install, w.newest("lab-a")))
		m.waitSaid("waiting for dpkg's lock, held by process ")
		m.run("touch", lab.SlowContinue)
		r, p := m.result(ours)
		w.must(<-theirs)
		if len(r.Changes) != 1 || len(r.Failures) != 0 || !strings.Contains(p.text(), "(apt-get)") {
			t.Errorf("%+v after\n%s", r, p.text())
		}
	})
	t.Run("too long", func(t *testing.T) {
		theirs := admin()
		req := m.request(order.Install, w.newest("lab-b"))
		req.UpAt = "waiting for dpkg's lock"
		r, _ := m.drive(req)
		if r.Fault == nil || r.Fault.Code != fault.Cancelled || !strings.Contains(r.Fault.Message, "(apt-get)") || !strings.Contains(r.Fault.Message, "nothing was changed") {
			t.Errorf("fault: %+v", r.Fault)
		}
		m.run("touch", lab.SlowContinue)
		w.must(<-theirs)
	})
	t.Run("in the moment apt starts", func(t *testing.T) {
		b := w.newest("lab-b")
		req := m.request(order.Install, b)
		req.Task, req.Dir, req.Store, req.PauseAt = "t2", "/var/lib/fettle/work/t2", "/var/lib/fettle/other", b[0].Items[0].Payload.SHA256
		ours := m.start(req)
		m.waitFor(order.Paused)
		theirs := admin()
		m.run("touch", order.GoOn)
		m.waitSaid("Waiting for cache lock")
		m.run("touch", lab.SlowContinue)
		r, p := m.result(ours)
		w.must(<-theirs)
		if len(r.Changes) != 1 || len(r.Failures) != 0 {
			t.Errorf("%+v after\n%s", r, p.text())
		}
	})
}

// stuckUnpack stands in for dpkg's unpacker: of the large package it gives the
// first part and then nothing more, until nobody reads it any longer.
const stuckUnpack = `#!/bin/sh
case "$*" in
*--fsys-tarfile*lab-large*) ( /usr/bin/dpkg-deb.real "$@" | head -c 20000000; while kill -0 $PPID && sleep 0.1; do :; done ) 2>/dev/null;;
*) exec /usr/bin/dpkg-deb.real "$@";;
esac
`

// TestAptInterrupted kills what installs at different moments.
func TestAptInterrupted(t *testing.T) {
	w := faultWorld(t, 150<<20)
	names := []string{"apt", "agent", "both", "unpack", "power", "time"}
	machines := map[string]*machine{}
	for _, n := range names {
		machines[n] = w.machine(n, lab.MachineOptions{})
	}
	w.release()
	patches := w.all()
	begin := func(m *machine) <-chan outcome {
		done := m.start(m.request(order.Install, patches))
		m.waitFor(lab.SlowStarted)
		return done
	}
	// finish does what an agent does after a crash.
	finish := func(m *machine) deploy.Result {
		r, _ := m.good(m.request(order.Recover, patches))
		if !r.Done {
			r, _ = m.good(m.request(order.Install, patches))
		}
		return *r.Result
	}
	t.Run("apt-get and dpkg are killed, the agent lives", func(t *testing.T) {
		m := machines["apt"]
		ours := begin(m)
		m.kill("apt-get", "dpkg")
		m.run("touch", lab.SlowContinue)
		r, _ := m.result(ours)
		m.wantInstalled(r)
		m.once()
	})
	t.Run("the agent is killed, apt goes on", func(t *testing.T) {
		m := machines["agent"]
		ours := begin(m)
		m.kill("aptdriver")
		if o := <-ours; o.err == nil {
			t.Errorf("the driver lives: %+v", o.reply)
		}
		recovery := m.start(m.request(order.Recover, patches))
		m.run("touch", lab.SlowContinue)
		o := <-recovery
		w.must(o.err)
		if !o.reply.Done {
			t.Errorf("recovery found work to do: %+v %+v", o.reply.Result, o.reply.Fault)
		}
		m.wantInstalled(*o.reply.Result)
		m.once()
		if n := m.logged(" configure lab-slow:all " + lab.NewVersion); n != 1 {
			t.Errorf("lab-slow was configured %d times", n)
		}
	})
	t.Run("all of them are killed", func(t *testing.T) {
		m := machines["both"]
		ours := begin(m)
		m.kill("aptdriver", "apt-get", "dpkg")
		<-ours
		m.run("touch", lab.SlowContinue)
		m.wantInstalled(finish(m))
		m.once()
	})
	t.Run("killed in the middle of an unpack", func(t *testing.T) {
		m := machines["unpack"]
		m.run("mv", "/usr/bin/dpkg-deb", "/usr/bin/dpkg-deb.real")
		w.must(m.WriteFile(w.ctx, "/usr/bin/dpkg-deb", strings.NewReader(stuckUnpack), 0o755))
		m.run("touch", lab.SlowContinue)
		ours := m.start(m.request(order.Install, patches))
		m.waitFor("/usr/share/lab-large/data.dpkg-new")
		m.kill("aptdriver", "apt-get", "dpkg")
		<-ours
		m.run("mv", "/usr/bin/dpkg-deb.real", "/usr/bin/dpkg-deb")
		if got := m.versions()["lab-large:all"]; !strings.HasPrefix(got, "half-installed") {
			t.Errorf("the kill came at another moment: lab-large is %q", got)
		}
		m.wantInstalled(finish(m))
		m.once("lab-large")
	})
	t.Run("power cut", func(t *testing.T) {
		m := machines["power"]
		ours := begin(m)
		m.PowerCut()
		if o := <-ours; o.err == nil {
			t.Error("the driver outlived its machine")
		}
		w.must(m.PowerOn(w.ctx))
		m.run("touch", lab.SlowContinue)
		m.wantInstalled(finish(m))
		m.once()
	})
	t.Run("the time is up", func(t *testing.T) {
		m := machines["time"]
		req := m.request(order.Install, patches)
		req.UpAt = lab.SlowStarted
		r, p := m.drive(req)
		if r.Fault == nil || r.Fault.Code != fault.Cancelled || !strings.Contains(r.Fault.Message, "at package lab-slow") {
			t.Fatalf("fault %+v, result %+v\n%s", r.Fault, r.Result, p.text())
		}
		m.gone("dpkg")
		m.run("touch", lab.SlowContinue)
		req.Attempt, req.UpAt = 2, ""
		next, _ := m.good(req)
		if len(next.Result.Failures) != 0 {
			t.Errorf("next attempt: %+v", next.Result)
		}
		if got := m.versions()["lab-slow:all"]; got != "installed "+lab.NewVersion {
			t.Errorf("lab-slow is %q", got)
		}
		m.once()
	})
}

// hold makes the machine's apt stop before dpkg begins.
const hold = `DPkg::Pre-Invoke {"touch /run/lab-hook.started; while [ ! -e /run/lab-hook.continue ]; do sleep 0.05; done";};` + "\n"

// TestAptFullDisk has the payload store, the work folder and the system on one
// small disk.
func TestAptFullDisk(t *testing.T) {
	const size = 40 << 20
	w := newWorld(t, plain("lab-a", nil), lab.LargeCase(size))
	m := w.machine("full", lab.MachineOptions{DiskBytes: 400 << 20})
	w.release()
	patches := w.all()
	log := m.run("cat", "/var/log/dpkg.log")
	for _, leave := range []int64{100 << 20, 16 << 20, 0} {
		w.must(m.FillDisk(leave))
		r, _ := m.drive(m.request(order.Install, patches))
		if r.Fault == nil || r.Fault.Code != fault.Exhausted {
			t.Fatalf("with %d bytes left: %+v, %+v", leave, r.Fault, r.Result)
		}
		t.Logf("with %d bytes left: %s (%s)", leave, r.Fault.Message, r.Fault.Hint)
		w.must(m.FreeDisk())
	}
	if after := m.run("cat", "/var/log/dpkg.log"); after != log {
		t.Errorf("dpkg did something: %s", after)
	}
	w.must(m.WriteFile(w.ctx, "/etc/apt/apt.conf.d/99lab", strings.NewReader(hold), 0o644))
	for attempt, leave := range []int64{20 << 20, 0} { // at 0 dpkg can't even begin
		m.run("rm", "-f", "/run/lab-hook.started", "/run/lab-hook.continue")
		req := m.request(order.Install, patches)
		req.Attempt = 1 + attempt
		ours := m.start(req)
		m.waitFor("/run/lab-hook.started")
		w.must(m.FillDisk(leave))
		m.run("touch", "/run/lab-hook.continue")
		o := <-ours
		w.must(o.err)
		switch f := o.reply.Fault; {
		case f != nil && (leave > 0 || f.Code != fault.Exhausted || !strings.Contains(f.Message, "No space left on device")):
			t.Fatalf("with %d bytes left in the middle: %+v\n%s", leave, f, o.said.text())
		case f == nil:
			i := slices.IndexFunc(o.reply.Result.Failures, func(e deploy.ItemError) bool { return e.Package == "lab-large" })
			if i < 0 || !strings.Contains(o.reply.Result.Failures[i].Reason, "No space left on device") {
				t.Fatalf("with %d bytes left in the middle: %+v\n%s", leave, o.reply.Result, o.said.text())
			}
		}
		t.Logf("with %d bytes left in the middle: %+v %+v", leave, o.reply.Fault, o.reply.Result.Failures)
		w.must(m.FreeDisk())
	}
	m.run("rm", "/etc/apt/apt.conf.d/99lab")
	req := m.request(order.Install, patches)
	req.Attempt = 3
	r, _ := m.good(req)
	if len(r.Result.Failures) != 0 {
		t.Errorf("after freeing the disk: %+v", r.Result)
	}
	have := m.versions()
	if have["lab-a:all"] != "installed "+lab.NewVersion || have["lab-large:all"] != "installed "+lab.NewVersion {
		t.Errorf("after freeing the disk dpkg has %q, %q", have["lab-a:all"], have["lab-large:all"])
	}
}
