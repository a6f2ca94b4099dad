package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// open lists every pattern of the router that needs nobody, with the reason.
func open() map[string]string {
	return map[string]string{
		"GET /healthz":              "load balancers ask it",
		"GET /readyz":               "load balancers ask it",
		"/api/":                     "answers that there is nothing",
		"/":                         "the console's files, which are the same for everyone",
		"GET /openapi.json":         "the API's description is in the source",
		"GET /openapi.yaml":         "the API's description is in the source",
		"GET /openapi-3.0.json":     "the API's description is in the source",
		"GET /openapi-3.0.yaml":     "the API's description is in the source",
		"POST " + base + "/setup":   "proves itself by the one-time link's token",
		"POST " + base + "/session": "proves itself by name and password",
	}
}

// fill puts values into a pattern's path.
func fill(path, tenant string) string {
	r := strings.NewReplacer("{t}", tenant, "{id}", "x1", "{kind}", "hosts")
	return r.Replace(path)
}

// TestTrustRow8EveryRouteIsGuarded walks the router itself, not the table: each
// pattern in it refuses a caller without credentials, one with a wrong key and
// one without any role, unless it stands in the list above.
func TestTrustRow8EveryRouteIsGuarded(t *testing.T) {
	w := newWorld(t)
	_, none, err := w.auth.CreateKey(t.Context(), estate.Everything(), estate.Key{Name: "none", Created: time.Now()})
	must(t, err)
	guarded := 0
	for _, pattern := range w.api.mux.patterns {
		if open()[pattern] != "" {
			continue
		}
		guarded++
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			t.Errorf("the router has %q, which takes every method and is not in the list of open patterns", pattern)
			continue
		}
		at := fill(path, "main")
		for _, tc := range []struct {
			key  string
			want int
		}{{"", 401}, {"fk1_" + strings.Repeat("0", 64), 401}, {"nonsense", 401}} {
			if status, out := w.send(method, at, tc.key, nil); status != tc.want {
				t.Errorf("%s with key %q: status %d, want %d: %s", pattern, tc.key, status, tc.want, out)
			}
		}
		if path == base+"/me" || pattern == "DELETE "+base+"/session" {
			continue // needs a caller, but no role
		}
		if status, out := w.send(method, at, none, nil); status != 403 {
			t.Errorf("%s without a role: status %d, want 403: %s", pattern, status, out)
		}
	}
	if guarded < 40 || guarded != len(routes())-2 {
		t.Errorf("%d guarded patterns, the table has %d routes of which 2 are open", guarded, len(routes()))
	}
}

// TestEveryRouteDeclaresAccess makes the deny-by-default rule fail on purpose.
func TestEveryRouteDeclaresAccess(t *testing.T) {
	ids := map[string]bool{}
	for _, rt := range routes() {
		if !rt.access.valid() {
			t.Errorf("%s %s does not say who may use it", rt.method, rt.path)
		}
		if ids[rt.id] {
			t.Errorf("%s stands twice in the table", rt.id)
		}
		ids[rt.id] = true
		if strings.Contains(rt.path, "{t}") != (rt.access.where == inTenant) {
			t.Errorf("%s: its path and its scope do not fit", rt.id)
		}
		if rt.changes() && rt.access.where == inTenant && rt.access.need == estate.Read {
			t.Errorf("%s changes something with the permission to read", rt.id)
		}
	}
	a := newWorld(t).api
	for _, bad := range []access{{}, {where: inTenant}, {where: everyone, need: estate.Read}, {where: 99, need: estate.Read}} {
		if err := a.mount(route{id: "x", method: "GET", path: "/x", access: bad}); !fault.Is(err, fault.Internal) {
			t.Errorf("a route with %+v was mounted", bad)
		}
	}
}

