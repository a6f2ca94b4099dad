package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/terminal"
)

func publishVerifyCmd(f *publisherFlags) *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Read every file of patches in the repository, and fetch the damaged ones anew", Args: cobra.NoArgs,
		Long: `Reads every payload of the repository now. One whose bytes do not have their
hash any more is set aside and fetched anew from its vendor. A publisher that
runs does this by itself, each payload once a week and changed files at once.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v publisher.Verified
			err := f.work(cmd, func(p *publisher.Publisher, show publisher.Progress) (err error) {
				v, err = p.Verify(cmd.Context(), show)
				return err
			})
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(v)
			} else {
				err = tellVerified(cmd.OutOrStdout(), v)
			}
			if err != nil {
				return err
			}
			if slices.ContainsFunc(v.Damaged, func(d publisher.Damaged) bool { return !d.Mended && !d.Unneeded }) {
				return fault.New(fault.Unavailable, "not every damaged file could be fetched anew").
					WithHint("'fettle publisher verify' tries again, and so does each run of the publisher. Look at the disk.")
			}
			return nil
		},
	}
}

func tellVerified(out io.Writer, v publisher.Verified) error {
	if v.Payloads == 0 && len(v.Damaged) == 0 {
		_, err := fmt.Fprintln(out, "the repository holds no files of patches and no indexes yet")
		return err
	}
	whole := "all are whole"
	if n := len(v.Damaged); n > 0 {
		whole = fmt.Sprintf("%d damaged", n)
	}
	if _, err := fmt.Fprintf(out, "%d files read, %.1f MiB: %s\n", v.Payloads, float64(v.Bytes)/(1<<20), whole); err != nil {
		return err
	}
	tellDamaged(out, v.Damaged)
	return nil
}

// tellDamaged names damaged payloads and what came of each.
func tellDamaged(out io.Writer, all []publisher.Damaged) {
	for _, d := range all {
		what := d.SHA256
		if d.Name != "" {
			what = d.Name + " (" + d.SHA256 + ")"
		}
		if d.Mended {
			terminal.Say(out, "  damaged: %s was set aside and fetched anew; look at the disk", what)
		} else {
			terminal.Say(out, "  damaged: %s was set aside and is missing: %s", what, d.Reason)
		}
	}
}
