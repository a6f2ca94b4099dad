package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/publisher/lab"
	"github.com/fettlehq/fettle/internal/terminal"
)

func publishProveCmd(f *publisherFlags) *cobra.Command {
	var list, forget bool
	cmd := &cobra.Command{
		Use: "prove [PATCH...]", Short: "Fetch patches and check that they are what the vendor signed",
		Long: `Fetches the files of patches and checks them: against the vendor's signed index,
or, for Microsoft's and hardware makers' patches, against the maker's own
signature. The next publication has them proven, so that they can be installed.

What no index vouches for is remembered, with who asked and when, and stays
fetched until --forget takes it back. While a publisher runs the request is only
written down; its next run does it. The exit code is 1 where a patch is not
proven.`,
		Args: func(_ *cobra.Command, args []string) error {
			if list == (len(args) > 0) || list && forget {
				return fault.New(fault.Invalid, "name patches, or give --list alone").WithHint("'fettle patches --search TEXT' and 'fettle missing --json' show ids")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := f.load(cmd)
			switch {
			case err != nil:
				return err
			case list:
				return listRequests(cmd, cfg)
			case forget:
				return publisher.Forget(cfg, ids(args))
			}
			return prove(cmd, f, cfg, args)
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "show what was asked for, by whom and when")
	cmd.Flags().BoolVar(&forget, "forget", false, "take requests back: the patches are bulletins again with the next run")
	return cmd
}

func prove(cmd *cobra.Command, f *publisherFlags, cfg publisher.Config, args []string) error {
	p, err := f.open(cmd)
	if fault.Is(err, fault.Conflict) { // a publisher runs
		if err := publisher.Ask(cfg, ids(args), operator(), time.Now()); err != nil {
			return err
		}
		var noted []lab.Proven
		for _, id := range ids(args) {
			noted = append(noted, lab.Proven{Patch: id, Untried: true, Reason: "a publisher runs: it is written down, and its next run fetches and proves it"})
		}
		return tellProven(cmd, noted)
	}
	if err != nil {
		return err
	}
	defer p.Close()
	show, done := tell(cmd.ErrOrStderr())
	proven, err := p.Prove(cmd.Context(), ids(args), operator(), show)
	done()
	if err != nil {
		return err
	}
	if err := tellProven(cmd, proven); err != nil {
		return err
	}
	if slices.ContainsFunc(proven, func(p lab.Proven) bool { return !p.OK }) {
		return terminal.Exit(fault.ExitFailed)
	}
	return nil
}

// tellProven writes one line a patch for people.
func tellProven(cmd *cobra.Command, all []lab.Proven) error {
	out := cmd.OutOrStdout()
	if wantsJSON(cmd) {
		return json.NewEncoder(out).Encode(all)
	}
	for _, p := range all {
		switch {
		case p.OK:
			terminal.Say(out, "proven: %s; the next publication has it", p.Patch)
		case p.Untried:
			terminal.Fold(out, "not tried: ", string(p.Patch)+": "+p.Reason)
		default:
			terminal.Fold(out, "not proven: ", string(p.Patch)+": "+p.Reason)
		}
	}
	return nil
}

func listRequests(cmd *cobra.Command, cfg publisher.Config) error {
	all, err := publisher.Requests(cfg)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(append([]publisher.Request{}, all...))
	}
	return tellRequests(cmd.OutOrStdout(), all)
}

func tellRequests(out io.Writer, all []publisher.Request) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "nobody has asked for a patch to be proven")
		return err
	}
	var rows [][]string
	for _, r := range all {
		rows = append(rows, []string{r.At.Local().Format(time.DateTime), r.Who, string(r.Patch)})
	}
	return terminal.Table(out, []string{"ASKED FOR", "BY", "PATCH"}, rows)
}

// operator is who runs this command, for people to read: sudo's caller, or the
// account.
func operator() string {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); err == nil {
		name = cmp.Or(name, u.Username)
	}
	return cmp.Or(name, "somebody")
}
