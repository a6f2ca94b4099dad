package cli

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/terminal"
)

// patchRow is a patch as lists show it.
type patchRow struct {
	ID        patch.ID             `json:"id"`
	Product   string               `json:"product"`
	Version   string               `json:"version"`
	Platform  string               `json:"platform"`
	Class     patch.Classification `json:"class"`
	Severity  patch.Severity       `json:"severity"`
	Released  time.Time            `json:"released,omitzero"`
	CVEs      int                  `json:"cves"`
	Exploited bool                 `json:"exploited"`
	NeededBy  int                  `json:"needed_by"`
	Bulletin  bool                 `json:"bulletin"`
	Approval  approval.State       `json:"approval"`
}

func patchesCmd(o *options) *cobra.Command {
	var severity, search, state string
	var security, everything bool
	cmd := &cobra.Command{
		Use: "patches [PATCH]", Short: "List patches that machines need, or show one", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return o.showPatch(cmd, c, args[0])
			}
			if err := cmp.Or(knownSeverity(severity), oneOf("--approval", state, "awaiting_approval", "approved", "declined")); err != nil {
				return err
			}
			q := url.Values{}
			set(q, "severity", severity)
			set(q, "q", search)
			set(q, "approval", state)
			if security {
				q.Set("security", "true")
			}
			q.Set("needed", strconv.FormatBool(!everything))
			list, err := all[patchRow](cmd.Context(), c, c.tenantPath("patches"), q)
			if err != nil {
				return err
			}
			if len(list) == 0 && len(q) == 2 && !everything && !o.json { // needed, and the limit that all has added
				o.say("No machine lacks a patch. 'fettle patches --all' lists the whole catalog.")
				return nil
			}
			return o.listPatches(list)
		},
	}
	f := cmd.Flags()
	f.StringVar(&severity, "severity", "", "critical, important, moderate, low or unknown")
	f.StringVar(&search, "search", "", "part of a product's name, a version or a CVE")
	f.StringVar(&state, "approval", "", "awaiting_approval, approved or declined")
	f.BoolVar(&security, "security", false, "security updates alone")
	f.BoolVar(&everything, "all", false, "the whole catalog, not only what machines need")
	type ref struct {
		ID       estate.EndpointID `json:"id"`
		Hostname string            `json:"hostname"`
	}
	needs := listing[ref]{
		path: func(c *client, args []string) string { return c.tenantPath("patches", args[0], "hosts") }, empty: "No machine lacks it.",
		head: []string{"HOST", "ID"}, row: func(r ref) []string { return []string{r.Hostname, string(r.ID)} },
	}
	type holder struct {
		ref
		Certain    bool     `json:"certain"`
		RequiredBy []string `json:"required_by,omitempty"`
	}
	holders := listing[holder]{
		path: func(c *client, args []string) string { return c.tenantPath("patches", args[0], "holders") }, empty: "No machine has it.",
		head: []string{"HOST", "ID", "HAS IT", "REQUIRED BY"},
		row: func(h holder) []string {
			has := "yes"
			if !h.Certain {
				has = "not certain"
			}
			return []string{h.Hostname, string(h.ID), has, shortList(h.RequiredBy, 3)}
		},
	}
	cmd.AddCommand(
		&cobra.Command{Use: "hosts PATCH", Short: "List the machines that lack a patch", Args: cobra.ExactArgs(1), RunE: needs.show(o)},
		&cobra.Command{Use: "holders PATCH", Short: "List the machines that have a patch, from which 'fettle rollback' takes it", Args: cobra.ExactArgs(1), RunE: holders.show(o)})
	return cmd
}

