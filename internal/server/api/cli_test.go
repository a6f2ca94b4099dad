package api

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fettlehq/fettle/internal/cli"
	"github.com/fettlehq/fettle/internal/terminal"
)

// TestCommandLine plays the operator's real command line against the API: the
// two agree on every shape, or this fails, and every route that is not the
// console's alone is reached by some command.
func TestCommandLine(t *testing.T) {
	w := newWorld(t)
	reached := w.reached()
	w.machine("main", "e1", old())
	w.machine("main", "e2", fresh())
	t.Setenv("FETTLE_API_KEY", w.operator)
	t.Setenv("HOME", t.TempDir())
	ids := map[string]string{}
	for _, tc := range []struct {
		args string
		code int
		want []string
	}{
		{"status", 0, []string{"version 7", "debian-12-amd64: 3 patches", "1 lack security"}},
		{"hosts", 0, []string{"host-e1", "highly_vulnerable", "host-e2", "healthy"}},
		{"hosts host-e1", 0, []string{"lacks 3 updates, 2 of them security, 1 exploited", "openssl"}},
		{"hosts scan host-e1", 0, []string{"asked host-e1"}},
		{"hosts --search host-e2 --state active --site main", 0, []string{"host-e2"}},
		{"hosts packages host-e1 --search ss", 0, []string{"openssl", "3.0.15-1"}},
		{"patches hosts " + string(openssl), 0, []string{"host-e1"}},
		{"patches holders " + string(openssl), 0, []string{"host-e2", "yes"}},
		{"hosts tasks host-e2", 0, []string{"No deployment had to do with it."}},
		{"hosts nobody", 3, []string{"no machine is called"}},
		{"missing --security", 0, []string{"critical (exploited)", "awaiting_approval", "CVE-2026-0001"}},
		{"missing --host host-e2", 0, []string{"Nothing is missing."}},
		{"patches", 0, []string{string(openssl), string(bashFix)}},
		{"patches --all --search cve-2026-0002", 0, []string{string(curlFix)}},
		{"patches " + string(openssl), 0, []string{"exploited", "1 machine lacks it: host-e1", "signed record: sha256"}},
		{"patches no-such", 3, []string{"no patch of the catalog", "hint:"}},
		{"deploy --all", 7, []string{"nothing to do", "fettle approve"}},
		{"deploy --host host-e1 --group nobody", 3, []string{"no group"}},
		{"groups set web host-e1 host-e2", 0, []string{"group web has 2 machines"}},
		{"groups", 0, []string{"web"}},
		{"approve --security", 0, []string{"approved " + string(openssl), "2 decisions recorded"}},
		{"decline " + string(bashFix), 2, []string{"needs a reason"}},
		{"decline " + string(bashFix) + " --reason no --expires 720h", 0, []string{"declined " + string(bashFix)}},
		{"deploy --all --name night --retry-after 5m --attempts 2", 0, []string{"began"}},
		{"deploy --group web --severity-at-least critical --reboot if_due", 0, []string{"began"}},
		{"deployments", 0, []string{"night", "running", "install", "1 queued"}},
		{"deployments", 0, []string{"=DEPLOYMENT", `(?m)^(d-\S+) +night`}},
		{"deployments $DEPLOYMENT", 0, []string{"(night) is running", "host-e1"}},
		{"hosts tasks host-e1", 0, []string{"DEPLOYMENT", "queued"}},
		{"hosts tasks host-e1 --left-out", 0, []string{"No deployment had to do with it."}},
		{"deployments halt $DEPLOYMENT --reason lunch", 0, []string{"halted"}},
		{"deployments resume $DEPLOYMENT", 0, []string{"running"}},
		{"deployments cancel $DEPLOYMENT", 0, []string{"cancelled"}},
		{"rollback " + string(openssl) + " --all --reason why", 1, []string{"apt packages have no safe way back", "hint:"}},
		{"approvals", 0, []string{"=DECISION", `(?m)^(\S+) +decline`}},
		{"approvals withdraw $DECISION", 0, []string{"withdrawn"}},
		{"report tasks", 0, []string{"hostname,patch,state", "host-e1"}},
		{"report missing --format html", 0, []string{"<!doctype html>"}},
		{"enroll-token --uses 3 --note rack", 0, []string{"fettle-agent enroll --token fe1-"}},
		{"enroll-token list", 0, []string{"0 of 3", "open", "rack"}},
		{"enroll-token list", 0, []string{"=TOKEN", `(?m)^(\S+) +main .* rack`}},
		{"enroll-token revoke $TOKEN", 0, []string{"ended token"}},
		{"groups add db host-e1 --name Databases", 0, []string{"group db has 1 machine"}},
		{"groups add db", 1, []string{"exists already"}},
		{"groups remove db", 0, []string{"removed group db"}},
		{"sites set berlin --zone Europe/Berlin", 0, []string{"site berlin"}},
		{"sites", 0, []string{"berlin", "Europe/Berlin"}},
		{"tenants add acme --name Acme", 0, []string{"added tenant acme (Acme)"}},
		{"tenants", 0, []string{"main", "acme"}},
		{"whoami", 0, []string{"root (key)", "admin@*", "tenant main"}},
		{"users add ada", 2, []string{"role"}},
		{"users add ada --role king", 2, []string{"is not a role"}},
		{"users add ada --role approver --role viewer@other --mail ada@example.org", 0, []string{"added ada: approver@main viewer@other", "password: ", "shown this once"}},
		{"users add bob --role viewer --password-stdin", 0, []string{"added bob"}},
		{"users", 0, []string{"ada", "approver@main viewer@other", "ada@example.org"}},
		{"users reset ada", 0, []string{"replaced the password of ada", "password: "}},
		{"users reset nobody", 3, []string{"nobody is called"}},
		{"users remove bob", 0, []string{"removed bob"}},
		{"keys add ci --role viewer@* --life 720h", 0, []string{"FETTLE_API_KEY=fk1_", "viewer@*"}},
		{"keys", 0, []string{"=KEY", `(?m)^ci +(\S+) `}},
		{"keys remove $KEY", 0, []string{"ended key"}},
		{"sync", 0, []string{"version 7"}},
		{"audit", 0, []string{"deployments.create", "approvals.create"}},
		{"audit export", 0, []string{`"prev"`, "deployments.create"}},
		{"audit --server-log", 0, []string{"users.password", "users.create", "keys.delete"}},
		{"audit export --server-log", 0, []string{`"prev"`, "users.password"}},
		{"audit verify", 0, []string{"chain whole"}},
		{"doctor", 0, []string{"fresh and signed", "all in touch"}},
		{"hosts revoke host-e2", 0, []string{"revoked host-e2"}},
		{"--tenant nobody hosts", 3, []string{"not found"}},
	} {
		var out bytes.Buffer
		args := strings.Fields(os.Expand(tc.args, func(name string) string { return ids[name] }))
		code := w.command(&out, append([]string{"--data", t.TempDir()}, args...))
		if code != tc.code {
			t.Errorf("fettle %s: exit code %d, want %d:\n%s", tc.args, code, tc.code, out.String())
		}
		if name, kept := strings.CutPrefix(tc.want[0], "="); kept { // an id for the commands that follow
			found := regexp.MustCompile(tc.want[1]).FindStringSubmatch(out.String())
			if found == nil {
				t.Fatalf("fettle %s: no %s in\n%s", tc.args, tc.want[1], out.String())
			}
			ids[name] = found[1]
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("fettle %s does not say %q:\n%s", tc.args, want, out.String())
			}
		}
	}
	w.watchAWhile(ids["DEPLOYMENT"])
	for _, rt := range routes() {
		switch ui := slices.Contains(consoleOnly(), rt.id); {
		case !ui && !reached()[rt.id]:
			t.Errorf("no command reaches %s (%s %s)", rt.id, rt.method, rt.path)
		case ui && reached()[rt.id]:
			t.Errorf("%s counts as the console's alone, but a command reaches it", rt.id)
		}
	}
}

