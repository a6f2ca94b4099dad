package wininstall

import (
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/test/lab/wine/vendor"
	"github.com/fettlehq/fettle/test/wininstall/driver/drive"
)

// run is a patch that runs a program of this folder.
func (m *machine) run(name string, argv ...string) patch.Patch {
	m.t.Helper()
	yes, no := true, false
	return patch.Patch{
		ID: patch.ID("lab:" + name), Platform: "windows-apps-amd64", Product: name, Version: "1.0",
		Items:      []patch.Item{{Kind: "arp", Name: name, Version: "1.0", Payload: m.put(m.program(name))}},
		Install:    patch.Manifest{Kind: "exe", Argv: append([]string{"{payload}"}, argv...)},
		Applicable: &detect.Rule{Always: &yes}, Installed: &detect.Rule{Always: &no},
	}
}

// testStuck: an installer that asks somebody is ended with all that it has
// started, and the reason names its window.
func testStuck(m *machine) {
	t := m.t
	got := m.drive(drive.Request{Do: "install", Patches: []patch.Patch{m.run("stuck")}, UpAt: "the installer shows a window"})
	if got.Code != fault.Cancelled || !strings.Contains(got.Error, `it waits for somebody at its window "Stuck Setup"`) {
		t.Errorf("%s: %s\n%s", got.Code, got.Cause, strings.Join(got.Lines, "\n"))
	}
	if told := strings.Join(got.Lines, "\n"); strings.Count(told, `the installer shows a window: "Stuck Setup"`) != 1 {
		t.Errorf("not told once while it runs:\n%s", told)
	}
	if _, err := m.host.ReadFile(`C:\lab\stuck.pid`); err != nil {
		t.Fatalf("its child never ran: %v", err)
	}
	left, err := m.host.Processes("stuck.exe")
	if err != nil || len(left) > 0 {
		t.Errorf("still running: %v %v", left, err)
	}
}

// testHolder: after a failure, who runs from the product's folder is named.
func testHolder(m *machine) {
	t := m.t
	a := vendor.Application{Name: "Lab Agent", Kind: vendor.EXE, Endings: map[string]vendor.Ending{"2.0.0": vendor.Failed}}
	m.have(a, "1.0.0")
	const holder = `C:\Program Files\LabAgent\holder.exe`
	must(t, m.host.CopyIn(m.program("stuck"), holder))
	ended := make(chan error, 1)
	go func() {
		_, err := m.host.Exec(m.ctx, holder, "child")
		ended <- err
	}()
	for { // it runs
		if pid, err := m.host.ReadFile(`C:\lab\stuck.pid`); err == nil && len(pid) > 0 {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("the holder ended: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	got := m.drive(drive.Request{Do: "install", Patches: []patch.Patch{m.patch(a, "2.0.0")}})
	if got.Error != "" || len(got.Result.Failures) != 1 || !strings.Contains(got.Result.Failures[0].Reason, "may keep its files: holder.exe (process ") {
		t.Errorf("%s %+v", got.Cause, got.Result)
	}
	if n, err := m.host.Kill("holder.exe"); err != nil || n == 0 {
		t.Errorf("killed %d: %v", n, err)
	}
	<-ended
	must(t, m.host.Remove(`C:\lab\stuck.pid`))
}

// testBusy: while another installation holds Windows Installer's mutex, nothing
// is begun; afterwards it goes on.
func testBusy(m *machine) {
	t := m.t
	a := vendor.Application{Name: "Lab Waiter", Kind: vendor.MSI}
	m.have(a, "1.0.0")
	p := m.patch(a, "2.0.0")
	got := m.drive(drive.Request{Do: "install", Patches: []patch.Patch{p}, Busy: true, Stay: true, Timeout: 12 * time.Second})
	if got.Code != fault.Unavailable || !strings.Contains(got.Error, "another installation was at work") || m.version(a) != "1.0.0" {
		t.Errorf("%s: %s\n%s", got.Code, got.Cause, strings.Join(got.Lines, "\n"))
	}
	got = m.drive(drive.Request{Do: "install", Patches: []patch.Patch{p}, Busy: true})
	if got.Error != "" || len(got.Result.Changes) != 1 || !strings.HasPrefix(got.Lines[0], "waiting: Windows Installer is at work") || m.version(a) != "2.0.0" {
		t.Errorf("%s: %s %+v\n%s", got.Code, got.Cause, got.Result, strings.Join(got.Lines, "\n"))
	}
}

// testBusyCode: an installer that finds another one at work says so with 1618,
// and is called again.
func testBusyCode(m *machine) {
	t := m.t
	a := vendor.Application{Name: "Lab Queue", Kind: vendor.EXE, Endings: map[string]vendor.Ending{"2.0.0": vendor.BusyOnce, "3.0.0": vendor.Busy}}
	m.have(a, "1.0.0")
	got := m.drive(drive.Request{Do: "install", Patches: []patch.Patch{m.patch(a, "2.0.0")}})
	if got.Error != "" || len(got.Result.Changes) != 1 || m.version(a) != "2.0.0" {
		t.Errorf("%s %+v\n%s", got.Cause, got.Result, strings.Join(got.Lines, "\n"))
	}
	got = m.drive(drive.Request{Do: "install", Patches: []patch.Patch{m.patch(a, "3.0.0")}, Timeout: 40 * time.Second})
	if got.Code != fault.Unavailable || !strings.Contains(got.Error, "1618: another installation is at work") || m.version(a) != "2.0.0" {
		t.Errorf("%s: %s", got.Code, got.Cause)
	}
}

// testRecover: after the agent was killed, the machine tells what was done.
func testRecover(m *machine) {
	t := m.t
	a := vendor.Application{Name: "Lab Slow", Kind: vendor.EXE, Endings: map[string]vendor.Ending{"2.0.0": vendor.Slow}}
	m.have(a, "1.0.0")
	req := drive.Request{Do: "install", Patches: []patch.Patch{m.patch(a, "2.0.0")}, Dir: `C:\fettle\cut`}
	ended := make(chan error, 1)
	m.write(req)
	go func() {
		_, err := m.host.Exec(m.ctx, "cmd", "/c", `C:\driver.exe < `+req.Dir+`\request.json`)
		ended <- err
	}()
	for { // the installer is at work
		if log, err := m.host.ReadFile(`C:\lab\LabSlow.log`); err == nil && strings.Contains(string(log), "begin 2.0.0") {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("the driver ended: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	if n, err := m.host.Kill("driver.exe"); err != nil || n == 0 {
		t.Fatalf("killed %d: %v", n, err)
	}
	<-ended
	req.Do, req.Timeout = "recover", 2*time.Second
	got := m.drive(req)
	if got.Code != fault.Unavailable || !strings.Contains(got.Error, "still runs: LabSlow-2.0.0.exe (process ") {
		t.Errorf("while it runs: %s: %s", got.Code, got.Cause)
	}
	must(t, m.host.WriteFile(`C:\lab\LabSlow.go`, nil))
	req.Timeout = time.Minute
	got = m.drive(req)
	if got.Error != "" || !got.Done || len(got.Result.Changes) != 1 || got.Result.Changes[0].From != "1.0.0" || got.Result.Changes[0].To != "2.0.0" {
		t.Errorf("afterwards: %+v %+v", got, got.Result)
	}
	if log, _ := m.host.ReadFile(`C:\lab\LabSlow.log`); strings.Count(string(log), "begin 2.0.0") != 1 {
		t.Errorf("it ran more than once:\n%s", log)
	}
}
