package endpoint

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/test/lab"
)

// faultCases are an ordinary package, one that stands still in its postinst,
// and one of some size.
func faultCases(size int) []lab.Case {
	return []lab.Case{plain("lab-a", nil), lab.SlowCase(), lab.LargeCase(size)}
}

// tries makes a deployment try again soon.
func tries(name string) []string {
	return []string{"--host", name, "--attempts", "10", "--retry-after", "3s"}
}

// TestEndpointFaults lets machines meet with accidents in the middle of an
// installation: each deployment ends verified, with nothing installed twice.
func TestEndpointFaults(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	cases := faultCases(6 << 20)
	h.offer(cases...)
	h.start()
	t.Cleanup(h.down)
	var wishes []wish
	accidents := map[string]func(*faultTest){
		"one": (*faultTest).agentKilled, "two": (*faultTest).powerCut, "three": (*faultTest).diskFull,
		"four": (*faultTest).networkLost, "five": (*faultTest).restarted,
	}
	for name := range accidents {
		wishes = append(wishes, wish{name: name, cases: cases, opt: lab.MachineOptions{DiskBytes: 512 << 20}})
	}
	guests := h.invite(wishes...)
	h.answers()
	h.enrol(guests)
	h.do("approve", "--all-missing")
	// The group returns when all its parallel tests have.
	t.Run("accident", func(t *testing.T) {
		for name, accident := range accidents {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				own := *h
				own.t = t
				g := *guests[name]
				g.h = &own
				f := &faultTest{house: &own, g: &g}
				accident(f)
				f.wantDone()
			})
		}
	})
}

// faultTest is one machine and what befalls it.
type faultTest struct {
	*house
	g  *guest
	id deploy.ID
}

// reachesTheMiddle deploys and waits until dpkg stands still.
func (f *faultTest) reachesTheMiddle() {
	f.t.Helper()
	f.id = f.begin(tries(f.g.Name)...)
	f.g.waitFor(lab.SlowStarted)
}

func (f *faultTest) goesOn() {
	f.t.Helper()
	f.g.run("touch", lab.SlowContinue)
}

// wantDone checks that the task ends verified, and the machine by dpkg.
func (f *faultTest) wantDone() {
	f.t.Helper()
	x := f.reaches(f.id, deploy.Verified)
	f.t.Logf("%s: attempt %d, %s", f.g.Name, x.Attempt, x.Reason)
	have := f.g.installed()
	for _, c := range f.g.cases {
		if got := have[c.Package+":all"]; got != "installed "+lab.NewVersion {
			f.t.Errorf("dpkg: %s is %q", c.Package, got)
		}
	}
	if out := f.g.run("dpkg", "--audit"); out != "" {
		f.t.Errorf("dpkg --audit: %s", out)
	}
	if again := f.g.twice(); len(again) > 0 {
		f.t.Errorf("dpkg unpacked more than once: %v", again)
	}
	f.until("the server to have heard of it", func() bool { return len(f.missing()[f.g.Name]) == 0 })
	_, said, code := f.fettle("deploy", "--host", f.g.Name)
	if code == 0 || !strings.Contains(said, "nothing to do") {
		f.t.Errorf("a second deployment ends with %d: %s", code, said)
	}
}

// agentKilled sends SIGKILL to the agent while dpkg works.
func (f *faultTest) agentKilled() {
	f.reachesTheMiddle()
	before := f.g.agentPID()
	f.must(f.g.Kill(f.ctx, before))
	f.until("systemd to start the agent again", func() bool {
		now := f.g.agentPID()
		return now != 0 && now != before
	})
	f.goesOn()
}

// powerCut pulls the cord while dpkg works.
func (f *faultTest) powerCut() {
	f.reachesTheMiddle()
	f.g.PowerCut()
	f.must(f.g.PowerOn(f.ctx))
	// The agent configures what was left; the postinst runs once more.
	f.g.waitFor(lab.SlowStarted)
	f.goesOn()
}

