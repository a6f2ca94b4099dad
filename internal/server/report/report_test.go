package report

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"gotest.tools/v3/golden"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v (%s)", err, fault.CodeOf(err))
	}
}

func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// findings is the index: fixed findings for machine e1, none for e2, e3 was
// never scanned.
type findings struct{}

func (findings) Findings(_ estate.TenantID, e estate.EndpointID) ([]catalog.Finding, error) {
	switch e {
	case "e1":
		return []catalog.Finding{
			{Patch: "p:evil:1", Package: "=cmd|' /C calc'!A0", Installed: "1", Available: "2", Severity: patch.Unknown, State: catalog.Held, Reason: "held <b>here</b>"},
			{Patch: "p:openssl:3", Package: "openssl", Arch: "amd64", Installed: "3.0.15", Available: "3.0.17", Security: true, Severity: patch.Critical, CVEs: []string{"CVE-2026-0001", "CVE-2026-0002"}, Advisories: []string{"DSA-1"}, Exploited: true, State: catalog.Missing, Reason: "the archive has 3.0.17, \"newer\"\nthan 3.0.15"},
		}, nil
	case "e2":
		return nil, nil
	}
	return nil, fault.New(fault.NotFound, "not scanned")
}

func (findings) Covered(_ estate.TenantID, e estate.EndpointID) bool { return e != "e3" }

func find(id patch.ID) (patch.Patch, error) {
	if id == "p:openssl:3" {
		return patch.Patch{ID: id, Items: []patch.Item{{Name: "openssl"}, {Name: "libssl3"}}}, nil
	}
	if id == "p:evil:1" {
		return patch.Patch{ID: id, Items: []patch.Item{{Name: "evil"}}}, nil
	}
	return patch.Patch{}, fault.New(fault.NotFound, "gone")
}

// fill puts an estate with one of everything into a real store.
func fill(t testing.TB) *store.DB {
	t.Helper()
	ctx := context.Background()
	db := storetest.Migrated(t, filepath.Join(t.TempDir(), "fettle.db"), sqlite.Open)
	t.Cleanup(func() { must(t, db.Close()) })
	for _, id := range []estate.TenantID{"main", "other"} {
		must(t, db.In(estate.Everything()).EnsureTenant(ctx, estate.Tenant{ID: id, Name: string(id), Created: noon()}))
	}
	in := db.In(estate.InTenant("main"))
	for i, name := range []string{"web1", "<script>alert(1)</script>", "-db"} {
		_, secret, err := in.CreateToken(ctx, estate.Token{Tenant: "main", Site: "main", Uses: 1, Created: noon(), Expires: noon().Add(time.Hour)})
		must(t, err)
		id := estate.EndpointID(fmt.Sprint("e", i+1))
		_, err = db.Enrol(ctx, secret, estate.Endpoint{ID: id, Hostname: name, Platform: "debian-12-amd64", OS: "Debian 12", Enrolled: noon(), RebootDue: i == 0, RestartsDue: []string{"ssh.service", "cron.service"}[:2*(1-min(i, 1))]}, noon())
		must(t, err)
		must(t, in.CheckIn(ctx, store.Contact{Endpoint: id, Tenant: "main", Seen: noon().Add(-time.Minute), Agent: "1.0", Problem: []string{"", "disk full", ""}[i]}))
	}
	must(t, in.PutGroup(ctx, estate.Group{Tenant: "main", ID: "test", Name: "Test", Members: []estate.EndpointID{"e1"}}))
	for i, a := range []approval.Approval{
		{ID: "a1", Patch: "p:openssl:3", Decision: approval.Approve, By: "ada"},
		{ID: "a2", Patch: "p:evil:1", Decision: approval.Decline, By: "ada", Group: "test", Reason: "+1 from billing", Expires: noon().Add(time.Hour)},
		{ID: "a3", Patch: "p:old:1", Decision: approval.Approve, By: "bob", Withdrawn: noon().Add(-time.Minute)},
	} {
		a.Tenant, a.At = "main", noon().Add(time.Duration(i-10)*time.Hour)
		_, err := in.PutApproval(ctx, a)
		must(t, err)
	}
	tasks(t, in)
	return db
}

