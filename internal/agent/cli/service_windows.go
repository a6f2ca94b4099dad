package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/agent/service"
	"github.com/fettlehq/fettle/internal/fault"
)

const (
	hasServices = true
	nextStep    = "fettle-agent service install, unless it is; the running service takes the identity up by itself"
)

// enrolmentPoll is how often a service without an identity looks for one.
const enrolmentPoll = 5 * time.Second

// runService works under the service control manager. The log goes to a file
// in the state folder, and what people look for to the event log. Before
// enrolment it waits for it.
func runService(cfg agent.Config, level slog.Level) error {
	file, err := agent.OpenLog(cfg.State)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // written through
	handlers := []slog.Handler{slog.NewTextHandler(file, &slog.HandlerOptions{Level: level})}
	events, err := service.OpenEvents(agent.EventKey)
	if err == nil {
		defer func() { _ = events.Close() }()
		handlers = append(handlers, events)
	}
	cfg.Log = slog.New(slog.NewMultiHandler(handlers...))
	// Patching gives way to the machine's own work; what it starts inherits that.
	if err := windows.SetPriorityClass(windows.CurrentProcess(), windows.BELOW_NORMAL_PRIORITY_CLASS); err != nil {
		cfg.Log.Debug("priority not lowered", "error", err)
	}
	var running atomic.Pointer[agent.Agent]
	err = service.Run(service.Program{
		Main: func(ctx context.Context) error {
			if !awaitIdentity(ctx, cfg) {
				return nil
			}
			return work(ctx, cfg, running.Store)
		},
		Busy: func() bool { a := running.Load(); return a != nil && a.Installing() },
	})
	if err != nil {
		cfg.Log.Error("the agent ended", "error", err)
	}
	return err
}

// awaitIdentity waits until the machine is enrolled; false when ctx ends first.
func awaitIdentity(ctx context.Context, cfg agent.Config) bool {
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

// noteEnrolment tells the event log how an enrolment ended: nobody reads what
// it prints when Windows Installer started it.
func noteEnrolment(s agent.Settings, failure error) {
	events, err := service.OpenEvents(agent.EventKey)
	if err != nil {
		return // the person at the terminal reads it
	}
	defer func() { _ = events.Close() }()
	if failure != nil {
		slog.New(events).Error("this machine could not be enrolled", "error", failure, "hint", fault.HintOf(failure))
		return
	}
	slog.New(events).Info("this machine is enrolled", agent.EventKey, agent.EventEnrolled, "server", s.Server, "endpoint", s.Endpoint, "tenant", s.Tenant, "site", s.Site)
}

func platformCommands(io streams) []*cobra.Command {
	c := &cobra.Command{
		Use: "service", Short: "Register, start, stop or remove the Windows service " + service.Name, Args: exactly(1, "install, uninstall, start or stop"),
	}
	c.AddCommand(
		serviceInstall(io),
		&cobra.Command{
			Use: "uninstall", Short: "Stop the service and remove it; the identity and the state folder stay", Args: exactly(0, ""),
			RunE: func(c *cobra.Command, _ []string) error { return service.Uninstall(c.Context()) },
		},
		&cobra.Command{
			Use: "start", Short: "Start the service", Args: exactly(0, ""),
			RunE: func(c *cobra.Command, _ []string) error { return service.Start(c.Context()) },
		},
		&cobra.Command{
			Use: "stop", Short: "Stop the service; an installation under way goes on alone", Args: exactly(0, ""),
			RunE: func(c *cobra.Command, _ []string) error { return service.Stop(c.Context()) },
		},
	)
	return []*cobra.Command{c}
}

func serviceInstall(io streams) *cobra.Command {
	var policy string
	var start bool
	c := &cobra.Command{
		Use: "install", Short: "Register this program as a service that starts with the machine, or bring the registration up to date",
		Args: exactly(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fault.Wrap(err, fault.Unavailable, "can't find the agent's own program")
			}
			args := []string{"run", "--service"}
			if state := stateDir(c); string(state) != agent.DefaultStateDir() {
				args = append(args, "--state", string(state))
			}
			if policy != agent.DefaultPolicyFile() {
				args = append(args, "--policy", policy)
			}
			problems, err := service.Install(self, args...)
			if err != nil {
				return err
			}
			for _, p := range problems { // the service works all the same
				_, _ = fmt.Fprintf(io.err, "the system did not take a setting: %s\n", fault.Public(p))
			}
			if start {
				return service.Start(c.Context())
			}
			return nil
		},
	}
	c.Flags().StringVar(&policy, "policy", agent.DefaultPolicyFile(), "file with this machine's own limits; it wins over the server")
	c.Flags().BoolVar(&start, "start", false, "start it at once")
	return c
}
