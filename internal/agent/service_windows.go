package agent

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/agent/service"
	"github.com/fettlehq/fettle/internal/fault"
)

// ServiceName is what Windows' service control manager calls the agent.
const ServiceName = service.Name

// InstallService registers the program with these arguments as the service, or
// brings the registration up to date. problems are settings that the system did
// not take; the service works without them. Errors: fault.Denied without an
// administrator's rights, fault.Unavailable.
func InstallService(program string, args ...string) (problems []error, err error) {
	return service.Install(program, args...)
}

// UninstallService stops the service and removes it; none is no error.
func UninstallService(ctx context.Context) error { return service.Uninstall(ctx) }

// StartService starts the service and waits until it runs.
func StartService(ctx context.Context) error { return service.Start(ctx) }

// StopService stops the service and waits until it has ended.
func StopService(ctx context.Context) error { return service.Stop(ctx) }

// enrolmentPoll is how often a service without an identity looks for one.
const enrolmentPoll = 5 * time.Second

// RunService works under the service control manager. The log goes to a file
// in the state folder, and what people look for to the event log. Before
// enrolment it waits for it.
func RunService(cfg Config, level slog.Level) error {
	file, err := OpenLog(cfg.State)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // written through
	handlers := []slog.Handler{slog.NewTextHandler(file, &slog.HandlerOptions{Level: level})}
	events, err := service.OpenEvents(EventKey)
	if err == nil {
		defer func() { _ = events.Close() }()
		handlers = append(handlers, events)
	}
	cfg.Log = slog.New(slog.NewMultiHandler(handlers...))
	// Patching gives way to the machine's own work; what it starts inherits that.
	if err := windows.SetPriorityClass(windows.CurrentProcess(), windows.BELOW_NORMAL_PRIORITY_CLASS); err != nil {
		cfg.Log.Debug("priority not lowered", "error", err)
	}
	var running atomic.Pointer[Agent]
	err = service.Run(service.Program{
		Main: func(ctx context.Context) error {
			if !awaitIdentity(ctx, cfg) {
				return nil
			}
			return Work(ctx, cfg, running.Store)
		},
		Busy: func() bool { a := running.Load(); return a != nil && a.Installing() },
	})
	if err != nil {
		cfg.Log.Error("the agent ended", "error", err)
	}
	return err
}

// awaitIdentity waits until the machine is enrolled; false when ctx ends first.
func awaitIdentity(ctx context.Context, cfg Config) bool {
	tick := time.NewTicker(enrolmentPoll)
	defer tick.Stop()
	for told := false; ; told = true {
		_, err := cfg.State.Settings()
		if !fault.Is(err, fault.NotFound) {
			return true // the agent tells what else may be wrong
		}
		if !told {
			cfg.Log.Info("this machine is not enrolled yet: waiting for fettle-agent enroll")
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// NoteEnrolment tells the event log how an enrolment ended: nobody reads what
// it prints when Windows Installer started it.
func NoteEnrolment(s Settings, failure error) {
	events, err := service.OpenEvents(EventKey)
	if err != nil {
		return // the person at the terminal reads it
	}
	defer func() { _ = events.Close() }()
	if failure != nil {
		slog.New(events).Error("this machine could not be enrolled", "error", failure, "hint", fault.HintOf(failure))
		return
	}
	slog.New(events).Info("this machine is enrolled", EventKey, EventEnrolled, "server", s.Server, "endpoint", s.Endpoint, "tenant", s.Tenant, "site", s.Site)
}
