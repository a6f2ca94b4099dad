package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

func reportCmd(o *options) *cobra.Command {
	var format, file, of string
	cmd := &cobra.Command{
		Use: "report KIND", Short: "Print or save a report: tasks, missing, hosts, approvals", Args: cobra.ExactArgs(1),
		ValidArgs: []string{"tasks", "missing", "hosts", "approvals"},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			if o.json {
				format = "json"
			}
			q := url.Values{"format": {format}}
			set(q, "deployment", of)
			resp, err := c.open(cmd.Context(), http.MethodGet, c.tenantPath("reports", args[0]), q, nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			out := o.out
			if file != "" {
				f, err := os.Create(file)
				if err != nil {
					return fault.Wrap(err, fault.Invalid, "%s can't be written", file)
				}
				defer f.Close()
				out = f
			}
			if _, err := io.Copy(out, resp.Body); err != nil {
				return fault.Wrap(err, fault.Unavailable, "the report broke off")
			}
			if file != "" {
				o.say("wrote %s", file)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "csv", "csv, html or json")
	f.StringVarP(&file, "output", "o", "", "write to a file")
	f.StringVar(&of, "deployment", "", "one deployment alone")
	return cmd
}

// token is an enrolment token with the command to run.
type token struct {
	estate.Token
	Secret  string `json:"secret"`
	Command string `json:"command"`
}

func enrollTokenCmd(o *options) *cobra.Command {
	var site, note string
	var uses int
	var life time.Duration
	cmd := &cobra.Command{
		Use: "enroll-token", Short: "Print the command that enrols machines", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			body := map[string]any{"site": site, "uses": uses, "expires_in": life.String(), "note": note}
			var t token
			if err := c.call(cmd.Context(), http.MethodPost, c.tenantPath("tokens"), nil, body, &t); err != nil {
				return err
			}
			if o.json {
				return o.printJSON(t)
			}
			o.say("Run this as root on up to %d machine(s), within %s:\n\n  %s\n", uses, life, t.Command)
			o.say("The token is shown this once. The fingerprints in the command pin the server and the catalog's keys.")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&site, "site", string(estate.DefaultSite), "site the machines stand at")
	f.IntVar(&uses, "uses", 1, "how many machines may use it")
	f.DurationVar(&life, "life", 24*time.Hour, "how long it lives")
	f.StringVar(&note, "note", "", "what it is for")
	return cmd
}

func groupsCmd(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "groups", Short: "List groups of machines", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			list, err := all[estate.Group](cmd.Context(), c, c.tenantPath("groups"), nil)
			if err != nil {
				return err
			}
			if o.json {
				return o.printJSON(list)
			}
			rows := [][]string{}
			for _, g := range list {
				rows = append(rows, []string{string(g.ID), g.Name, strconv.Itoa(len(g.Members))})
			}
			return o.table([]string{"ID", "NAME", "MACHINES"}, rows)
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use: "set ID HOST...", Short: "Make a group of exactly these machines", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			g := estate.Group{Tenant: estate.TenantID(o.tenant), ID: estate.GroupID(args[0]), Name: args[0]}
			for _, name := range args[1:] {
				h, err := c.host(cmd, name)
				if err != nil {
					return err
				}
				g.Members = append(g.Members, h.ID)
			}
			if err := c.call(cmd.Context(), http.MethodPut, c.tenantPath("groups", args[0]), nil, g, &g); err != nil {
				return err
			}
			o.say("group %s has %d machines", g.ID, len(g.Members))
			return nil
		},
	})
	return cmd
}

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
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who did what", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			list, err := all[auditEntry](cmd.Context(), c, c.tenantPath("audit"), nil)
			if err != nil {
				return err
			}
			if o.json {
				return o.printJSON(list)
			}
			rows := [][]string{}
			for _, e := range list {
				rows = append(rows, []string{strconv.FormatInt(e.Seq, 10), e.At.Local().Format(time.DateTime), e.Actor, e.Action, strings.TrimSpace(e.Object + " " + e.Detail)})
			}
			return o.table([]string{"SEQ", "AT", "WHO", "DID", "WHAT"}, rows)
		},
	}
	cmd.AddCommand(&cobra.Command{
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
				return quiet(fault.ExitUntrusted)
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

// serverStatus is GET /status.
type serverStatus struct {
	Version string `json:"version"`
	Uptime  int64  `json:"uptime_seconds"`
	Catalog struct {
		Version   int64     `json:"version"`
		Created   time.Time `json:"created"`
		Expires   time.Time `json:"expires"`
		Source    string    `json:"source"`
		Signers   []string  `json:"signers"`
		Error     string    `json:"error,omitempty"`
		Notes     []string  `json:"notes,omitempty"`
		Platforms []struct {
			Platform   string `json:"platform"`
			Patches    int    `json:"patches"`
			Advisories int    `json:"advisories"`
			CVEs       int    `json:"cves"`
		} `json:"platforms"`
	} `json:"catalog"`
	Counts   map[string]int  `json:"counts"`
	Payloads *serverPayloads `json:"payloads,omitempty"`
}

// serverPayloads is what the server tells of the vendors' files that it holds.
type serverPayloads struct {
	Counted   time.Time `json:"counted,omitzero"`
	Payloads  int       `json:"payloads"`
	Bytes     int64     `json:"bytes"`
	Idle      int       `json:"idle"`
	IdleBytes int64     `json:"idle_bytes"`
	KeepIdle  int64     `json:"keep_idle_seconds"`
	Free      int64     `json:"free_bytes"`
	Reserve   int64     `json:"reserve_bytes"`
	Coming    int64     `json:"coming_bytes"`
	Error     string    `json:"error,omitempty"`
}

// lines says it to people.
func (p *serverPayloads) lines() []string {
	out := []string{fmt.Sprintf("payloads %d MiB free on the server's disk, %d MiB of it stay free", p.Free>>20, p.Reserve>>20)}
	if !p.Counted.IsZero() {
		out = append(out, fmt.Sprintf("         %d files, %d MiB; nobody needs %d of them (%d MiB)%s", p.Payloads, p.Bytes>>20, p.Idle, p.IdleBytes>>20, p.fate()))
	}
	if p.Error != "" {
		out = append(out, "         PROBLEM: "+p.Error)
	}
	return out
}

func (p *serverPayloads) fate() string {
	if p.Idle == 0 || p.KeepIdle < 0 {
		return ""
	}
	return fmt.Sprintf(", which go after %d days", p.KeepIdle/(24*60*60))
}

func statusCmd(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the server and its catalog: version, age, source, signature", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			return o.status(cmd, c, "/api/v1/status", http.MethodGet)
		},
	}
}

