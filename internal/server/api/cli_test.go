package api

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/cli"
)

// TestCommandLine plays the operator's real command line against the API: the
// two agree on every shape, or this fails.
func TestCommandLine(t *testing.T) {
	w := newWorld(t)
	w.machine("main", "e1", old())
	w.machine("main", "e2", fresh())
	t.Setenv("FETTLE_API_KEY", w.operator)
	t.Setenv("HOME", t.TempDir())
	for _, tc := range []struct {
		args string
		code int
		want []string
	}{
		{"status", 0, []string{"version 7", "debian-12-amd64: 3 patches", "1 lack security"}},
		{"hosts", 0, []string{"host-e1", "highly_vulnerable", "host-e2", "healthy"}},
		{"hosts host-e1", 0, []string{"lacks 3 updates, 2 of them security, 1 exploited", "openssl"}},
		{"hosts scan host-e1", 0, []string{"asked host-e1"}},
		{"hosts nobody", 3, []string{"no machine is called"}},
		{"missing --security", 0, []string{"critical (exploited)", "awaiting_approval", "CVE-2026-0001"}},
		{"missing --host host-e2", 0, []string{"Nothing is missing."}},
		{"patches", 0, []string{string(openssl), string(bashFix)}},
		{"patches --all --search cve-2026-0002", 0, []string{string(curlFix)}},
		{"patches " + string(openssl), 0, []string{"exploited", "needed by 1: host-e1", "signed record: sha256"}},
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
		{"deployments", 0, []string{"night", "running", "1 queued"}},
		{"report tasks", 0, []string{"hostname,patch,state", "host-e1"}},
		{"report missing --format html", 0, []string{"<!doctype html>"}},
		{"enroll-token --uses 3 --note rack", 0, []string{"fettle-agent enroll --token fe1-"}},
		{"sync", 0, []string{"version 7"}},
		{"audit", 0, []string{"deployments.create", "approvals.create"}},
		{"audit verify", 0, []string{"chain whole"}},
		{"doctor", 0, []string{"fresh and signed", "all in touch"}},
		{"hosts revoke host-e2", 0, []string{"revoked host-e2"}},
		{"--tenant nobody hosts", 3, []string{"not found"}},
	} {
		var out bytes.Buffer
		code := cli.Run(t.Context(), append([]string{"--server", w.url, "--data", t.TempDir()}, strings.Fields(tc.args)...), &out, &out)
		if code != tc.code {
			t.Errorf("fettle %s: exit code %d, want %d:\n%s", tc.args, code, tc.code, out.String())
		}
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("fettle %s does not say %q:\n%s", tc.args, want, out.String())
			}
		}
	}
}