// TestTrustRow7TenantsAreApart tries every tenant route with the ids of another
// tenant, in both ways: as someone who may do everything in tenant "main",
// through the other's path, and through the own path with the other's objects.
func TestTrustRow7TenantsAreApart(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "m1", old())
	w.machine("other", "o1", old())
	w.call("PUT", "/api/v1/tenants/other/groups/og", map[string]any{"members": []string{"o1"}}, 200, nil)
	var approvals Page[map[string]any]
	w.call("POST", "/api/v1/tenants/other/approvals", map[string]any{"decision": "approve", "patches": []string{string(openssl)}, "reason": "their-secret-reason"}, 200, &approvals)
	var d Deployment
	w.call("POST", "/api/v1/tenants/other/deployments", map[string]any{"filter": map[string]any{"security": true}, "all": true}, 201, &d)
	var tok Token
	w.call("POST", "/api/v1/tenants/other/tokens", map[string]any{}, 201, &tok)
	foreign := map[string]string{
		"hosts": "o1", "groups": "og", "approvals": approvals.Items[0]["id"].(string), "deployments": string(d.ID), "tokens": tok.ID,
	}
	before := w.everything(t, "other")
	admin := w.key(estate.Admin, "main")
	for _, rt := range routes() {
		if rt.access.where != inTenant {
			continue
		}
		theirs := strings.NewReplacer("{t}", "other", "{kind}", "hosts").Replace(rt.path)
		tag := rt.tag()
		for _, id := range foreign {
			status, out := w.send(rt.method, strings.ReplaceAll(theirs, "{id}", id), admin, bodyFor(rt, id))
			if status != 403 {
				t.Errorf("%s in the other tenant: status %d: %s", rt.id, status, out)
			}
		}
		status, ghost := w.send(rt.method, fill(rt.path, "no-such-tenant"), admin, nil)
		_, known := w.send(rt.method, fill(rt.path, "other"), admin, nil)
		if status != 403 || strings.ReplaceAll(string(ghost), "no-such-tenant", "other") != string(known) {
			t.Errorf("%s tells whether a tenant exists: %s against %s", rt.id, ghost, known)
		}
		if id, ok := foreign[tag]; ok && strings.Contains(rt.path, "{id}") && rt.id != "groups.put" {
			own := strings.NewReplacer("{t}", "main", "{id}", id).Replace(rt.path)
			if status, out := w.send(rt.method, own, admin, bodyFor(rt, id)); status != 404 && status != 422 {
				t.Errorf("%s reaches the other tenant's %s through its own path: status %d: %s", rt.id, id, status, out)
			}
		}
	}
	for path, body := range map[string]map[string]any{
		"/deployments": {"endpoints": []string{"o1"}, "filter": map[string]any{"all_missing": true}},
		"/groups/mine": {"members": []string{"o1"}},
		"/tokens":      {"groups": []string{"og"}},
		"/approvals":   {"decision": "approve", "patches": []string{string(openssl)}, "group": "og"},
	} {
		method := "POST"
		if strings.HasPrefix(path, "/groups") {
			method = "PUT"
		}
		if status, out := w.send(method, mainT+path, admin, body); status != 404 && status != 422 {
			t.Errorf("%s takes the other tenant's things: status %d: %s", path, status, out)
		}
	}
	for _, rt := range routes() {
		if rt.access.where != inTenant || rt.method != http.MethodGet || strings.Contains(rt.path, "{id}") || rt.tag() == "audit" {
			continue // the caller's own log repeats the ids that the caller tried
		}
		_, out := w.send("GET", fill(rt.path, "main"), admin, nil)
		for _, leak := range []string{"o1", "host-o1", "og", "their-secret-reason", string(d.ID), tok.ID} {
			if strings.Contains(string(out), `"`+leak+`"`) {
				t.Errorf("%s shows %s of the other tenant: %s", rt.id, leak, out)
			}
		}
	}
	if after := w.everything(t, "other"); after != before {
		t.Errorf("the other tenant changed:\n%s\n%s", before, after)
	}
}

// everything is a tenant as its lists show it.
func (w *world) everything(t *testing.T, tenant string) string {
	var all []string
	for _, path := range []string{"/hosts", "/groups", "/approvals", "/deployments", "/tokens", "/sites", "/deployments", "/audit"} {
		var p Page[json.RawMessage]
		w.call("GET", "/api/v1/tenants/"+tenant+path, nil, 200, &p)
		for _, it := range p.Items {
			all = append(all, string(it))
		}
	}
	if len(all) < 6 {
		t.Fatalf("only %d things: the comparison proves nothing", len(all))
	}
	return strings.Join(all, "\n")
}

// bodyFor is a body that the route would take.
func bodyFor(rt route, id string) any {
	switch rt.id {
	case "groups.put", "groups.create":
		return map[string]any{"id": id, "members": []string{}}
	case "approvals.create":
		return map[string]any{"decision": "approve", "patches": []string{string(openssl)}}
	case "deployments.create":
		return map[string]any{"all": true, "filter": map[string]any{"all_missing": true}}
	case "sites.put":
		return map[string]any{"id": "s"}
	case "tokens.create", "deployments.halt", "deployments.resume", "deployments.cancel":
		return map[string]any{}
	}
	return nil
}

