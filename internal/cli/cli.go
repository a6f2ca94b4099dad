// Package cli is the operator's command line. Every command works over the
// REST API, as any other program could.
//
// Exit codes stand in fault.ExitCode; docs/cli.md has the table.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/buildinfo"
	"github.com/fettlehq/fettle/internal/fault"
)

// options are the flags that every command knows.
type options struct {
	server string
	data   string
	tenant string
	json   bool
	out    io.Writer
	err    io.Writer
}

// New returns the root command. own are the commands that run programs of
// Fettle itself (up, publisher, server); main hands them in.
func New(out, errOut io.Writer, own ...*cobra.Command) *cobra.Command {
	o := &options{out: out, err: errOut}
	root := &cobra.Command{
		Use:   "fettle",
		Short: "Keep every machine in fine fettle",
		Long: `Fettle finds what your machines lack, leads it through approval, installs it
and proves it.

Commands that ask a server find it by --server and $FETTLE_API_KEY, by
~/.config/fettle/cli.json, or by the data folder of a server on this machine.`,
		SilenceUsage: true, SilenceErrors: true,
		Version: buildinfo.String(),
	}
	root.SetOut(out)
	root.SetErr(errOut)
	f := root.PersistentFlags()
	f.StringVar(&o.server, "server", os.Getenv("FETTLE_SERVER"), "address of the server's API, such as http://127.0.0.1:8780")
	f.StringVar(&o.data, "data", defaultData(), "data folder of a server on this machine")
	f.StringVar(&o.tenant, "tenant", "main", "tenant to work in")
	f.BoolVar(&o.json, "json", false, "print JSON for programs")
	root.AddCommand(hostsCmd(o), patchesCmd(o), missingCmd(o), approveCmd(o), declineCmd(o), approvalsCmd(o), deployCmd(o), rollbackCmd(o),
		deploymentsCmd(o), reportCmd(o), enrollTokenCmd(o), groupsCmd(o), sitesCmd(o), tenantsCmd(o), usersCmd(o), personKeysCmd(o), whoamiCmd(o),
		auditCmd(o), statusCmd(o), syncCmd(o), doctorCmd(o))
	root.AddCommand(own...)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.HasSubCommands() && !c.Runnable() { // cobra would take any word for a call for help, with exit code 0
			c.Args = cobra.NoArgs
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	return root
}

func defaultData() string {
	if d := os.Getenv("FETTLE_DATA"); d != "" {
		return d
	}
	if os.Geteuid() == 0 {
		return "/var/lib/fettle"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "fettle-data"
	}
	return filepath.Join(home, ".local", "share", "fettle")
}

// Run executes the command line and returns the exit code. A failure is told
// in up to two lines: what happened, and what to do next.
func Run(ctx context.Context, args []string, out, errOut io.Writer, own ...*cobra.Command) int {
	return Execute(ctx, New(out, errOut, own...), args, errOut)
}

// Execute is Run for a root command that New has made.
func Execute(ctx context.Context, root *cobra.Command, args []string, errOut io.Writer) int {
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return fault.ExitOK
	}
	if q, ok := errors.AsType[quiet](err); ok {
		return int(q)
	}
	Explain(errOut, misused(cmd, err))
	return exitCode(err)
}

// misused makes a fault of what the parser of the command line says.
func misused(cmd *cobra.Command, err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	help := "'" + cmd.Root().Name() + " help" + strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()) + "'"
	text, near, _ := strings.Cut(err.Error(), "\n\nDid you mean this?\n")
	if names := strings.Fields(near); len(names) > 0 {
		return fault.New(fault.Invalid, "%s", text).WithHint("did you mean %s? %s shows all commands", strings.Join(names, " or "), help)
	}
	return fault.New(fault.Invalid, "%s", text).WithHint("%s shows how it is used", help)
}

// Explain prints an error for a person: the message, then the hint.
func Explain(w io.Writer, err error) {
	var f *fault.Error
	if !errors.As(err, &f) {
		fmt.Fprintf(w, "fettle: %s\n", calm(err.Error()))
		return
	}
	fmt.Fprintf(w, "fettle: %s\n", calm(f.Error()))
	if hint := fault.HintOf(err); hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", calm(hint))
	}
}

// quiet ends with an exit code when everything was said already.
type quiet int

func (q quiet) Error() string { return fmt.Sprintf("exit code %d", int(q)) }

// exitCode is fault's table; what is no fault comes from the flags' parser.
func exitCode(err error) int {
	if _, ok := errors.AsType[*fault.Error](err); !ok {
		return fault.ExitUsage
	}
	return fault.ExitCode(err)
}
