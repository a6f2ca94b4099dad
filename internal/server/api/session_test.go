package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// browser is a client with a cookie jar and headers as a browser sends them.
type browser struct {
	w      *world
	client *http.Client
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	must(w.t, err)
	return &browser{w, &http.Client{Jar: jar}}
}

func (b *browser) send(method, path string, body any, headers ...string) (int, string, *http.Response) {
	b.w.t.Helper()
	raw, err := json.Marshal(body)
	must(b.w.t, err)
	req, err := http.NewRequestWithContext(b.w.t.Context(), method, b.w.url+path, bytes.NewReader(raw))
	must(b.w.t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(req)
	must(b.w.t, err)
	defer resp.Body.Close()
	var out bytes.Buffer
	_, err = out.ReadFrom(resp.Body)
	must(b.w.t, err)
	return resp.StatusCode, out.String(), resp
}

func TestFirstAdministrator(t *testing.T) {
	w := newWorld(t)
	token, err := w.auth.NewSetupToken(t.Context())
	must(t, err)
	b := w.browser()
	setup := func(token string) int {
		status, _, _ := b.send("POST", base+"/setup", map[string]any{"token": token, "name": "Ada", "password": "correct horse battery"})
		return status
	}
	if got := setup("wrong"); got != 401 {
		t.Errorf("a wrong token gives %d", got)
	}
	if got := setup(token.Reveal()); got != 200 {
		t.Fatalf("the setup gives %d", got)
	}
	if got := setup(token.Reveal()); got != 409 {
		t.Errorf("the link works twice: %d", got)
	}
	if _, err := w.auth.NewSetupToken(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Errorf("a new link is made although there is an administrator: %v", err)
	}
	status, out, _ := b.send("GET", base+"/me", nil)
	var me Me
	must(t, json.Unmarshal([]byte(out), &me))
	if status != 200 || me.Name != "ada" || me.Kind != "user" || len(me.Tenants) != 2 || len(me.Permissions["*"]) != 8 {
		t.Errorf("me: %d %s", status, out)
	}
}

func TestSession(t *testing.T) {
	w := newWorld(t)
	_, err := w.auth.CreateUser(t.Context(), estate.Everything(), estate.User{Name: "ada", Grants: []estate.Grant{{Role: estate.Admin}}}, "correct horse battery")
	must(t, err)
	b := w.browser()
	status, out, resp := b.send("POST", base+"/session", map[string]any{"name": "ADA ", "password": "correct horse battery"})
	if status != 200 {
		t.Fatalf("sign in: %d %s", status, out)
	}
	cookie := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "fettle_session="} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q lacks %s", cookie, want)
		}
	}
	unsafe := func(headers ...string) int {
		status, _, _ := b.send("POST", mainT+"/sites", map[string]any{"id": "berlin"}, headers...)
		return status
	}
	if got := unsafe("Sec-Fetch-Site", "same-origin"); got != 200 {
		t.Errorf("the console's own request gives %d", got)
	}
	for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		if got := unsafe(h...); got != 403 {
			t.Errorf("a request with %v gives %d, want 403", h, got)
		}
	}
	if status, out, _ := b.send("GET", mainT+"/hosts", nil, "Sec-Fetch-Site", "cross-site"); status != 200 {
		t.Errorf("a harmless request gives %d %s", status, out) // its answer stays with the browser
	}
	if status, _, _ := b.send("DELETE", base+"/session", nil); status != 204 {
		t.Errorf("sign out: %d", status)
	}
	if status, _, _ := b.send("GET", base+"/me", nil); status != 401 {
		t.Errorf("after signing out: %d", status)
	}
}

// TestSessionEndsWithTheAccount deletes the person while signed in.
func TestSessionEndsWithTheAccount(t *testing.T) {
	w := newWorld(t)
	u, err := w.auth.CreateUser(t.Context(), estate.Everything(), estate.User{Name: "bob", Grants: []estate.Grant{{Role: estate.Viewer}}}, "correct horse battery")
	must(t, err)
	b := w.browser()
	b.send("POST", base+"/session", map[string]any{"name": "bob", "password": "correct horse battery"})
	if status, _, _ := b.send("GET", base+"/me", nil); status != 200 {
		t.Fatal("bob is not signed in")
	}
	w.call("DELETE", base+"/users/"+string(u.ID), nil, 204, nil)
	if status, _, _ := b.send("GET", base+"/me", nil); status != 401 {
		t.Errorf("bob is gone and still signed in: %d", status)
	}
}

