// Package cli is the operator's command line. Every command works over the
// REST API, as any other program could.
//
// Exit codes stand in fault.ExitCode; docs/cli.md has the table.
package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/buildinfo"
	"github.com/fettlehq/fettle/internal/terminal"
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
		Version: buildinfo.String(),
	}
	root.SetOut(out)
	root.SetErr(errOut)
	f := root.PersistentFlags()
	f.StringVar(&o.server, "server", os.Getenv("FETTLE_SERVER"), "address of the server's API, such as http://127.0.0.1:8780")
	f.StringVar(&o.data, "data", defaultData(), "data folder of a server on this machine")
	f.StringVar(&o.tenant, "tenant", "main", "tenant to work in")
	f.BoolVar(&o.json, "json", false, "print JSON for programs")
	addTo(root, chapters(o, own))
	root.AddCommand(versionCmd(o))
	return root
}

func versionCmd(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show which build this is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if o.json {
				return o.printJSON(buildinfo.Read())
			}
			o.say("fettle version %s", buildinfo.String())
			return nil
		},
	}
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

// Run executes the command line and returns the exit code, as terminal.Run
// does.
func Run(ctx context.Context, args []string, out, errOut io.Writer, own ...*cobra.Command) int {
	return terminal.Run(ctx, New(out, errOut, own...), args)
}