// tasks keeps two deployments: a finished one in which a machine succeeded and
// one failed in part, and one that runs.
func tasks(t testing.TB, in store.Scoped) {
	t.Helper()
	refs := []deploy.PatchRef{{ID: "p:openssl:3", Digest: "d"}, {ID: "p:evil:1", Digest: "d"}}
	at := func(minute int) time.Time { return noon().Add(time.Duration(minute-120) * time.Minute) }
	steps := func(states ...deploy.State) (out []deploy.Step) {
		for i, s := range states {
			out = append(out, deploy.Step{State: s, At: at(i)})
		}
		return out
	}
	failed := deploy.Task{
		ID: "t2", Endpoint: "e2", State: deploy.Failed, Reason: "1 package failed", Attempt: 3, Since: at(9),
		History: steps(deploy.Queued, deploy.Planning, deploy.Installing, deploy.Failed),
		Result: &deploy.Result{
			Attempt: 3, Changes: []deploy.Change{{Package: "libssl3", From: "3.0.15", To: "3.0.17"}},
			Failures: []deploy.ItemError{{Package: "evil", Reason: "post-installation script returned 1"}}, ExitCode: 100,
		},
	}
	done := deploy.Task{
		ID: "t1", Endpoint: "e1", State: deploy.Verified, Reason: "a fresh scan shows everything installed but what was left out", Attempt: 1, Since: at(5),
		History: steps(deploy.Queued, deploy.Planning, deploy.Installing, deploy.Verifying, deploy.Verified),
		Plan:    &deploy.Plan{Refused: []deploy.Refusal{{Patch: "p:evil:1", Reason: "held by the machine's administrator"}}},
		Result:  &deploy.Result{Attempt: 1, RebootDue: true, Changes: []deploy.Change{{Package: "openssl", From: "3.0.15", To: "3.0.17"}, {Package: "libssl3", From: "3.0.15", To: "3.0.17"}}},
	}
	running := deploy.Task{ID: "t3", Endpoint: "e3", State: deploy.WaitingWindow, Reason: "opens at 22:00", Attempt: 1, Since: at(61), History: steps(deploy.Queued)[:1]}
	for id, list := range map[deploy.ID][]deploy.Task{"d1": {done, failed}, "d2": {running}} {
		d := deploy.Deployment{ID: id, Tenant: "main", Name: "night of " + string(id), Created: at(0), CreatedBy: "ada", Status: deploy.Running, Rings: []deploy.Ring{{Name: "all"}}}
		for i := range list {
			list[i].Deployment, list[i].Tenant, list[i].Patches, list[i].Created = id, "main", refs, at(0)
			if id == "d2" {
				list[i].Created = at(60)
			}
		}
		must(t, in.CreateDeployment(context.Background(), d, list))
	}
}

func open(t testing.TB) *Writer {
	db := fill(t)
	return New(func(s estate.Scope) Data { return db.In(s) }, findings{}, find, noon)
}

func write(t testing.TB, w *Writer, kind, format string, of deploy.ID, from, to time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, w.Write(context.Background(), &b, "main", kind, format, of, from, to))
	return b.Bytes()
}

// TestGolden compares each kind in each format with testdata. After a change:
// go test ./internal/server/report -run Golden -update.
func TestGolden(t *testing.T) {
	w := open(t)
	for _, tab := range tables() {
		for _, format := range []string{"json", "csv", "html"} {
			golden.AssertBytes(t, write(t, w, tab.kind, format, "", time.Time{}, time.Time{}), tab.kind+"."+format)
		}
	}
}

func TestJSON(t *testing.T) {
	w := open(t)
	for _, tab := range tables() {
		var doc struct {
			Report, Tenant, Scope string
			Generated             time.Time
			Items                 []map[string]any
			Total                 int
			Counts                map[string]int
		}
		must(t, json.Unmarshal(write(t, w, tab.kind, "json", "", time.Time{}, time.Time{}), &doc))
		sum := 0
		for _, n := range doc.Counts {
			sum += n
		}
		if doc.Report != tab.kind || doc.Tenant != "main" || !doc.Generated.Equal(noon()) || len(doc.Items) != doc.Total || sum != doc.Total || doc.Total == 0 {
			t.Errorf("%s: %+v", tab.kind, doc)
		}
		for _, it := range doc.Items {
			if len(it) != len(tab.columns) {
				t.Errorf("%s: a row has %d of %d columns", tab.kind, len(it), len(tab.columns))
			}
		}
	}
}

// TestOutcomes names what became of each patch on each machine.
func TestOutcomes(t *testing.T) {
	rows, err := csv.NewReader(bytes.NewReader(write(t, open(t), "tasks", "csv", "", time.Time{}, time.Time{}))).ReadAll()
	must(t, err)
	var got []string
	for _, r := range rows[1:] {
		got = append(got, strings.Join([]string{r[14], r[1], r[3], r[4], r[5]}, "|"))
	}
	if d := cmp.Diff([]string{
		"e1|p:openssl:3|installed|a fresh scan shows everything installed but what was left out|1",
		"e1|p:evil:1|left out|held by the machine's administrator|1",
		"e2|p:openssl:3|changed, not proven|1 package failed|3",
		"e2|p:evil:1|failed|evil: post-installation script returned 1|3",
		"e3|p:openssl:3|pending|opens at 22:00|1",
		"e3|p:evil:1|pending|opens at 22:00|1",
	}, got); d != "" {
		t.Error(d)
	}
}

