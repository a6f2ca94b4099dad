// Package cli is the command line of fettle-agent.
//
// Exit codes are those of the command fettle: fault.ExitCode.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/buildinfo"
	"github.com/fettlehq/fettle/internal/fault"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError marks wrong use of the command line.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }

// Main runs the command line and returns the exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, streams{os.Stdin, os.Stdout, os.Stderr})
}

func run(ctx context.Context, args []string, io streams) int {
	root := command(io)
	root.SetArgs(args)
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if usage, ok := errors.AsType[usageError](err); ok {
		_, _ = fmt.Fprintf(io.err, "fettle-agent: %s\ntry: fettle-agent --help\n", usage.err)
		return fault.ExitUsage
	}
	text := fault.Public(err)
	if fault.CodeOf(err) == fault.Internal {
		text = err.Error() // the person at this terminal may see everything
	}
	_, _ = fmt.Fprintf(io.err, "fettle-agent: %s\n", calm(text))
	if hint := fault.HintOf(err); hint != "" {
		_, _ = fmt.Fprintf(io.err, "hint: %s\n", calm(hint))
	}
	return fault.ExitCode(err)
}

func command(io streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "fettle-agent",
		Short:         "Fettle's agent: tells what this machine lacks and brings it level",
		Version:       buildinfo.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("fettle-agent {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().String("state", agent.DefaultStateDir(), "folder of the agent's identity, catalog and journal")
	root.AddCommand(enrollCommand(io), runCommand(io), scanCommand(io), inventoryCommand(io), statusCommand(io), versionCommand(io), stepCommand(io))
	root.AddCommand(platformCommands(io)...)
	return root
}

// stateDir reads the flag that every command has.
func stateDir(c *cobra.Command) agent.Dir {
	return agent.Dir(c.Flag("state").Value.String())
}

// exactly is cobra.ExactArgs as wrong use, with the words of what is missing.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if len(args) > n {
			return usageError{fmt.Errorf("unexpected argument %q", args[n])}
		}
		return usageError{fmt.Errorf("%s is missing", what)}
	}
}

func versionCommand(io streams) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show which build this is", Args: exactly(0, ""),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(io.out, "fettle-agent %s\n", buildinfo.String())
			return err
		},
	}
}
