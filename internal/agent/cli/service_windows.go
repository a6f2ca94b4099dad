package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/fault"
)

const (
	hasServices = true
	nextStep    = "fettle-agent service install, unless it is; the running service takes the identity up by itself"
)

func platformCommands(io streams) []*cobra.Command {
	c := &cobra.Command{
		Use: "service", Short: "Register, start, stop or remove the Windows service " + agent.ServiceName, Args: exactly(1, "install, uninstall, start or stop"),
	}
	c.AddCommand(
		serviceInstall(io),
		&cobra.Command{
			Use: "uninstall", Short: "Stop the service and remove it; the identity and the state folder stay", Args: exactly(0, ""),
			RunE: func(c *cobra.Command, _ []string) error { return agent.UninstallService(c.Context()) },
		},
		&cobra.Command{
			Use: "start", Short: "Start the service", Args: exactly(0, ""),
			RunE: func(c *cobra.Command, _ []string) error { return agent.StartService(c.Context()) },
		},
		&cobra.Command{
			Use: "stop", Short: "Stop the service; an installation under way goes on alone", Args: exactly(0, ""),
			RunE: func(c *cobra.Command, _ []string) error { return agent.StopService(c.Context()) },
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
			problems, err := agent.InstallService(self, args...)
			if err != nil {
				return err
			}
			for _, p := range problems { // the service works all the same
				_, _ = fmt.Fprintf(io.err, "the system did not take a setting: %s\n", fault.Public(p))
			}
			if start {
				return agent.StartService(c.Context())
			}
			return nil
		},
	}
	c.Flags().StringVar(&policy, "policy", agent.DefaultPolicyFile(), "file with this machine's own limits; it wins over the server")
	c.Flags().BoolVar(&start, "start", false, "start it at once")
	return c
}