func TestNarrow(t *testing.T) {
	w := open(t)
	count := func(kind string, of deploy.ID, from, to time.Time) int {
		rows, err := csv.NewReader(bytes.NewReader(write(t, w, kind, "csv", of, from, to))).ReadAll()
		must(t, err)
		return len(rows) - 1
	}
	hour := noon().Add(-90 * time.Minute)
	for _, tc := range []struct {
		kind     string
		of       deploy.ID
		from, to time.Time
		want     int
	}{
		{"tasks", "d1", time.Time{}, time.Time{}, 4},
		{"tasks", "", hour, time.Time{}, 2},
		{"tasks", "", time.Time{}, hour, 4},
		{"tasks", "", noon(), time.Time{}, 0},
		{"approvals", "", noon().Add(-9 * time.Hour), noon().Add(-8 * time.Hour), 1},
	} {
		if got := count(tc.kind, tc.of, tc.from, tc.to); got != tc.want {
			t.Errorf("%s of %q from %s to %s has %d rows, want %d", tc.kind, tc.of, tc.from, tc.to, got, tc.want)
		}
	}
	for _, bad := range [][2]string{{"salaries", "csv"}, {"tasks", "docx"}} {
		if err := w.Write(t.Context(), io.Discard, "main", bad[0], bad[1], "", time.Time{}, time.Time{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	var b bytes.Buffer
	must(t, w.Write(t.Context(), &b, "other", "missing", "html", "", time.Time{}, time.Time{}))
	if strings.Contains(b.String(), "openssl") || !strings.Contains(b.String(), "Nothing to report.") {
		t.Errorf("another tenant's report: %s", b.String())
	}
}

// TestPageStandsAlone parses the pages: nothing is fetched, nothing runs, and
// a machine's name can't become markup.
func TestPageStandsAlone(t *testing.T) {
	w := open(t)
	for _, tab := range tables() {
		page := write(t, w, tab.kind, "html", "", time.Time{}, time.Time{})
		z := html.NewTokenizer(bytes.NewReader(page))
		depth, cells, shown := 0, 0, 0
		for z.Next() != html.ErrorToken {
			token := z.Token()
			switch token.Type {
			case html.StartTagToken:
				switch token.Data {
				case "script", "link", "img", "iframe", "a":
					t.Errorf("%s has <%s>", tab.kind, token.Data)
				case "th":
					shown++
				case "td":
					cells++
				case "meta", "wbr":
					continue
				}
				depth++
				for _, a := range token.Attr {
					if a.Key == "src" || a.Key == "href" || strings.HasPrefix(a.Key, "on") {
						t.Errorf("%s has %s=%q", tab.kind, a.Key, a.Val)
					}
				}
			case html.EndTagToken:
				depth--
			}
		}
		if depth != 0 || !errors.Is(z.Err(), io.EOF) || cells%shown != 0 || cells == 0 {
			t.Errorf("%s: %d tags left open, %d cells in %d columns, %v", tab.kind, depth, cells, shown, z.Err())
		}
		if bytes.Contains(page, []byte("url(")) || bytes.Contains(page, []byte("@import")) {
			t.Errorf("%s fetches something", tab.kind)
		}
		for _, want := range []string{"2026-11-21 12:00:00 UTC", "tenant main", "rows in all"} {
			if !bytes.Contains(page, []byte(want)) {
				t.Errorf("%s lacks %q", tab.kind, want)
			}
		}
	}
}

// FuzzHarmless checks that no text becomes a formula and that CSV reads back
// as it was.
func FuzzHarmless(f *testing.F) {
	for _, s := range []string{"", "=1+1", "+1", "-1", "@x", "\tx", "plain", "a,b", "\"q\"", "line\nbreak", "'=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		safe := harmless(s)
		if safe != "" && strings.ContainsRune("=+-@\t\r\n", rune(safe[0])) {
			t.Errorf("%q stays %q", s, safe)
		}
		if strings.TrimPrefix(safe, "'") != strings.TrimPrefix(s, "'") {
			t.Errorf("%q became %q", s, safe)
		}
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.UseCRLF = true
		must(t, w.Write([]string{"x", safe}))
		w.Flush()
		if strings.ContainsAny(s, "\r\n") {
			return // line ends become CRLF, which RFC 4180 asks for
		}
		back, err := csv.NewReader(&b).Read()
		must(t, err)
		if back[1] != safe {
			t.Errorf("%q reads back as %q", safe, back[1])
		}
	})
}
