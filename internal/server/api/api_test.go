package api

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

const mainT = "/api/v1/tenants/main"

func TestHosts(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	w.machine("main", "e2", fresh())
	w.machine("main", "e3", map[string]string{"curl": "7.88.1-10"})
	var hosts Page[Host]
	w.call("GET", mainT+"/hosts", nil, 200, &hosts)
	got := map[estate.EndpointID][]any{}
	for _, h := range hosts.Items {
		got[h.ID] = []any{h.Health, h.Missing, h.MissingSecurity, h.Exploited, h.Online}
	}
	want := map[estate.EndpointID][]any{
		"e1": {catalog.HighlyVulnerable, 3, 2, 1, true},
		"e2": {catalog.Healthy, 0, 0, 0, true},
		"e3": {catalog.Vulnerable, 1, 1, 0, true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var one HostDetail
	w.call("GET", mainT+"/hosts/e1", nil, 200, &one)
	if one.Inventory == nil || one.Inventory.Packages != 3 || one.Inventory.OS.ID != "debian" {
		t.Errorf("detail: %+v", one.Inventory)
	}
	var packages Page[inventory.Package]
	w.call("GET", mainT+"/hosts/e1/packages?q=ss&limit=1", nil, 200, &packages)
	if len(packages.Items) != 1 || packages.Items[0].Name != "openssl" || packages.Next != "" {
		t.Errorf("packages: %+v", packages)
	}
	w.call("GET", mainT+"/hosts/e1/packages?kind=arp", nil, 200, &packages)
	if len(packages.Items) != 0 {
		t.Errorf("products of Windows on Debian: %+v", packages)
	}
	w.call("POST", mainT+"/hosts/e1/scan", nil, 202, nil)
	if len(w.scans) != 1 || w.scans[0] != "e1" {
		t.Errorf("scans asked for: %v", w.scans)
	}
	w.call("DELETE", mainT+"/hosts/e1", nil, 204, nil)
	w.call("GET", mainT+"/hosts?state=revoked", nil, 200, &hosts)
	if len(hosts.Items) != 1 || hosts.Items[0].Health != catalog.UnknownHealth {
		t.Errorf("revoked: %+v", hosts.Items)
	}
	w.refused("POST", mainT+"/hosts/e1/scan", nil, fault.Conflict)
	w.refused("GET", mainT+"/hosts/nobody", nil, fault.NotFound)
}

// TestPages follows every list in pages of one to its end.
func TestPages(t *testing.T) {
	w := newWorld(t)
	for _, id := range []estate.EndpointID{"e1", "e2", "e3"} {
		w.machine("main", id, old())
	}
	for _, tc := range []struct {
		path string
		want int
	}{
		{"/hosts", 3},
		{"/missing", 9},
		{"/missing?security=true", 6},
		{"/missing?host=e2", 3},
		{"/missing?q=cve-2026-0002", 3},
		{"/hosts/e1/missing", 3},
		{"/hosts/e1/packages", 3},
		{"/patches", 3},
		{"/patches?needed=true&security=true", 2},
		{"/patches?q=CVE-2026-0001", 1},
		{"/patches?severity=moderate", 1},
		{"/patches/" + string(openssl) + "/hosts", 3},
		{"/tokens", 3},
	} {
		for _, limit := range []string{"1", "2", "1000"} {
			seen, after, n := map[string]bool{}, "", 0
			for {
				sep := "?"
				if strings.Contains(tc.path, "?") {
					sep = "&"
				}
				var p Page[map[string]any]
				w.call("GET", mainT+tc.path+sep+"limit="+limit+"&after="+url.QueryEscape(after), nil, 200, &p)
				for _, it := range p.Items {
					delete(it, "last_seen")
					key := cmp.Diff(nil, it)
					if seen[key] {
						t.Errorf("%s in pages of %s: a row came twice", tc.path, limit)
					}
					seen[key] = true
					n++
				}
				if after = p.Next; after == "" {
					break
				}
			}
			if n != tc.want {
				t.Errorf("%s in pages of %s has %d rows, want %d", tc.path, limit, n, tc.want)
			}
		}
	}
	for _, bad := range []string{"?limit=0", "?limit=1001", "?limit=x", "?after=%21%21", "?nonsense=1", "?severity=terrible"} {
		w.refused("GET", mainT+"/missing"+bad, nil, fault.Invalid)
	}
}

func TestApprovals(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	w.machine("main", "e2", map[string]string{"curl": "7.88.1-10"})
	var made Page[approval.Approval]
	ask := func(body map[string]any, want ...patch.ID) {
		t.Helper()
		made = Page[approval.Approval]{}
		w.call("POST", mainT+"/approvals", body, 200, &made)
		got := []patch.ID{}
		for _, a := range made.Items {
			got = append(got, a.Patch)
		}
		if d := cmp.Diff(append([]patch.ID{}, want...), got); d != "" {
			t.Error(d)
		}
	}
	w.call("PUT", mainT+"/groups/test", map[string]any{"members": []string{"e2"}}, 200, nil)
	ask(map[string]any{"decision": "approve", "filter": map[string]any{"severity_at_least": "moderate"}, "group": "test"}, curlFix)
	ask(map[string]any{"decision": "approve", "filter": map[string]any{"security": true, "all_missing": true}, "group": ""}, curlFix, openssl)
	ask(map[string]any{"decision": "approve", "filter": map[string]any{"security": true}}) // done already
	ask(map[string]any{"decision": "decline", "patches": []string{string(bashFix)}, "reason": "breaks billing", "expires": time.Now().Add(time.Hour)}, bashFix)
	ask(map[string]any{"decision": "approve", "filter": map[string]any{"all_missing": true}}) // a decline stands

	var rows Page[Finding]
	w.call("GET", mainT+"/hosts/e1/missing", nil, 200, &rows)
	got := map[patch.ID]approval.State{}
	for _, f := range rows.Items {
		got[f.Patch] = f.Approval
	}
	if d := cmp.Diff(map[patch.ID]approval.State{openssl: approval.Approved, curlFix: approval.Approved, bashFix: approval.Declined}, got); d != "" {
		t.Error(d)
	}
	var detail PatchDetail
	w.call("GET", mainT+"/patches/"+url.PathEscape(string(curlFix)), nil, 200, &detail)
	if len(detail.Approvals) != 2 || len(detail.NeededBy) != 2 || len(detail.Digest) != 64 || len(detail.Vulnerabilities) != 1 {
		t.Errorf("detail: %+v", detail)
	}
	w.call("DELETE", mainT+"/approvals/"+detail.Approvals[0].ID, nil, 204, nil)
	w.refused("DELETE", mainT+"/approvals/"+detail.Approvals[0].ID, nil, fault.Conflict)
	w.refused("POST", mainT+"/approvals", map[string]any{"decision": "decline", "patches": []string{string(bashFix)}}, fault.Invalid)
	w.refused("POST", mainT+"/approvals", map[string]any{"decision": "approve"}, fault.Invalid)
	w.refused("POST", mainT+"/approvals", map[string]any{"decision": "approve", "filter": map[string]any{}}, fault.Invalid)
	w.refused("POST", mainT+"/approvals", map[string]any{"decision": "maybe", "patches": []string{"x"}}, fault.Invalid)
	w.refused("POST", mainT+"/approvals", map[string]any{"decision": "approve", "patches": []string{"no-such"}}, fault.NotFound)
	w.refused("POST", mainT+"/approvals", map[string]any{"decision": "approve", "patches": []string{string(bashFix)}, "group": "nobody"}, fault.NotFound)
	w.refused("POST", mainT+"/approvals", map[string]any{"decision": "approve", "patches": []string{string(bashFix)}, "extra": 1}, fault.Invalid)
}

func TestDeploy(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	w.machine("main", "e2", map[string]string{"curl": "7.88.1-10"})
	w.machine("main", "e3", fresh())
	w.machine("main", "e4", old())
	w.call("DELETE", mainT+"/hosts/e4", nil, 204, nil)
	w.call("POST", mainT+"/groups", map[string]any{"id": "g", "members": []string{"e2"}}, 201, nil)

	p := w.refused("POST", mainT+"/deployments", map[string]any{"all_approved": true, "all": true}, fault.Nothing)
	if !strings.Contains(p.Detail, "awaiting approval") || !strings.Contains(p.Hint, "approve") {
		t.Errorf("nothing approved is told as %q, %q", p.Detail, p.Hint)
	}
	w.call("POST", mainT+"/approvals", map[string]any{"decision": "approve", "patches": []string{string(openssl), string(curlFix)}}, 200, nil)
	w.call("POST", mainT+"/approvals", map[string]any{"decision": "decline", "patches": []string{string(bashFix)}, "reason": "no"}, 200, nil)

	var made Deployment
	w.call("POST", mainT+"/deployments", map[string]any{
		"name": "night", "all_approved": true, "endpoints": []string{}, "groups": nil, "all": true, "dry_run": false, "emergency": false,
		"policy": map[string]any{"reboot": "if_due", "conffile": "keep", "restart_services": false, "retry_after": "5m0s"},
	}, 201, &made)
	if made.CreatedBy != "root" || made.Policy.RestartServices || made.Policy.Reboot != deploy.RebootIfDue || made.Policy.Attempts != 3 || made.Policy.RetryAfter.Std() != 5*time.Minute {
		t.Errorf("made: %+v", made)
	}
	if d := cmp.Diff([]patch.ID{curlFix, openssl}, made.Patches); d != "" {
		t.Error(d)
	}
	must(t, estate.ValidID("deployment", string(made.ID)))
	var tasks Page[Task]
	w.call("GET", mainT+"/deployments/"+string(made.ID)+"/tasks", nil, 200, &tasks)
	got := map[string]int{}
	for _, task := range tasks.Items {
		got[task.Hostname] = len(task.Patches)
		must(t, estate.ValidID("task", string(task.ID)))
		if task.State != deploy.Queued || len(task.History) != 1 || len(task.Patches[0].Digest) != 64 {
			t.Errorf("task: %+v", task)
		}
	}
	if d := cmp.Diff(map[string]int{"host-e1": 2, "host-e2": 1}, got); d != "" {
		t.Error(d)
	}
	if w.kicks == 0 {
		t.Error("the loop was not kicked")
	}
	for _, tc := range []struct {
		why  string
		body map[string]any
		code fault.Code
	}{
		{"revoked", map[string]any{"all_approved": true, "endpoints": []string{"e4"}}, fault.NotFound},
		{"unknown group", map[string]any{"all_approved": true, "groups": []string{"nobody"}}, fault.NotFound},
		{"no machines", map[string]any{"all_approved": true}, fault.Invalid},
		{"no patches", map[string]any{"all": true}, fault.Invalid},
		{"two ways", map[string]any{"all": true, "all_approved": true, "patches": []string{string(openssl)}}, fault.Invalid},
		{"declined by name", map[string]any{"all": true, "patches": []string{string(bashFix)}}, fault.Nothing},
		{"up to date", map[string]any{"endpoints": []string{"e3"}, "filter": map[string]any{"all_missing": true}}, fault.Nothing},
		{"unknown patch", map[string]any{"all": true, "patches": []string{"no-such"}}, fault.NotFound},
		{"bad policy", map[string]any{"all": true, "all_approved": true, "policy": map[string]any{"reboot": "always"}}, fault.Invalid},
		{"bad window", map[string]any{"all": true, "all_approved": true, "schedule": map[string]any{"install": []any{map[string]any{"rule": map[string]any{"kind": "daily"}, "start": "25:00", "duration": "1h"}}}}, fault.Invalid},
		{"rings and machines", map[string]any{"all": true, "all_approved": true, "rings": []any{map[string]any{"all": true}}}, fault.Invalid},
	} {
		status, out := w.send("POST", mainT+"/deployments", w.operator, tc.body)
		if status != statusOf(tc.code) {
			t.Errorf("%s: status %d, want %d: %s", tc.why, status, statusOf(tc.code), out)
		}
	}
	w.call("POST", mainT+"/deployments", map[string]any{
		"filter": map[string]any{"security": true}, "dry_run": true,
		"rings": []any{map[string]any{"name": "first", "groups": []string{"g"}, "gate": map[string]any{"success_percent": 90, "soak": "1h"}}, map[string]any{"name": "rest", "all": true}},
	}, 201, &made)
	if len(made.Rings) != 2 || made.Rings[0].Name != "first" || made.Rings[0].Gate.Soak.Std() != time.Hour || len(made.Rings[1].Endpoints) != 1 || made.Rings[1].Endpoints[0] != "e1" {
		t.Errorf("rings: %+v", made.Rings)
	}
}

func TestSteer(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	var d Deployment
	w.call("POST", mainT+"/deployments", map[string]any{"filter": map[string]any{"all_missing": true}, "all": true}, 201, &d)
	at := mainT + "/deployments/" + string(d.ID)
	w.refused("POST", at+"/resume", map[string]any{"reason": ""}, fault.Conflict)
	w.call("POST", at+"/halt", map[string]any{"reason": "lunch"}, 200, &d)
	if d.Status != deploy.Halted || d.Reason != "by root: lunch" {
		t.Errorf("halted: %s %q", d.Status, d.Reason)
	}
	d = Deployment{}
	w.call("POST", at+"/resume", map[string]any{}, 200, &d)
	if d.Status != deploy.Running || d.Reason != "" {
		t.Errorf("resumed: %s %q", d.Status, d.Reason)
	}
	w.call("POST", at+"/cancel", nil, 200, &d)
	w.refused("POST", at+"/resume", map[string]any{}, fault.Conflict)
	w.refused("POST", mainT+"/deployments/nobody/halt", map[string]any{}, fault.NotFound)
	var list Page[Deployment]
	w.call("GET", mainT+"/deployments", nil, 200, &list)
	if len(list.Items) != 1 || list.Items[0].Counts[deploy.Queued] != 1 {
		t.Errorf("list: %+v", list.Items)
	}
}

func TestTokensGroupsSitesTenants(t *testing.T) {
	w := newWorld(t)
	var tok Token
	w.call("POST", mainT+"/tokens", map[string]any{"site": "main", "uses": 3, "expires_in": "24h0m0s", "note": "rack 4"}, 201, &tok)
	if tok.Uses != 3 || !strings.HasSuffix(tok.Command, tok.Secret) || tok.Server == "" || tok.CA == "" || tok.Root == "" || !w.db.PlausibleToken(tok.Secret) {
		t.Errorf("token: %+v", tok)
	}
	_, out := w.send("GET", mainT+"/tokens", w.operator, nil)
	if strings.Contains(string(out), tok.Secret) {
		t.Error("the list of tokens shows a secret")
	}
	w.call("DELETE", mainT+"/tokens/"+tok.ID, nil, 204, nil)
	w.refused("DELETE", mainT+"/tokens/nobody", nil, fault.NotFound)
	w.refused("POST", mainT+"/tokens", map[string]any{"expires_in": "10000h"}, fault.Invalid)
	w.refused("POST", mainT+"/tokens", map[string]any{"groups": []string{"nobody"}}, fault.NotFound)

	w.machine("main", "e1", fresh())
	w.machine("other", "o1", fresh())
	w.refused("PUT", mainT+"/groups/g", map[string]any{"members": []string{"o1"}}, fault.Invalid)
	w.refused("PUT", mainT+"/groups/g", map[string]any{"tenant": "other"}, fault.Invalid)
	w.call("PUT", mainT+"/groups/g", estate.Group{Tenant: "main", ID: "g", Name: "g", Members: []estate.EndpointID{"e1"}}, 200, nil)
	w.refused("POST", mainT+"/groups", map[string]any{"id": "g"}, fault.Conflict)
	w.call("DELETE", mainT+"/groups/g", nil, 204, nil)
	w.refused("DELETE", mainT+"/groups/g", nil, fault.NotFound)

	w.call("POST", mainT+"/sites", map[string]any{"id": "berlin", "zone": "Europe/Berlin"}, 200, nil)
	w.refused("POST", mainT+"/sites", map[string]any{"id": "x", "zone": "Mars/Base"}, fault.Invalid)
	var sites Page[estate.Site]
	w.call("GET", mainT+"/sites", nil, 200, &sites)
	if len(sites.Items) != 2 {
		t.Errorf("sites: %+v", sites.Items)
	}
	w.call("POST", "/api/v1/tenants", map[string]any{"id": "third"}, 201, nil)
	w.refused("POST", "/api/v1/tenants", map[string]any{"id": "third"}, fault.Conflict)
	w.refused("GET", "/api/v1/tenants/fourth/hosts", nil, fault.NotFound)
}

func TestStatusAndSync(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	var s Status
	w.call("GET", "/api/v1/status", nil, 200, &s)
	if s.Catalog.Version != 7 || len(s.Catalog.Platforms) != 1 || s.Catalog.Platforms[0].Patches != 3 || s.Counts["endpoints"] != 1 || s.Counts["missing"] != 3 || s.Counts["missing_security"] != 1 {
		t.Errorf("status: %+v", s)
	}
	w.call("POST", "/api/v1/sync", nil, 200, &s)
	w.syncErr = fault.New(fault.Untrusted, "the catalog is signed by a key that nobody trusts").WithHint("ask the publisher")
	p := w.refused("POST", "/api/v1/sync", nil, fault.Untrusted)
	if !strings.Contains(p.Detail, "nobody trusts") || p.Hint != "ask the publisher" || w.synced != 2 {
		t.Errorf("refused sync: %+v", p)
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n", "/": "console", "/some/page": "console"} {
		if status, out := w.send("GET", path, "", nil); status != 200 || string(out) != want {
			t.Errorf("%s: %d %q", path, status, out)
		}
	}
	w.refused("GET", "/api/v2/nothing", nil, fault.NotFound)
}

// TestReports asks for each report as each format.
func TestReports(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	var d Deployment
	w.call("POST", mainT+"/deployments", map[string]any{"filter": map[string]any{"all_missing": true}, "all": true}, 201, &d)
	w.call("POST", mainT+"/approvals", map[string]any{"decision": "approve", "patches": []string{string(openssl)}}, 200, nil)
	for _, kind := range []string{"tasks", "missing", "hosts", "approvals"} {
		for format, want := range map[string]string{"json": "application/json", "csv": "text/csv", "html": "text/html"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", w.url+mainT+"/reports/"+kind+"?format="+format, nil)
			must(t, err)
			req.Header.Set("Authorization", "Bearer "+w.operator)
			resp, err := http.DefaultClient.Do(req)
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			must(t, err)
			resp.Body.Close()
			if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(ct, want) || len(body) < 100 {
				t.Errorf("%s as %s: %d %s %s", kind, format, resp.StatusCode, ct, body)
			}
		}
	}
	_, out := w.send("GET", mainT+"/reports/tasks?format=csv&deployment="+string(d.ID), w.operator, nil)
	if n := strings.Count(string(out), "\r\n"); n != 4 {
		t.Errorf("%d lines: %s", n, out)
	}
	w.refused("GET", mainT+"/reports/tasks?deployment=nobody", nil, fault.NotFound)
	w.refused("GET", mainT+"/reports/salaries", nil, fault.Invalid)
	w.refused("GET", mainT+"/reports/tasks?format=docx", nil, fault.Invalid)
	w.refused("GET", mainT+"/reports/tasks?from=yesterday", nil, fault.Invalid)
}

// TestHeld takes a held package only when it is named.
func TestHeld(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", map[string]string{"curl": "7.88.1-10"}, "curl")
	w.refused("POST", mainT+"/deployments", map[string]any{"filter": map[string]any{"all_missing": true}, "all": true}, fault.Nothing)
	w.call("POST", mainT+"/deployments", map[string]any{"patches": []string{string(curlFix)}, "all": true}, 201, nil)
}

// TestBounds sends what is too large.
func TestBounds(t *testing.T) {
	w := newWorld(t)
	status, out := w.send("POST", mainT+"/approvals", w.operator, map[string]any{"decision": "approve", "patches": []string{"p"}, "reason": strings.Repeat("x", 5<<20)})
	if status != 413 || !strings.Contains(string(out), `"code":"invalid"`) {
		t.Errorf("5 MiB: %d %s", status, out)
	}
	many := make([]string, 5001)
	w.refused("POST", mainT+"/approvals", map[string]any{"decision": "approve", "patches": many}, fault.Invalid)
	for _, public := range routes() {
		if public.access.where != everyone || public.method == get {
			continue
		}
		if status, out := w.send(public.method, public.path, "", map[string]any{"name": strings.Repeat("x", 9<<10)}); status != 413 {
			t.Errorf("9 KiB of a stranger to %s: %d %s", public.path, status, out)
		}
	}
	longest := map[string]any{"name": "ada", "password": strings.Repeat("\U0010ffff", 256)}
	if status, out := w.send("POST", base+"/session", "", longest); status != 401 {
		t.Errorf("the longest password: %d %s", status, out)
	}
}
