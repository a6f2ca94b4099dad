package api

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
)

// follow opens the stream of a deployment with an API key.
func (w *world) follow(t *testing.T, id, key string) *http.Response {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(stop)
	req, err := http.NewRequestWithContext(ctx, "GET", w.url+mainT+"/deployments/"+id+"/watch", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() }) // an endless stream has no good end
	return resp
}

// TestWatchEndsWithTheRight: what was granted counts at each look, on a stream
// that stays open for days too.
func TestWatchEndsWithTheRight(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	var d Deployment
	w.call("POST", mainT+"/deployments", map[string]any{"filter": map[string]any{"security": true}, "all": true}, 201, &d)
	made, secret, err := w.auth.CreateKey(t.Context(), estate.Everything(), estate.Key{
		Tenant: "main", Name: "viewer", Created: time.Now(), Grants: []estate.Grant{{Role: estate.Viewer, Scope: estate.InTenant("main")}},
	})
	must(t, err)
	resp := w.follow(t, string(d.ID), secret)
	sc := bufio.NewScanner(resp.Body)
	for beats := 0; beats < 3; { // all is told, and the right is still there
		if !sc.Scan() {
			t.Fatal("the stream ended while the key was good")
		}
		if strings.HasPrefix(sc.Text(), ":") {
			beats++
		}
	}
	must(t, w.auth.DeleteKey(t.Context(), estate.InTenant("main"), made.ID))
	guard := time.AfterFunc(time.Minute, func() { resp.Body.Close() })
	for sc.Scan() {
	}
	if !guard.Stop() {
		t.Error("the stream of a key that was deleted goes on")
	}
}

// TestWatchersOfOne: one person does not take all the streams there are.
func TestWatchersOfOne(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	var d Deployment
	w.call("POST", mainT+"/deployments", map[string]any{"filter": map[string]any{"security": true}, "all": true}, 201, &d)
	greedy, other := w.key(estate.Viewer, "main"), w.key(estate.Auditor, "main")
	open := 0
	for range maxWatchersOfOne + 1 {
		if w.follow(t, string(d.ID), greedy).StatusCode == http.StatusOK {
			open++
		}
	}
	if open != maxWatchersOfOne {
		t.Errorf("one key has %d streams", open)
	}
	if code := w.follow(t, string(d.ID), other).StatusCode; code != http.StatusOK {
		t.Errorf("somebody else gets %d", code)
	}
}

// TestWatchEndsWithTheSession: who signs out in one window watches nothing more
// in another.
func TestWatchEndsWithTheSession(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	var d Deployment
	w.call("POST", mainT+"/deployments", map[string]any{"filter": map[string]any{"security": true}, "all": true}, 201, &d)
	_, err := w.auth.CreateUser(t.Context(), estate.Everything(), estate.User{Name: "ada", Grants: []estate.Grant{{Role: estate.Admin}}}, "correct horse battery")
	must(t, err)
	b := w.browser()
	status, _, in := b.send("POST", base+"/session", map[string]any{"name": "ada", "password": "correct horse battery"})
	if status != 200 {
		t.Fatalf("sign in: %d", status)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, "GET", w.url+mainT+"/deployments/"+string(d.ID)+"/watch", nil)
	must(t, err)
	for _, c := range in.Cookies() {
		req.AddCookie(c)
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	for beats := 0; beats < 3; {
		if !sc.Scan() {
			t.Fatal("the stream ended while the session was good")
		}
		if strings.HasPrefix(sc.Text(), ":") {
			beats++
		}
	}
	if status, _, _ := b.send("DELETE", base+"/session", nil); status != 204 {
		t.Fatalf("sign out: %d", status)
	}
	for sc.Scan() {
	}
	if ctx.Err() != nil {
		t.Error("the stream of a session that was ended went on")
	}
}