// consoleOnly lists the routes that no command needs: sessions are for
// browsers, programs have keys.
func consoleOnly() []string { return []string{"setup.run", "session.create", "session.delete"} }

// reached notes from now on which routes are asked for.
func (w *world) reached() func() map[string]bool {
	var mu sync.Mutex
	seen := map[string]bool{}
	table := http.NewServeMux()
	for _, rt := range routes() {
		table.HandleFunc(rt.method+" "+rt.path, func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen[rt.id] = true
		})
	}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		table.ServeHTTP(httptest.NewRecorder(), r)
		w.api.Handler().ServeHTTP(rw, r)
	}))
	w.t.Cleanup(srv.Close)
	w.url = srv.URL
	return func() map[string]bool {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(seen)
	}
}

// command runs the real command line.
func (w *world) command(out io.Writer, args []string) int {
	root := cli.New(out, out)
	root.SetIn(strings.NewReader("a very good password\n"))
	return terminal.Run(w.t.Context(), root, append([]string{"--server", w.url}, args...))
}

// watchAWhile looks over the shoulder of a deployment that is over.
func (w *world) watchAWhile(id string) {
	w.t.Helper()
	must(w.t, w.loop.Once(w.t.Context()))
	var out bytes.Buffer
	if code := w.command(&out, []string{"deployments", "watch", id}); code != 0 || !strings.Contains(out.String(), "is cancelled") {
		w.t.Errorf("watch: exit code %d:\n%s", code, out.String())
	}
}
