package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettlehq/fettle/internal/fault"
)

func reportCmd(o *options) *cobra.Command {
	var format, file, of, from, to string
	cmd := &cobra.Command{
		Use: "report KIND", Short: "Print or save a report: tasks, missing, hosts, approvals", Args: cobra.ExactArgs(1),
		ValidArgs: []string{"tasks", "missing", "hosts", "approvals"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(oneOf("a report", args[0], cmd.ValidArgs...), oneOf("--format", format, "csv", "html", "json")); err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			if o.json {
				format = "json"
			}
			q := url.Values{"format": {format}}
			set(q, "deployment", of)
			for key, text := range map[string]string{"from": from, "to": to} {
				if err := setMoment(q, key, text); err != nil {
					return err
				}
			}
			resp, err := c.open(cmd.Context(), http.MethodGet, c.tenantPath("reports", args[0]), q, nil)
			if err != nil {
				return err
			}
			return o.save(resp, file)
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "csv", "csv, html or json")
	f.StringVarP(&file, "output", "o", "", "write to a file")
	f.StringVar(&of, "deployment", "", "one deployment alone")
	f.StringVar(&from, "from", "", "tasks and decisions made at or after this day or moment")
	f.StringVar(&to, "to", "", "those made before it")
	return cmd
}

// setMoment puts a day or a moment into the query.
func setMoment(q url.Values, key, text string) error {
	if text == "" {
		return nil
	}
	at, ok := moment(text)
	if !ok {
		return fault.New(fault.Invalid, "%q is no moment", text).WithHint("use a day such as 2026-11-01, or 2026-11-01T08:00")
	}
	q.Set(key, at.Format(time.RFC3339))
	return nil
}

// save writes what the server sends to the file, or out when none is named.
func (o *options) save(resp *http.Response, file string) error {
	defer resp.Body.Close()
	out := o.out
	if file != "" {
		f, err := os.Create(file)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "%s can't be written", file).WithHint("name another file with --output")
		}
		defer f.Close()
		out = f
	}
	if _, err := io.Copy(out, resp.Body); err != nil {
		return fault.Wrap(err, fault.Unavailable, "the download broke off").
			WithHint("%s", strings.TrimSpace(yes(file != "", file+" is not whole; ")+"try again"))
	}
	if file != "" {
		o.say("wrote %s", file)
	}
	return nil
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
		Hint      string    `json:"hint,omitempty"`
		Notes     []string  `json:"notes,omitempty"`
		Platforms []struct {
			Platform   string `json:"platform"`
			Patches    int    `json:"patches"`
			Advisories int    `json:"advisories"`
			CVEs       int    `json:"cves"`
		} `json:"platforms"`
	} `json:"catalog"`
	Counts   map[string]int  `json:"counts"`
	Database string          `json:"database,omitempty"`
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

	Damaged []damagedPayload `json:"damaged,omitempty"`
}

// damagedPayload is a file that the server's disk damaged.
type damagedPayload struct {
	SHA256 string    `json:"sha256"`
	At     time.Time `json:"at"`
	Mended bool      `json:"mended"`
}

// damage says in words what the disk did to files, "" for nothing; open counts
// the files of which no good copy is there again.
func (p *serverPayloads) damage() (text string, open int) {
	var last time.Time
	for _, d := range p.Damaged {
		if !d.Mended {
			open++
		}
		if d.At.After(last) {
			last = d.At
		}
	}
	if len(p.Damaged) == 0 {
		return "", 0
	}
	return fmt.Sprintf("the server's disk damaged %d files within the last week, the last one was found on %s; they were set aside, %d have been fetched anew",
		len(p.Damaged), last.Format(time.DateTime), len(p.Damaged)-open), open
}

// lines says it to people.
func (p *serverPayloads) lines() []string {
	out := []string{fmt.Sprintf("payloads %s free on the server's disk, %s of it stay free", bytesText(p.Free), bytesText(p.Reserve))}
	if !p.Counted.IsZero() {
		out = append(out, fmt.Sprintf("         %s, %s; nobody needs %d of them (%s)%s", count(p.Payloads, "file"), bytesText(p.Bytes), p.Idle, bytesText(p.IdleBytes), p.fate()))
	}
	if p.Error != "" {
		out = append(out, "         PROBLEM: "+p.Error)
	}
	if text, _ := p.damage(); text != "" {
		out = append(out, "         PROBLEM: "+text)
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
	if s.Database != "" {
		o.say("database %s", s.Database)
	}
	if s.Catalog.Version == 0 {
		o.say("catalog  none yet from %s", s.Catalog.Source)
	} else {
		o.say("catalog  version %d, %s, valid until %s", s.Catalog.Version, age(s.Catalog.Created, time.Now()), s.Catalog.Expires.Local().Format(time.DateTime))
		o.say("         from %s, signed by %s", s.Catalog.Source, strings.Join(shortKeys(s.Catalog.Signers), ", "))
	}
	if s.Catalog.Error != "" {
		o.note("         PROBLEM: ", "%s", s.Catalog.Error)
		o.note("         hint: ", "%s", cmp.Or(s.Catalog.Hint, "'fettle sync' tries again"))
	}
	for _, p := range s.Catalog.Platforms {
		o.say("         %s: %d patches, %d advisories, %d CVEs", p.Platform, p.Patches, p.Advisories, p.CVEs)
	}
	for _, n := range s.Catalog.Notes {
		o.note("         note: ", "%s", n)
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
