package cli

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/terminal"
)

// finding is one missing package of one machine.
type finding struct {
	Endpoint estate.EndpointID `json:"endpoint,omitempty"`
	Hostname string            `json:"hostname,omitempty"`
	catalog.Finding
	Approval approval.State `json:"approval"`
}

func missingCmd(o *options) *cobra.Command {
	var hostName, severity, search string
	var security, exploited bool
	cmd := &cobra.Command{
		Use: "missing", Short: "List what machines lack, worst first, with the reason for each", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := knownSeverity(severity); err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			q := url.Values{}
			if hostName != "" {
				h, err := c.host(cmd, hostName)
				if err != nil {
					return err
				}
				q.Set("host", string(h.ID))
			}
			set(q, "severity", severity)
			set(q, "q", search)
			if security {
				q.Set("security", "true")
			}
			if exploited {
				q.Set("exploited", "true")
			}
			list, err := all[finding](cmd.Context(), c, c.tenantPath("missing"), q)
			if err != nil {
				return err
			}
			if len(list) == 0 && !o.json {
				return o.nothingMissing(cmd, c, q)
			}
			return o.listFindings(list, hostName == "")
		},
	}
	f := cmd.Flags()
	f.StringVar(&hostName, "host", "", "one machine, by name or id")
	f.StringVar(&severity, "severity", "", "critical, important, moderate, low or unknown")
	f.StringVar(&search, "search", "", "part of a package's name or a CVE")
	f.BoolVar(&security, "security", false, "security updates alone")
	f.BoolVar(&exploited, "exploited", false, "only what CISA lists as exploited")
	return cmd
}

func set(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}

// nothingMissing says so, and what it is worth: nobody knows what machines lack
// that were never scanned, or that no catalog is for.
func (o *options) nothingMissing(cmd *cobra.Command, c *client, asked url.Values) error {
	hosts, err := all[host](cmd.Context(), c, c.tenantPath("hosts"), url.Values{"state": {string(estate.Active)}})
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		o.say("%s", nobodyEnrolled)
		return nil
	}
	text, unknown := "Nothing is missing", 0
	for _, h := range hosts {
		if id := asked.Get("host"); h.Health == string(catalog.UnknownHealth) && (id == "" || id == string(h.ID)) {
			unknown++
		}
	}
	for _, filter := range []string{"severity", "q", "security", "exploited"} {
		if asked.Has(filter) {
			text = "Nothing that is missing fits"
		}
	}
	if unknown > 0 {
		text += ", but of " + count(unknown, "machine") + " nothing is known: 'fettle hosts' says which"
	}
	o.say("%s.", text)
	return nil
}

func (o *options) listFindings(list []finding, withHost bool) error {
	if o.json {
		return o.printJSON(list)
	}
	slices.SortStableFunc(list, func(a, b finding) int {
		if a.Security != b.Security {
			if a.Security {
				return -1
			}
			return 1
		}
		if d := b.Severity.Rank() - a.Severity.Rank(); d != 0 {
			return d
		}
		return strings.Compare(a.Hostname+a.Name(), b.Hostname+b.Name())
	})
	head := []string{"SEVERITY", "SECURITY", "PACKAGE", "INSTALLED", "AVAILABLE", "APPROVAL", "WHY"}
	rows := make([][]string, 0, len(list))
	seen := map[string]int{}
	for _, f := range list {
		seen[f.Hostname+" "+f.Name()]++
	}
	for _, f := range list {
		name := withArch(f.Name(), f.Arch, seen[f.Hostname+" "+f.Name()])
		row := []string{severityText(f.Severity, f.Exploited), yes(f.Security, "yes"), name, f.Installed, f.Available, approvalText(f.Approval, f.Bulletin || f.State == catalog.UserOnly), why(f)}
		if withHost {
			row = append([]string{f.Hostname}, row...)
		}
		rows = append(rows, row)
	}
	if withHost {
		head = append([]string{"HOST"}, head...)
	}
	if err := terminal.Table(o.out, head, rows, "SECURITY", "APPROVAL", "INSTALLED"); err != nil {
		return err
	}
	o.say("\n%s", totals(list))
	return nil
}

// totals says what can be done about the findings.
func totals(list []finding) string {
	var install, held, half, bulletins, users, other int
	for _, f := range list {
		switch {
		case f.Installable() && f.State == catalog.Held:
			held++
		case f.Installable() && f.State == catalog.Broken:
			half++
		case f.Installable():
			install++
		case f.State == catalog.UserOnly:
			users++
		case f.Bulletin:
			bulletins++
		default:
			other++
		}
	}
	parts := []string{strconv.Itoa(install) + " can be installed by Fettle"}
	for _, part := range []struct {
		n    int
		what string
	}{{held, "held by their machines' administrators"}, {half, "installed only half and tried again when their patch is named"}, {bulletins, "bulletins, which nothing can be installed from"}, {users, "of single users"}, {other, "pinned or not known for certain"}} {
		if part.n > 0 {
			parts = append(parts, strconv.Itoa(part.n)+" "+part.what)
		}
	}
	return count(len(list), "finding") + ": " + strings.Join(parts, ", ") + "."
}

func why(f finding) string {
	text := f.Reason
	if len(f.CVEs) > 0 {
		text = shortList(f.CVEs, 3) + "; " + text
	}
	if f.State != catalog.Missing {
		text = string(f.State) + ": " + text
	}
	return text + ownLook(f)
}

// ownLook says so where a finding stands on what the machine itself answered.
func ownLook(f finding) string {
	i := slices.IndexFunc(f.Evidence, func(e detect.Evidence) bool { return e.By == detect.ByMachine })
	switch {
	case i < 0:
		return ""
	case f.Evidence[i].At.IsZero():
		return "; by the machine's own look"
	}
	return "; by the machine's own look at " + f.Evidence[i].At.UTC().Format("2006-01-02 15:04 UTC")
}
