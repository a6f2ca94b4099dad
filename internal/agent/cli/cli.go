// Package cli is the command line of fettle-agent.
//
// Exit codes are those of the command fettle: fault.ExitCode.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/buildinfo"
	"github.com/fettlehq/fettle/internal/terminal"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Main runs the command line and returns the exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, streams{os.Stdin, os.Stdout, os.Stderr})
}

func run(ctx context.Context, args []string, io streams) int {
	root := command(io)
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	return terminal.Run(ctx, root, args)
}

func command(io streams) *cobra.Command {
	root := &cobra.Command{
		Use:     "fettle-agent",
		Short:   "Fettle's agent: tells what this machine lacks and brings it level",
		Version: buildinfo.String(),
	}
	root.SetVersionTemplate("fettle-agent {{.Version}}\n")
	root.PersistentFlags().String("state", agent.DefaultStateDir(), "folder of the agent's identity, catalog and journal")
	root.AddCommand(enrollCommand(io), runCommand(io), scanCommand(io), inventoryCommand(io), statusCommand(io), versionCommand(io), stepCommand(io))
	root.AddCommand(platformCommands(io)...)
	return root
}

// stateDir reads the flag that every command has.
func stateDir(c *cobra.Command) agent.Dir {
	return agent.Dir(c.Flag("state").Value.String())
}

// exactly is cobra.ExactArgs with the words of what is missing.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if len(args) > n {
			return fmt.Errorf("unexpected argument %q", args[n])
		}
		return fmt.Errorf("%s is missing", what)
	}
}

func versionCommand(io streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Show which build this is", Args: exactly(0, ""),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return writeJSON(io.out, buildinfo.Read())
			}
			_, err := fmt.Fprintf(io.out, "fettle-agent %s\n", buildinfo.String())
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
