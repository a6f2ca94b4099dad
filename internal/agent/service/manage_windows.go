package service

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	"github.com/fettlehq/fettle/internal/fault"
)

// PreShutdown is how long the machine's shutdown waits for an installation
// that is under way.
const PreShutdown = 3 * time.Minute

// changeWait bounds the wait for a service to start or stop.
const changeWait = 45 * time.Second

// Install registers the program with these arguments as the service, or brings
// the registration up to date, and registers the source of event-log entries.
// problems are settings that the system did not take (Wine takes fewer than
// Windows): the service works without them. Errors: fault.Denied without
// administrator's rights, fault.Unavailable.
func Install(program string, args ...string) (problems []error, err error) {
	m, err := connect()
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Disconnect() }()
	cfg := mgr.Config{
		ServiceType: windows.SERVICE_WIN32_OWN_PROCESS, StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal,
		DisplayName: "Fettle Agent",
	}
	s, err := m.OpenService(Name)
	if err == nil {
		cfg.BinaryPathName = commandLine(program, args)
		if err := s.UpdateConfig(cfg); err != nil {
			problems = append(problems, err)
		}
	} else if s, err = m.CreateService(Name, program, cfg, args...); err != nil {
		return nil, wrap(err, "register the service")
	}
	defer func() { _ = s.Close() }()
	return append(problems, settings(s)...), source()
}

// commandLine is how CreateService writes it.
func commandLine(program string, args []string) string {
	line := []string{syscall.EscapeArg(program)}
	for _, a := range args {
		line = append(line, syscall.EscapeArg(a))
	}
	return strings.Join(line, " ")
}

// settings are those that Windows keeps beside the registration: what people
// read, a start that leaves a booting machine to its user first, a restart
// after a failure, and the time that a shutdown waits.
func settings(s *mgr.Service) (problems []error) {
	set := func(what string, err error) {
		if err != nil {
			problems = append(problems, wrap(err, what))
		}
	}
	text, err := windows.UTF16PtrFromString("Takes this computer's inventory, compares it with Fettle's signed catalog, and installs the updates that were approved for it.")
	if err == nil {
		d := windows.SERVICE_DESCRIPTION{Description: text}
		err = windows.ChangeServiceConfig2(s.Handle, windows.SERVICE_CONFIG_DESCRIPTION, (*byte)(unsafe.Pointer(&d)))
	}
	set("set the description", err)
	delayed := windows.SERVICE_DELAYED_AUTO_START_INFO{IsDelayedAutoStartUp: 1}
	set("set the delayed start", windows.ChangeServiceConfig2(s.Handle, windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, (*byte)(unsafe.Pointer(&delayed))))
	set("set the restart after a failure", s.SetRecoveryActions([]mgr.RecoveryAction{
		{Type: mgr.ServiceRestart, Delay: 10 * time.Second},
		{Type: mgr.ServiceRestart, Delay: time.Minute},
		{Type: mgr.ServiceRestart, Delay: 5 * time.Minute},
	}, uint32((24*time.Hour)/time.Second)))
	set("count a stop by itself as a failure", s.SetRecoveryActionsOnNonCrashFailures(true))
	// SERVICE_PRESHUTDOWN_INFO holds one number, in milliseconds.
	wait := uint32(PreShutdown / time.Millisecond)
	set("set how long a shutdown waits", windows.ChangeServiceConfig2(s.Handle, windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, (*byte)(unsafe.Pointer(&wait))))
	return problems
}

// source registers the event log's source; one that is there stays.
func source() error {
	err := eventlog.InstallAsEventCreate(Source, eventlog.Info|eventlog.Warning|eventlog.Error)
	if err != nil && !strings.HasSuffix(err.Error(), "already exists") {
		return wrap(err, "register the source of event-log entries")
	}
	return nil
}

// Uninstall stops the service and removes it and its event-log source. A
// service that is not there is no error.
func Uninstall(ctx context.Context) error {
	if err := Stop(ctx); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	err := with(func(s *mgr.Service) error {
		if err := s.Delete(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) {
			return wrap(err, "remove the service")
		}
		return nil
	})
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err := eventlog.Remove(Source); err != nil && !errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return wrap(err, "remove the source of event-log entries")
	}
	return nil
}

// Start starts the service and waits until it runs; one that runs is no error.
func Start(ctx context.Context) error {
	return with(func(s *mgr.Service) error {
		if err := s.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
			return wrap(err, "start the service")
		}
		return reach(ctx, s, svc.Running)
	})
}

// Stop stops the service and waits until it has ended. What it is installing
// goes on alone.
func Stop(ctx context.Context) error {
	return with(func(s *mgr.Service) error {
		if _, err := s.Control(svc.Stop); err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
			return wrap(err, "stop the service")
		}
		return reach(ctx, s, svc.Stopped)
	})
}

func reach(ctx context.Context, s *mgr.Service, want svc.State) error {
	ctx, cancel := context.WithTimeout(ctx, changeWait)
	defer cancel()
	tick := time.NewTicker(busyPoll)
	defer tick.Stop()
	for {
		st, err := s.Query()
		switch {
		case err != nil:
			return wrap(err, "ask for the service's state")
		case st.State == want:
			return nil
		case want == svc.Running && st.State == svc.Stopped:
			return fault.New(fault.Unavailable, "service: it ended right after its start (code %d)", max(st.Win32ExitCode, st.ServiceSpecificExitCode)).
				WithHint("the event log and agent.log in its state folder say why")
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), fault.Unavailable, "service: it did not change its state within %s", changeWait)
		case <-tick.C:
		}
	}
}

func connect() (*mgr.Mgr, error) {
	m, err := mgr.Connect()
	if err != nil {
		return nil, wrap(err, "reach the service control manager")
	}
	return m, nil
}

// with opens the service.
func with(do func(*mgr.Service) error) error {
	m, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = m.Disconnect() }()
	s, err := m.OpenService(Name)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return fault.Wrap(err, fault.NotFound, "service: %s is not registered on this computer", Name).
			WithHint("register it: fettle-agent service install")
	}
	if err != nil {
		return wrap(err, "open the service")
	}
	defer func() { _ = s.Close() }()
	return do(s)
}

func wrap(err error, what string) error {
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return fault.Wrap(err, fault.Denied, "service: may not %s", what).WithHint("run it as administrator")
	}
	return fault.New(fault.Unavailable, "service: can't %s: %s", what, err.Error()) // the system's words are safe to show
}