// TestRoles checks each role against each permission on a route that needs it.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "m1", old())
	for _, role := range []estate.Role{estate.Admin, estate.Operator, estate.Approver, estate.Auditor, estate.Viewer} {
		key := w.key(role, "main")
		for _, rt := range routes() {
			if rt.access.where != inTenant {
				continue
			}
			may := slices.Contains(estate.Grants(role), rt.access.need)
			path := strings.NewReplacer("{t}", "main", "{id}", "nothing", "{kind}", "hosts").Replace(rt.path)
			status, out := w.send(rt.method, path, key, bodyFor(rt, "nothing"))
			if (status == 403) == may {
				t.Errorf("%s as %s: status %d: %s", rt.id, role, status, out)
			}
		}
		if status, _ := w.send("POST", base+"/sync", key, nil); status != 403 {
			t.Errorf("%s of a tenant may synchronise the server: %d", role, status)
		}
	}
}

// TestNobodyGrantsMoreThanTheyHave tries to climb out of a tenant.
func TestNobodyGrantsMoreThanTheyHave(t *testing.T) {
	w := newWorld(t)
	admin := w.key(estate.Admin, "main")
	for _, path := range []string{"/keys", "/users"} {
		for _, scope := range []map[string]any{{}, {"tenant": "other"}} {
			body := map[string]any{"name": "climber", "grants": []any{map[string]any{"role": "admin", "scope": scope}}}
			if path == "/users" {
				body["password"] = "correct horse battery"
			}
			if status, out := w.send("POST", base+path, admin, body); status != 403 {
				t.Errorf("%s granting %v: status %d: %s", path, scope, status, out)
			}
		}
	}
	var keys Page[estate.Key]
	status, out := w.send("GET", base+"/keys", admin, nil)
	must(t, json.Unmarshal(out, &keys))
	if status != 200 || len(keys.Items) != 1 || keys.Items[0].Name != "admin-main" {
		t.Errorf("a tenant's administrator sees keys %s", out)
	}
	var all Page[estate.Key]
	w.call("GET", base+"/keys", nil, 200, &all)
	for _, k := range all.Items {
		if k.Tenant == "" {
			if status, _ := w.send("DELETE", base+"/keys/"+k.ID, admin, nil); status != 404 {
				t.Errorf("a tenant's administrator deletes the server's key: %d", status)
			}
		}
	}
}

// TestEverythingIsAudited checks that each route that changes something leaves
// an entry, that a refusal leaves one, and that no secret is in them.
func TestEverythingIsAudited(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "m1", old())
	for _, rt := range routes() {
		if rt.access.where != inTenant || !rt.changes() {
			continue
		}
		path := strings.NewReplacer("{t}", "main", "{id}", "nothing").Replace(rt.path)
		w.send(rt.method, path, w.operator, bodyFor(rt, "nothing"))
	}
	for _, rt := range routes() { // and those of the whole server
		if rt.access.where != inTenant && rt.changes() && rt.id != "session.delete" {
			w.send(rt.method, strings.ReplaceAll(rt.path, "{id}", "nothing"), w.operator, ofServer(rt))
		}
	}
	viewer := w.key(estate.Viewer, "main")
	w.send("POST", mainT+"/hosts/m1/scan", viewer, nil)
	w.send("POST", "/api/v1/tenants/other/hosts/m1/scan", viewer, nil)
	w.send("POST", base+"/session", "", map[string]any{"name": "eve", "password": "hunter2-hunter2"})
	var p Page[AuditEntry]
	w.call("GET", mainT+"/audit?limit=1000", nil, 200, &p)
	seen := map[string]bool{}
	for _, e := range p.Items {
		seen[strings.TrimSuffix(e.Action, ".failed")] = true
	}
	for _, rt := range routes() {
		if rt.access.where == inTenant && rt.changes() && !seen[rt.id] {
			t.Errorf("%s left no entry", rt.id)
		}
	}
	must(t, w.audit.WriteGuesses(t.Context(), false))
	var own Page[AuditEntry]
	w.call("GET", base+"/audit?limit=1000", nil, 200, &own)
	for _, e := range own.Items {
		seen[strings.TrimSuffix(e.Action, ".failed")] = true
	}
	for _, rt := range routes() {
		if rt.access.where != inTenant && rt.changes() && rt.id != "session.delete" && !seen[rt.id] {
			t.Errorf("%s left no entry in the server's log", rt.id)
		}
	}
	if !seen["hosts.scan.denied"] {
		t.Error("a refusal left no entry")
	}
	n := 0
	for _, e := range p.Items {
		if e.Action == "hosts.scan.denied" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d refusals of the viewer stand in its own tenant's log, want 2", n)
	}
	_, out := w.send("GET", "/api/v1/tenants/other/audit", w.operator, nil)
	if strings.Contains(string(out), "viewer") {
		t.Error("a foreign caller wrote into another tenant's log")
	}
	var v AuditVerdict
	w.call("GET", base+"/audit/verify", nil, 200, &v)
	if !v.OK || v.Entries < 15 || len(v.Head) != 64 {
		t.Errorf("verdict: %+v", v)
	}
	_, export := w.send("GET", mainT+"/audit/export", w.operator, nil)
	if strings.Contains(string(export), "hunter2") || !strings.Contains(string(export), `"action":"hosts.scan.denied"`) {
		t.Errorf("export: %s", export)
	}
	var first, second Page[AuditEntry]
	w.call("GET", mainT+"/audit?limit=2", nil, 200, &first)
	w.call("GET", mainT+"/audit?limit=2&after="+first.Next, nil, 200, &second)
	if first.Items[1].Seq != second.Items[0].Seq+1 {
		t.Errorf("pages: %+v %+v", first, second)
	}
}