// restarted restarts the machine in order while dpkg works.
func (f *faultTest) restarted() {
	f.reachesTheMiddle()
	f.must(f.g.Reboot(f.ctx))
	f.g.waitFor(lab.SlowStarted)
	f.goesOn()
}

// diskFull takes the room that the download needs, then the room that dpkg
// needs: the reasons say so, and freeing the disk is all that a person does.
func (f *faultTest) diskFull() {
	f.must(f.g.FillDisk(8 << 20))
	f.id = f.begin(tries(f.g.Name)...)
	full := func(s deploy.Step) bool { return s.State == deploy.RetryPlanned && strings.Contains(s.Reason, "space") }
	f.until("a task that says that there is no space", func() bool { // the next attempt may have begun
		x := f.look(f.id).Tasks
		return len(x) == 1 && slices.ContainsFunc(x[0].History, full)
	})
	f.must(f.g.FreeDisk())
	f.g.waitFor(lab.SlowStarted)
	f.must(f.g.FillDisk(0))
	f.goesOn()
	f.until("the end of dpkg", func() bool {
		res, err := f.g.Exec(f.ctx, "pgrep", "-x", "dpkg")
		return err == nil && res.Code == 1
	})
	f.must(f.g.FreeDisk())
}

// networkLost pulls the machine's cable while dpkg works. The installation
// ends without the server, and the server hears of it later.
func (f *faultTest) networkLost() {
	f.reachesTheMiddle()
	f.reaches(f.id, deploy.Installing) // the server has heard as much
	f.must(f.g.CutNetwork(f.ctx))
	f.goesOn()
	f.until("the machine to be level", func() bool {
		out, err := f.g.Exec(f.ctx, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", "lab-slow")
		return err == nil && out.Stdout == "installed "+lab.NewVersion
	})
	if x := f.look(f.id).Tasks[0]; x.State != deploy.Installing {
		f.t.Errorf("without a word from the machine its task is %s: %s", x.State, x.Reason)
	}
	f.must(f.g.RestoreNetwork(f.ctx))
}

// TestServerFaults kills the server in the middle of a deployment and cuts
// payloads short on their way.
func TestServerFaults(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	const size = 6 << 20
	cases := faultCases(size)
	h.offer(cases...)
	h.start()
	t.Cleanup(h.down)
	guests := h.invite(wish{name: "one", cases: cases}, wish{name: "two", cases: cases})
	h.answers()
	h.enrol(guests)
	h.do("approve", "--all-missing")

	one := &faultTest{house: h, g: guests["one"]}
	one.reachesTheMiddle()
	h.kill()
	one.goesOn()
	h.start()
	began := time.Now()
	h.answers()
	t.Logf("the server answers again after %s", time.Since(began).Round(10*time.Millisecond))
	one.wantDone()

	// No connection lets more than a third of the payload through.
	two := &faultTest{house: h, g: guests["two"]}
	h.line.bound(size / 3)
	two.id = two.begin(tries("two")...)
	two.g.waitFor(lab.SlowStarted)
	two.goesOn()
	two.wantDone()
	if h.line.cutOff() == 0 {
		t.Error("no connection was cut")
	}
	x := two.look(two.id).Tasks[0]
	if x.Attempt > 1 && !slices.ContainsFunc(x.History, func(s deploy.Step) bool { return strings.Contains(s.Reason, "broke off") }) {
		t.Errorf("no step of the task says that a download broke off: %+v", x.History)
	}
}

// TestServerKilledEverywhere kills the server at each state of a task.
func TestServerKilledEverywhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	cases := faultCases(1 << 20)
	h.offer(cases...)
	h.start()
	t.Cleanup(h.down)
	guests := h.invite(wish{name: "one", cases: cases})
	h.answers()
	h.enrol(guests)
	h.do("approve", "--all-missing")
	one := &faultTest{house: h, g: guests["one"]}
	one.goesOn() // before it begins: nothing stands still here
	one.id = one.begin(tries("one")...)
	for range 4 {
		h.restart()
	}
	one.wantDone()
}
