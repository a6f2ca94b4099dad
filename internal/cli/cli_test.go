package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

func TestRunTellsOnTheErrorStream(t *testing.T) {
	t.Setenv("FETTLE_SERVER", "")
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	var out, errs bytes.Buffer
	if code := Run(context.Background(), []string{"hosts", "--data", t.TempDir()}, &out, &errs); code != fault.ExitUnreachable {
		t.Errorf("exit code %d", code)
	}
	if out.Len() != 0 || !strings.Contains(errs.String(), "no server is known") {
		t.Errorf("out %q, err %q", out.String(), errs.String())
	}
}

func TestPick(t *testing.T) {
	named := func(id, name string, s estate.EndpointState) host {
		return host{Endpoint: estate.Endpoint{ID: estate.EndpointID(id), Hostname: name, State: s}}
	}
	list := []host{
		named("e1", "web1", estate.Active), named("e2", "web2", estate.Active), named("e3", "web2", estate.Active),
		named("e4", "old", estate.Revoked), named("e5", "web1", estate.Revoked), named("web2", "odd", estate.Active),
	}
	for name, want := range map[string]string{"web1": "e1", "WEB1": "e1", "e4": "e4", "e2": "e2", "web2": "web2", "odd": "web2"} {
		got, err := pick(list, name)
		if err != nil || string(got.ID) != want {
			t.Errorf("%s: %s, %v", name, got.ID, err)
		}
	}
	if _, err := pick(list[:5], "web2"); !fault.Is(err, fault.Conflict) {
		t.Errorf("two of one name: %v", err)
	}
	for _, name := range []string{"old", "nobody", ""} {
		if _, err := pick(list, name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestWords(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "now", 59 * time.Second: "now", time.Minute: "1 min", 59 * time.Minute: "59 min", time.Hour: "1 h", 47 * time.Hour: "47 h", 48 * time.Hour: "2 days",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	if got := ago(time.Time{}, now); got != "never" {
		t.Errorf("zero: %q", got)
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 3 << 19: "1.5 MiB", 5 << 29: "2.5 GiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := shortList([]string{"a", "b", "c"}, 2); got != "a b +1" {
		t.Error(got)
	}
	d := deployment{Deployment: deploy.Deployment{ID: "d", Name: "n", Status: deploy.Halted, Reason: "why"}}
	if got := headline(d); got != "deployment d (n) is halted: why" {
		t.Error(got)
	}
	if got := countsText(map[deploy.State]int{deploy.Verified: 2, deploy.Failed: 1}); got != "1 failed, 2 verified" {
		t.Error(got)
	}
}

func TestChoice(t *testing.T) {
	for name, tc := range map[string]struct {
		ch   choice
		args []string
		ok   bool
	}{
		"nothing":  {},
		"names":    {args: []string{"p"}, ok: true},
		"security": {ch: choice{security: true}, ok: true},
		"severity": {ch: choice{atLeast: "important"}, ok: true},
		"missing":  {ch: choice{missing: true}, ok: true},
	} {
		body, err := tc.ch.body(tc.args)
		if (err == nil) != tc.ok || (body != nil) != tc.ok {
			t.Errorf("%s: %v, %v", name, body, err)
		}
	}
}