func syncCmd(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "sync", Short: "Bring the server's catalog up to date now", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			return o.status(cmd, c, "/api/v1/sync", http.MethodPost)
		},
	}
}

func (o *options) status(cmd *cobra.Command, c *client, path, method string) error {
	var s serverStatus
	if err := c.call(cmd.Context(), method, path, nil, nil, &s); err != nil {
		return err
	}
	if o.json {
		return o.printJSON(s)
	}
	o.say("server   %s at %s, up %s", s.Version, c.base, time.Duration(s.Uptime)*time.Second)
	o.say("catalog  version %d, %s old, valid until %s", s.Catalog.Version, ago(s.Catalog.Created, time.Now()), s.Catalog.Expires.Local().Format(time.DateTime))
	o.say("         from %s, signed by %s", s.Catalog.Source, strings.Join(s.Catalog.Signers, ", "))
	for _, p := range s.Catalog.Platforms {
		o.say("         %s: %d patches, %d advisories, %d CVEs", p.Platform, p.Patches, p.Advisories, p.CVEs)
	}
	for _, n := range s.Catalog.Notes {
		o.say("         note: %s", n)
	}
	if s.Catalog.Error != "" {
		o.say("         PROBLEM: %s", s.Catalog.Error)
	}
	if s.Payloads != nil {
		for _, line := range s.Payloads.lines() {
			o.say("%s", line)
		}
	}
	o.say("machines %d enrolled, %d online, %d lack security updates", s.Counts["endpoints"], s.Counts["online"], s.Counts["missing_security"])
	return nil
}

func doctorCmd(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check this installation and say what to do about what is wrong", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.diagnose(o.checks(cmd))
		},
	}
}
