package cli

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/terminal"
)

// auditEntry is one row of the audit log.
type auditEntry struct {
	Seq    int64     `json:"seq"`
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
	Object string    `json:"object"`
	Detail string    `json:"detail,omitempty"`
	Hash   string    `json:"hash"`
}

func auditCmd(o *options) *cobra.Command {
	var server bool
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who did what", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			list, err := all[auditEntry](cmd.Context(), c, c.auditPath(server), nil)
			if err != nil {
				return err
			}
			if o.json {
				return o.printJSON(list)
			}
			if len(list) == 0 {
				o.say("Nothing was recorded yet.")
				return nil
			}
			rows := [][]string{}
			for _, e := range list {
				rows = append(rows, []string{strconv.FormatInt(e.Seq, 10), e.At.Local().Format(time.DateTime), e.Actor, e.Action, strings.TrimSpace(e.Object + " " + e.Detail)})
			}
			return terminal.Table(o.out, []string{"SEQ", "AT", "WHO", "DID", "WHAT"}, rows, "SEQ")
		},
	}
	cmd.PersistentFlags().BoolVar(&server, "server-log", false, "the server's own log instead of the tenant's: people, keys, tenants, catalog")
	cmd.AddCommand(auditExportCmd(o, &server), &cobra.Command{
		Use: "verify", Short: "Check the audit log's chain of hashes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			var v struct {
				OK      bool   `json:"ok"`
				Entries int64  `json:"entries"`
				Head    string `json:"head"`
				Problem string `json:"problem,omitempty"`
			}
			if err := c.call(cmd.Context(), http.MethodGet, "/api/v1/audit/verify", nil, nil, &v); err != nil {
				return err
			}
			if o.json {
				if err := o.printJSON(v); err != nil || v.OK {
					return err
				}
				return terminal.Exit(fault.ExitUntrusted)
			}
			if !v.OK {
				return fault.New(fault.Untrusted, "the audit log was changed: %s", v.Problem)
			}
			o.say("%d entries, chain whole, head %s", v.Entries, v.Head)
			return nil
		},
	})
	return cmd
}

// auditPath is where the tenant's log is, or the server's own.
func (c *client) auditPath(server bool, parts ...string) string {
	if server {
		return strings.Join(append([]string{"/api/v1/audit"}, parts...), "/")
	}
	return c.tenantPath(append([]string{"audit"}, parts...)...)
}

func auditExportCmd(o *options, server *bool) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "export", Short: "Save the audit log with its hashes, one JSON object a line; it verifies offline", Args: cobra.NoArgs,
		RunE: o.on(func(cmd *cobra.Command, c *client, _ []string) error {
			resp, err := c.open(cmd.Context(), http.MethodGet, c.auditPath(*server, "export"), nil, nil)
			if err != nil {
				return err
			}
			return o.save(resp, file)
		}),
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "write to a file")
	return cmd
}
