package service

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	"github.com/fettlehq/fettle/internal/fault"
)

// underTest makes the test binary the service itself; the argument after it is
// the folder where it leaves its marks.
const underTest = "service-under-test"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == underTest {
		if err := Run(Program{Main: marking(os.Args[2]), Busy: func() bool { return false }}); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// marking writes a file when it begins and one when it was asked to end.
func marking(dir string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := os.WriteFile(filepath.Join(dir, "began"), nil, 0o600); err != nil {
			return err
		}
		<-ctx.Done()
		return os.WriteFile(filepath.Join(dir, "ended"), nil, 0o600)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestService takes this very program through its life as a service.
func TestService(t *testing.T) {
	self, err := os.Executable()
	check(t, err)
	dir, err := os.MkdirTemp("", "fettle-service-")
	check(t, err)
	check(t, Uninstall(t.Context())) // none is there: no error
	if err := Start(t.Context()); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
		t.Errorf("starting what is not there gives %v", err)
	}
	problems, err := Install(self, underTest, dir)
	check(t, err)
	t.Cleanup(func() { check(t, Uninstall(context.WithoutCancel(t.Context()))) })
	t.Logf("the system did not take: %v", problems)
	if !onWine() && len(problems) > 0 {
		t.Errorf("Windows did not take %v", problems)
	}
	registered(t, commandLine(self, []string{underTest, dir}))
	if problems, err = Install(self, underTest, dir); err != nil || !onWine() && len(problems) > 0 {
		t.Errorf("a second time: %v, %v", problems, err)
	}
	check(t, Start(t.Context()))
	check(t, Start(t.Context()))
	for range 2400 {
		if exists(filepath.Join(dir, "began")) {
			break
		}
		time.Sleep(50 * time.Millisecond) // another process is waited for
	}
	if exists(filepath.Join(dir, "ended")) || !exists(filepath.Join(dir, "began")) {
		t.Error("the service does not run")
	}
	check(t, Stop(t.Context()))
	if !exists(filepath.Join(dir, "ended")) {
		t.Error("the service was not asked to end")
	}
	check(t, Stop(t.Context()))
	check(t, os.Remove(filepath.Join(dir, "began")))
	check(t, os.Remove(filepath.Join(dir, "ended")))
	check(t, os.Remove(dir))
}

// registered reads back what Windows keeps about the service and its events.
func registered(t *testing.T, command string) {
	t.Helper()
	check(t, with(func(s *mgr.Service) error {
		var need uint32
		buf := make([]byte, 8<<10)
		if err := windows.QueryServiceConfig(s.Handle, (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0])), uint32(len(buf)), &need); err != nil {
			return err
		}
		cfg := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0]))
		if got := windows.UTF16PtrToString(cfg.BinaryPathName); got != command || cfg.StartType != mgr.StartAutomatic {
			t.Errorf("registered as %s, start type %d", got, cfg.StartType)
		}
		actions, err := s.RecoveryActions()
		if err == nil && (len(actions) != 3 || actions[0].Type != mgr.ServiceRestart) {
			t.Errorf("after a failure: %+v", actions)
		}
		return nil
	}))
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Services\EventLog\Application\`+Source, registry.QUERY_VALUE)
	check(t, err)
	defer func() { check(t, k.Close()) }()
	if file, _, err := k.GetStringValue("EventMessageFile"); err != nil || filepath.Base(file) != "EventCreate.exe" {
		t.Errorf("texts of events come from %q, %v", file, err)
	}
}

func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// control plays the service control manager.
type control struct {
	requests chan svc.ChangeRequest
	status   chan svc.Status
	done     chan uint32
	h        *handler
}

func execute(p Program) *control {
	c := &control{requests: make(chan svc.ChangeRequest), status: make(chan svc.Status, 1000), done: make(chan uint32, 1), h: &handler{program: p}}
	go func() {
		_, code := c.h.Execute(nil, c.requests, c.status)
		c.done <- code
	}()
	return c
}

func idle() bool { return false }

// TestPreShutdownWaits: the machine does not go down under an installation.
func TestPreShutdownWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		c := execute(Program{Main: func(ctx context.Context) error { <-ctx.Done(); return nil }, Busy: busy.Load})
		began := time.Now()
		time.AfterFunc(time.Minute, func() { busy.Store(false) })
		c.requests <- svc.ChangeRequest{Cmd: svc.PreShutdown}
		if code := <-c.done; code != 0 || time.Since(began) < time.Minute || time.Since(began) > 61*time.Second {
			t.Errorf("ended with %d after %s", code, time.Since(began))
		}
		if asked := len(c.status); asked < 100 {
			t.Errorf("the manager was asked %d times to wait", asked)
		}
		busy.Store(true) // for ever: the machine goes down all the same
		c = execute(Program{Main: func(ctx context.Context) error { <-ctx.Done(); return nil }, Busy: busy.Load})
		began = time.Now()
		c.requests <- svc.ChangeRequest{Cmd: svc.PreShutdown}
		if <-c.done; time.Since(began) > PreShutdown+time.Second {
			t.Errorf("ended after %s", time.Since(began))
		}
	})
}

// TestMainThatEnds: an agent that can't work makes the service fail, so that it
// is started again.
func TestMainThatEnds(t *testing.T) {
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		err  error
		code uint32
	}{"well": {nil, 0}, "badly": {boom, failed}} {
		c := execute(Program{Main: func(context.Context) error { return tc.err }, Busy: idle})
		if code := <-c.done; code != tc.code || !errors.Is(c.h.err, tc.err) {
			t.Errorf("%s: code %d, %v", name, code, c.h.err)
		}
	}
}

func TestInterrogate(t *testing.T) {
	c := execute(Program{Main: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, Busy: idle})
	now := svc.Status{State: svc.Running, Accepts: svc.AcceptStop}
	c.requests <- svc.ChangeRequest{Cmd: svc.Interrogate, CurrentStatus: now}
	c.requests <- svc.ChangeRequest{Cmd: svc.Stop}
	if code := <-c.done; code != 0 || c.h.err != nil {
		t.Errorf("code %d, %v", code, c.h.err)
	}
	var seen []svc.State
	for len(c.status) > 0 {
		seen = append(seen, (<-c.status).State)
	}
	if len(seen) != 4 || seen[0] != svc.StartPending || seen[1] != svc.Running || seen[2] != svc.Running || seen[3] != svc.StopPending {
		t.Errorf("states %v", seen)
	}
}

// TestEvents: what is chosen for the event log, and in which words. What Windows
// makes of it can be read there; Wine keeps no entries.
func TestEvents(t *testing.T) {
	var got []entry
	e := newEvents("event", func(level slog.Level, id uint32, text string) error {
		got = append(got, entry{level, id, text})
		return nil
	})
	log := slog.New(e)
	log.Info("nobody looks for this")
	log.Info("works", "event", 100, "server", "https://x.example")
	log.Warn("something is wrong", "error", "no room")
	log.With("task", "t1").Error("refused", "event", 130)
	log.Debug("never", "event", 1)
	want := []entry{
		{slog.LevelInfo, 100, "msg=works server=https://x.example"},
		{slog.LevelWarn, general, `msg="something is wrong" error="no room"`},
		{slog.LevelError, 130, "msg=refused task=t1"},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d: %+v", i, got[i])
		}
	}
	events, err := OpenEvents("event")
	check(t, err)
	slog.New(events).Info("the tests of package service were here", "event", 100)
	check(t, events.Close())
}

type entry struct {
	level slog.Level
	id    uint32
	text  string
}