// ofServer is a body that a route of the whole server would take.
func ofServer(rt route) any {
	viewer := []any{map[string]any{"role": "viewer", "scope": map[string]any{"tenant": "main"}}}
	switch rt.id {
	case "setup.run":
		return map[string]any{"token": "x", "name": "eve", "password": "correct horse battery"}
	case "session.create":
		return map[string]any{"name": "eve", "password": "hunter2-hunter2"}
	case "users.create":
		return map[string]any{"name": "new", "password": "correct horse battery", "grants": viewer}
	case "users.password":
		return map[string]any{"password": "correct horse battery"}
	case "keys.create":
		return map[string]any{"name": "new", "grants": viewer}
	case "tenants.create":
		return map[string]any{"id": "new"}
	}
	return nil
}

// TestRefusalsFillNoLog: whoever may sign in and nothing else can't fill the
// disk with refusals, and the log says that there were more.
func TestRefusalsFillNoLog(t *testing.T) {
	w := newWorld(t)
	viewer, other := w.key(estate.Viewer, "main"), w.key(estate.Auditor, "main")
	for range 4 * refusalBurst {
		if status, _ := w.send("POST", mainT+"/tokens", viewer, map[string]any{}); status != 403 {
			t.Fatalf("status %d", status)
		}
	}
	w.send("POST", mainT+"/tokens", other, map[string]any{})
	var p Page[AuditEntry]
	w.call("GET", mainT+"/audit?limit=1000", nil, 200, &p)
	kept, told, others := 0, 0, 0
	for _, e := range p.Items {
		switch {
		case e.Action != "tokens.create.denied":
		case e.Actor == "auditor-main":
			others++
		default:
			kept++
			if strings.Contains(e.Detail, "not recorded") {
				told++
			}
		}
	}
	if kept < refusalBurst || kept > refusalBurst+10 || told != 1 || others != 1 {
		t.Errorf("%d refusals are kept, %d say that there were more, %d of somebody else", kept, told, others)
	}
}

// TestGuessesAreReadable: a wrong password is refused as before, and what was
// tried stands in the log by number.
func TestGuessesAreReadable(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		if status, text := w.send("POST", base+"/session", "", map[string]any{"name": "eve", "password": "hunter2-hunter2"}); status != 401 || !strings.Contains(string(text), "the name or the password is wrong") {
			t.Fatalf("status %d: %s", status, text)
		}
	}
	if status, _ := w.send("GET", base+"/me", "fk1_guess", nil); status != 401 {
		t.Fatalf("status %d", status)
	}
	must(t, w.audit.WriteGuesses(t.Context(), false))
	var p Page[AuditEntry]
	w.call("GET", base+"/audit?limit=1000", nil, 200, &p)
	told := map[string]string{}
	for _, e := range p.Items {
		if strings.HasSuffix(e.Action, ".failed") {
			told[e.Action+" "+e.Object] += e.Detail
		}
	}
	if s := told["session.create.failed unknown name"]; !strings.HasPrefix(s, "3 wrong guesses from 1 address, the first ") || len(told) != 2 {
		t.Errorf("the log tells %q", told)
	}
}