func TestSecretsStayInside(t *testing.T) {
	w := newWorld(t)
	_, out := w.send("POST", base+"/session", "", map[string]any{"name": "", "password": "hunter2-hunter2", "extra": "hunter2-hunter2"})
	if strings.Contains(string(out), "hunter2") {
		t.Errorf("an error repeats the password: %s", out)
	}
	var k Key
	w.call("POST", base+"/keys", map[string]any{"name": "ci", "expires_in": "1h", "grants": []any{map[string]any{"role": "viewer", "scope": map[string]any{"tenant": "main"}}}}, 201, &k)
	if status, _ := w.send("GET", mainT+"/hosts", k.Secret, nil); status != 200 {
		t.Errorf("the new key gives %d", status)
	}
	var u estate.User
	w.call("POST", base+"/users", map[string]any{"name": "eve", "password": "correct horse battery", "grants": []any{map[string]any{"role": "viewer", "scope": map[string]any{}}}}, 201, &u)
	for _, path := range []string{base + "/keys", base + "/users", base + "/me", mainT + "/audit"} {
		_, out := w.send("GET", path, w.operator, nil)
		for _, bad := range []string{k.Secret, "argon2id", "correct horse", w.operator, "hash\":\"fk"} {
			if strings.Contains(string(out), bad) {
				t.Errorf("%s shows %q", path, bad)
			}
		}
	}
	w.call("DELETE", base+"/keys/"+k.ID, nil, 204, nil)
	if status, _ := w.send("GET", mainT+"/hosts", k.Secret, nil); status != 401 {
		t.Errorf("a deleted key gives %d", status)
	}
	for _, body := range []map[string]any{
		{"name": "x", "password": "short", "grants": []any{map[string]any{"role": "viewer", "scope": map[string]any{}}}},
		{"name": "../x", "password": "correct horse battery", "grants": []any{map[string]any{"role": "viewer", "scope": map[string]any{}}}},
		{"name": "x", "password": "correct horse battery", "grants": []any{map[string]any{"role": "king", "scope": map[string]any{}}}},
	} {
		w.refused("POST", base+"/users", body, fault.Invalid)
	}
	w.refused("POST", base+"/users", map[string]any{"name": "eve", "password": "correct horse battery", "grants": []any{map[string]any{"role": "viewer", "scope": map[string]any{}}}}, fault.Conflict)
}

// TestGrantsNameWhatIsThere misspells tenants and sites.
func TestGrantsNameWhatIsThere(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		scope estate.Scope
		code  fault.Code
		hint  string
	}{
		{estate.Scope{Tenant: "mian"}, fault.NotFound, "there are: main, other; 'fettle tenants add mian' makes this one"},
		{estate.Scope{Tenant: "mian", Site: "main"}, fault.NotFound, "there are: main, other; 'fettle tenants add mian' makes this one"},
		{estate.Scope{Tenant: "main", Site: "berlni"}, fault.NotFound, "there are: main; 'fettle sites set berlni --tenant main' makes this one"},
		{estate.Scope{Site: "main"}, fault.Invalid, "a scope is *, TENANT or TENANT/SITE"},
	} {
		grants := []estate.Grant{{Role: estate.Viewer, Scope: tc.scope}}
		for path, body := range map[string]map[string]any{
			"/keys": {"name": "ci", "grants": grants}, "/users": {"name": "ada", "password": "correct horse battery", "grants": grants},
		} {
			if p := w.refused("POST", base+path, body, tc.code); p.Hint != tc.hint {
				t.Errorf("%s in %+v: hint %q, want %q", path, tc.scope, p.Hint, tc.hint)
			}
		}
	}
	var made Key
	w.call("POST", base+"/keys", map[string]any{"name": "ci", "grants": []estate.Grant{{Role: estate.Viewer, Scope: estate.Scope{Tenant: "main", Site: "main"}}}}, 201, &made)
	// Who may not enter a tenant learns nothing of which there are.
	admin := w.key(estate.Admin, "main")
	for _, tenant := range []string{"other", "nosuch"} {
		status, out := w.send("POST", base+"/keys", admin, map[string]any{"name": "ci", "grants": []estate.Grant{{Role: estate.Viewer, Scope: estate.Scope{Tenant: estate.TenantID(tenant)}}}})
		if want := "a role in " + tenant + " can't be granted by someone of main"; status != 403 || !strings.Contains(string(out), want) {
			t.Errorf("%s: status %d: %s", tenant, status, out)
		}
	}
}

// event is one server-sent event, or a comment.
type event struct{ kind, data string }

// TestWatch follows a deployment from its first state to its end.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	var d Deployment
	w.call("POST", mainT+"/deployments", map[string]any{"filter": map[string]any{"security": true}, "all": true}, 201, &d)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, "GET", w.url+mainT+"/deployments/"+string(d.ID)+"/watch", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+w.operator)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("%d %s", resp.StatusCode, ct)
	}
	sc := bufio.NewScanner(resp.Body)
	next := func() (event, bool) {
		var e event
		for sc.Scan() {
			line := sc.Text()
			switch {
			case line == "":
				return e, true
			case strings.HasPrefix(line, ":"):
				e.kind = "comment"
			case strings.HasPrefix(line, "event: "):
				e.kind = line[7:]
			case strings.HasPrefix(line, "data: "):
				e.data = line[6:]
			}
		}
		return e, false
	}
	var task Task
	if e, _ := next(); e.kind != "task" || json.Unmarshal([]byte(e.data), &task) != nil || task.State != deploy.Queued || task.Hostname != "host-e1" {
		t.Fatalf("first event: %+v", e)
	}
	if e, _ := next(); e.kind != "deployment" {
		t.Fatalf("second event: %+v", e)
	}
	if e, _ := next(); e.kind != "comment" { // nothing changes: the stream says that it lives
		t.Fatalf("third event: %+v", e)
	}
	in := w.db.In(estate.InTenant("main"))
	tasks, err := in.DeploymentTasks(ctx, d.ID)
	must(t, err)
	now := time.Now().UTC()
	tasks[0].State, tasks[0].Since = deploy.Verified, now
	tasks[0].History = append(tasks[0].History, deploy.Step{State: deploy.Verified, At: now})
	done := d.Deployment
	done.Status, done.Finished = deploy.Finished, now
	must(t, in.SaveProgress(ctx, done, tasks))
	var kinds []string
	for {
		e, ok := next()
		if !ok {
			break
		}
		if e.kind != "comment" {
			kinds = append(kinds, e.kind)
		}
	}
	if got := strings.Join(kinds, " "); got != "task deployment" {
		t.Errorf("the end is told as %q", got)
	}
}
