package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

func rollbackCmd(o *options) *cobra.Command {
	var r rollout
	var reason string
	var keep bool
	cmd := &cobra.Command{
		Use: "rollback PATCH...", Short: "Take patches back: uninstall them and bring the version before back",
		Long: `Takes patches back on the machines that have them: each one is uninstalled as
its signed manifest says and, where it names one, the version before is
installed again. A fresh scan proves both. Rings, windows and limits hold as for
an installation; no approval is needed, but a reason is.

The patches are declined for just these machines, so that no deployment puts
them back at once; --keep-approval leaves the decisions alone, and 'fettle
approvals withdraw' ends such a decline.`,
		Example: `  fettle rollback winget:7zip.7zip:24.08:amd64:exe --host pc7 --reason "breaks the archive job" --watch
  fettle rollback winget:7zip.7zip:24.08:amd64:exe --all --dry-run`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return fault.New(fault.Invalid, "no patch is named").WithHint("name patches by id; 'fettle deployments ID --json' names what was installed")
			case strings.TrimSpace(reason) == "" && !r.dryRun:
				return fault.New(fault.Invalid, "a rollback needs a reason").WithHint("say why with --reason; auditors and the next administrator will ask")
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			body, err := r.body(cmd, c)
			if err != nil {
				return err
			}
			body["operation"], body["patches"], body["reason"], body["keep_approval"] = deploy.Rollback, args, reason, keep
			return r.begin(cmd, o, c, body)
		},
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&reason, "reason", "", "why, for the audit log and the machines' decline")
	f.BoolVar(&keep, "keep-approval", false, "do not decline the patches for these machines")
	return cmd
}
