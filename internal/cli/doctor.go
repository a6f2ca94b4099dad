package cli

import (
	"cmp"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/terminal"
)

// check is one line of doctor.
type check struct {
	name string
	note string
	err  error
}

func (c check) detail() string {
	switch {
	case c.err == nil && c.note == "":
		return ""
	case c.err == nil:
		return ": " + c.note
	}
	text := ": " + c.err.Error()
	if hint := fault.HintOf(c.err); hint != "" {
		text += "\n       hint: " + hint
	}
	return text
}

// diagnosis is a check as programs read it.
type diagnosis struct {
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Note    string `json:"note,omitempty"`
	Problem string `json:"problem,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// diagnose prints the checks; exit code 1 when one found something.
func (o *options) diagnose(all []check) error {
	bad := 0
	list := make([]diagnosis, 0, len(all))
	for _, ch := range all {
		d := diagnosis{Check: ch.name, OK: ch.err == nil, Note: ch.note, Hint: fault.HintOf(ch.err)}
		mark := "ok  "
		if ch.err != nil {
			mark = "BAD "
			d.Problem = ch.err.Error()
			bad++
		}
		list = append(list, d)
		o.say("%s %s%s", mark, ch.name, ch.detail())
	}
	if o.json {
		if err := o.printJSON(list); err != nil {
			return err
		}
	}
	if bad > 0 {
		return terminal.Exit(fault.ExitFailed)
	}
	return nil
}

// checks looks at the settings, the server, its catalog and its machines.
func (o *options) checks(cmd *cobra.Command) []check {
	var out []check
	_, err := os.Stat(o.data)
	switch {
	case err == nil:
		out = append(out, check{name: "data folder " + o.data})
	case o.server == "":
		out = append(out, check{name: "data folder " + o.data, note: "not here; a server elsewhere is asked"})
	}
	c, err := o.connect()
	if err != nil {
		return append(out, check{name: "server known", err: err})
	}
	out = append(out, check{name: "server known", note: c.base})
	var s serverStatus
	if err := c.call(cmd.Context(), http.MethodGet, "/api/v1/status", nil, nil, &s); err != nil {
		return append(out, check{name: "server answers", err: err})
	}
	out = append(out, check{name: "server answers", note: s.Version}, catalogCheck(s))
	if s.Database != "" {
		out = append(out, check{name: "database", note: s.Database})
	}
	if s.Payloads != nil {
		out = append(out, diskCheck(*s.Payloads))
		if text, open := s.Payloads.damage(); text != "" {
			out = append(out, check{name: "server's payloads", err: fault.New(fault.Unavailable, "%s; %d have no good copy", text, open).
				WithHint("look at the disk and the memory of that machine; the audit log names the files (action payload.damaged). What a task needs is fetched anew by itself")})
		}
	}
	hosts, err := all[host](cmd.Context(), c, c.tenantPath("hosts"), nil)
	if err != nil {
		return append(out, check{name: "machines", err: err})
	}
	return append(out, hostChecks(hosts)...)
}

func catalogCheck(s serverStatus) check {
	c := check{name: "catalog"}
	switch {
	case s.Catalog.Version == 0:
		c.err = fault.New(fault.Unavailable, "none was synchronised yet%s", yes(s.Catalog.Error != "", ": "+s.Catalog.Error)).
			WithHint("%s; 'fettle sync' tries now", cmp.Or(s.Catalog.Hint, "machines are told nothing until there is one"))
	case s.Catalog.Error != "":
		c.err = fault.New(fault.Unavailable, "%s", s.Catalog.Error).WithHint("the last good catalog stays in use; %s'fettle sync' tries again", yes(s.Catalog.Hint != "", s.Catalog.Hint+"; "))
	case s.Catalog.Expires.Before(time.Now()):
		c.err = fault.New(fault.Untrusted, "expired on %s", s.Catalog.Expires.Format(time.DateTime)).WithHint("the publisher has to publish again; is it running?")
	default:
		c.note = "fresh and signed"
	}
	return c
}

// diskCheck looks at the disk that the server's payloads and database are on.
func diskCheck(p serverPayloads) check {
	c := check{name: "server's disk", note: bytesText(p.Free) + " free"}
	if p.Error != "" {
		c.err = fault.New(fault.Exhausted, "%s", p.Error).
			WithHint("free space there: until then no payloads come in, and deployments wait. keep_free_mib in the server's settings sets the reserve")
	}
	return c
}

func hostChecks(hosts []host) []check {
	var out []check
	for _, h := range hosts {
		switch {
		case h.Problem != "":
			out = append(out, check{name: "machine " + h.Hostname, err: fault.New(fault.Unavailable, "%s", h.Problem).WithHint("'fettle hosts %s' says what to do about what it lacks, 'fettle-agent status' on the machine how the agent is", h.Hostname)})
		case time.Since(h.LastSeen) > 48*time.Hour && h.State == "active":
			out = append(out, check{name: "machine " + h.Hostname, err: fault.New(fault.Unavailable, "last seen %s", h.LastSeen.Format(time.DateTime)).
				WithHint("is it switched on, and does fettle-agent run there? 'fettle hosts revoke' removes it for good")})
		}
	}
	if len(out) == 0 {
		out = append(out, check{name: "machines", note: "all in touch"})
	}
	return out
}