func (o *options) listPatches(list []patchRow) error {
	if o.json {
		return o.printJSON(list)
	}
	if len(list) == 0 {
		o.say("No patch fits.")
		return nil
	}
	slices.SortStableFunc(list, func(a, b patchRow) int {
		if d := b.Severity.Rank() - a.Severity.Rank(); d != 0 {
			return d
		}
		if d := b.NeededBy - a.NeededBy; d != 0 {
			return d
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	rows := make([][]string, 0, len(list))
	for _, p := range list {
		rows = append(rows, []string{
			severityText(p.Severity, p.Exploited), string(p.Class), strconv.Itoa(p.NeededBy),
			strconv.Itoa(p.CVEs), approvalText(p.Approval, p.Bulletin), string(p.ID),
		})
	}
	return terminal.Table(o.out, []string{"SEVERITY", "CLASS", "NEEDED BY", "CVES", "APPROVAL", "PATCH"}, rows, "CVES", "CLASS")
}

// approvalText is the decision; where there is nothing to install, it says so.
func approvalText(s approval.State, bulletin bool) string {
	if bulletin {
		return "nothing to install"
	}
	return string(s)
}

// patchDetail is one patch with all that is known of it.
type patchDetail struct {
	Patch           patch.Patch           `json:"patch"`
	Digest          string                `json:"digest"`
	Vulnerabilities []patch.Vulnerability `json:"vulnerabilities"`
	NeededBy        []struct {
		ID       estate.EndpointID `json:"id"`
		Hostname string            `json:"hostname"`
	} `json:"needed_by"`
	Approvals  []approval.Approval `json:"approvals"`
	Advisories []patch.Advisory    `json:"advisories"`
	Rollback   wayBack             `json:"rollback"`
}

// wayBack says whether and how a rollback takes a patch back.
type wayBack struct {
	Possible bool   `json:"possible"`
	Reason   string `json:"reason,omitempty"`
	Hint     string `json:"hint,omitempty"`
	Restores *struct {
		ID      patch.ID `json:"id"`
		Product string   `json:"product"`
		Version string   `json:"version"`
	} `json:"restores,omitempty"`
}

// lines say it to people, who have read the patch's id already.
func (b wayBack) lines(id patch.ID) []string {
	switch {
	case !b.Possible:
		out := []string{strings.TrimPrefix(b.Reason, string(id)+" ")}
		if b.Hint != "" {
			out = append(out, "  instead: "+b.Hint)
		}
		return out
	case b.Restores == nil:
		return []string{"can be rolled back: it is uninstalled, and nothing comes in its place"}
	}
	return []string{"can be rolled back to " + b.Restores.Product + " " + b.Restores.Version}
}

// origin says where the patch is from, and what a rollback makes of it.
func (d patchDetail) origin() []string {
	e := d.Patch.Evidence
	record := "signed record: sha256 " + d.Digest
	if !e.Bulletin() {
		return append([]string{"authenticity: " + string(e.Verdict) + "; " + strings.Join(e.Checks, "; "), record}, d.Rollback.lines(d.Patch.ID)...)
	}
	out := []string{"nothing can be installed from it: " + strings.Join(e.Checks, "; "), record}
	for _, a := range d.Advisories {
		for _, page := range a.References[:min(len(a.References), 3)] {
			out = append(out, "the vendor's page: "+page)
		}
	}
	return out
}

func (o *options) showPatch(cmd *cobra.Command, c *client, id string) error {
	var d patchDetail
	if err := c.call(cmd.Context(), http.MethodGet, c.tenantPath("patches", id), nil, nil, &d); err != nil {
		return err
	}
	if o.json {
		return o.printJSON(d)
	}
	p := d.Patch
	o.say("%s", p.ID)
	o.say("  %s %s for %s, %s, severity %s", p.Product, p.Version, p.Platform, p.Classification, p.Severity)
	if len(p.Advisories) > 0 {
		o.say("  advisories: %s", strings.Join(p.Advisories, ", "))
	}
	for _, line := range d.origin() {
		o.say("  %s", line)
	}
	for _, a := range d.Approvals {
		o.say("  %s", decisionText(a))
	}
	for _, it := range p.Items {
		o.say("  brings %s %s %s (%s)", it.Name, it.Version, it.Arch, bytesText(it.Payload.Size))
	}
	for _, v := range d.Vulnerabilities {
		o.say("  %s %s cvss %.1f epss %.3f%s", v.ID, v.Severity, v.CVSS, v.EPSS, yes(v.KEV != nil, " exploited"))
	}
	names := []string{}
	for _, h := range d.NeededBy {
		names = append(names, h.Hostname)
	}
	if len(names) == 0 {
		o.say("  no machine lacks it")
		return nil
	}
	o.say("  %s it: %s", count(len(names), "machine")+yes(len(names) == 1, " lacks")+yes(len(names) > 1, " lack"), shortList(names, 20))
	return nil
}

// decisionText says who decided what for whom.
func decisionText(a approval.Approval) string {
	text := string(a.Decision) + "d by " + a.By + " on " + a.At.Local().Format(time.DateOnly)
	switch {
	case a.Endpoint != "":
		text += " for machine " + string(a.Endpoint)
	case a.Group != "":
		text += " for group " + string(a.Group)
	}
	if a.Reason != "" {
		text += ": " + a.Reason
	}
	return text
}

// choice is how approve and deploy name patches.
type choice struct {
	security bool
	atLeast  string
	missing  bool
}

func (ch *choice) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&ch.security, "security", false, "every missing security patch")
	f.StringVar(&ch.atLeast, "severity-at-least", "", "every missing patch of this severity or worse")
	f.BoolVar(&ch.missing, "all-missing", false, "every patch that some machine lacks")
}

// body is the API's form of the choice.
func (ch *choice) body(args []string) (map[string]any, error) {
	filtered := ch.security || ch.atLeast != "" || ch.missing
	if len(args) > 0 && filtered {
		return nil, fault.New(fault.Invalid, "patches are named, and others are asked for besides").
			WithHint("either name patches, or use --security, --severity-at-least or --all-missing; nothing was done")
	}
	if len(args) > 0 {
		return map[string]any{"patches": args}, nil
	}
	if !filtered {
		return nil, fault.New(fault.Invalid, "no patch is named").
			WithHint("name patches by id ('fettle patches' lists them), or use --security, --severity-at-least or --all-missing")
	}
	if err := knownSeverity(ch.atLeast); err != nil {
		return nil, err
	}
	filter := map[string]any{"all_missing": true}
	if ch.security {
		filter["security"] = true
	}
	if ch.atLeast != "" {
		filter["severity_at_least"] = ch.atLeast
	}
	return map[string]any{"filter": filter}, nil
}

// decided is a decision with what the server has to say about it.
type decided struct {
	approval.Approval
	Note string `json:"note,omitempty"`
}

func approveCmd(o *options) *cobra.Command {
	return decideCmd(o, approval.Approve, "approve [PATCH...]", "Approve patches for installation",
		`fettle approve --security
  fettle approve debian-12:amd64:openssl:3.0.17-1~deb12u3 --group test`)
}

func declineCmd(o *options) *cobra.Command {
	return decideCmd(o, approval.Decline, "decline [PATCH...]", "Decline patches; a decline beats every approval",
		`fettle decline debian-12:amd64:foo:1.2-3 --reason "breaks billing, vendor case 4711" --review 30d`)
}

func decideCmd(o *options, decision approval.Decision, use, short, example string) *cobra.Command {
	var ch choice
	var group, reason string
	var expires, review time.Duration
	cmd := &cobra.Command{
		Use: use, Short: short, Example: "  " + example,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			body, err := ch.body(args)
			if err != nil {
				return err
			}
			body["decision"] = decision
			body["group"] = group
			body["reason"] = reason
			if expires > 0 {
				body["expires"] = time.Now().Add(expires).UTC()
			}
			if review > 0 {
				body["review"] = time.Now().Add(review).UTC()
			}
			var made page[decided]
			if err := c.call(cmd.Context(), http.MethodPost, c.tenantPath("approvals"), nil, body, &made); err != nil {
				return err
			}
			if o.json {
				return o.printJSON(made.Items)
			}
			for _, a := range made.Items {
				o.say("%sd %s%s", decision, a.Patch, yes(a.Note != "", "; "+a.Note))
			}
			o.say("%s recorded.%s", count(len(made.Items), "decision"), yes(decision == approval.Approve && len(made.Items) > 0, " Nothing is installed until 'fettle deploy'.")+
				yes(decision == approval.Approve && len(made.Items) == 0, " What is missing was decided before, or nothing can be installed from it ('fettle missing' says which)."))
			return nil
		},
	}
	ch.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&group, "group", "", "for one group of machines instead of all")
	if decision == approval.Decline {
		f.StringVar(&reason, "reason", "", "why; it is needed")
		lifetimeVar(f, &review, "review", "when it is to be looked at again, such as 30d")
	} else {
		f.StringVar(&reason, "reason", "", "why")
	}
	lifetimeVar(f, &expires, "expires", "the decision ends after this time, such as 30d")
	return cmd
}
