package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

func call(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, streams{strings.NewReader(""), &o, &e})
	return code, o.String(), e.String()
}

func fixture(t *testing.T) (root, shard string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range map[string]string{
		"etc/os-release":          "ID=debian\nVERSION_ID=12\nPRETTY_NAME=Debian\n",
		"etc/hostname":            "box\n",
		"run/reboot-required":     "",
		"var/lib/dpkg/status":     "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\nPackage: svc\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n",
		"etc/apt/preferences.d/x": "rubbish\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shard = filepath.Join(root, "c.shard")
	f, err := os.Create(shard)
	if err != nil {
		t.Fatal(err)
	}
	when := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	err = catalog.Encode(f, catalog.Contents{
		Header: catalog.Header{Format: catalog.Format, Platform: "debian-12-amd64", Version: 7, Created: when, Archives: []catalog.Archive{{ID: "a", Label: "Debian-Security", Codename: "bookworm", Suite: "s", Origin: "Debian", Security: true, Date: when}}, Notes: []string{"no tracker"}},
		Patches: []patch.Patch{{
			ID: "p", Platform: "debian-12-amd64", Product: "svc", Version: "2.0", Severity: patch.Critical, Archives: []string{"a"},
			Items: []patch.Item{{Kind: "dpkg", Name: "svc", Arch: "amd64", Version: "2.0"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return root, shard
}

func TestScan(t *testing.T) {
	root, shard := fixture(t)
	code, out, errs := call(t, "scan", "--root", root, "--catalog", shard)
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"PACKAGE", "svc ", "1.0 ", "2.0 ", "critical", "missing", "box (Debian): 1 of 2 packages lack a patch; catalog 7 of 2026-11-21 10:00 UTC",
		"a reboot is due: /run/reboot-required", "note: no tracker", "could not be learned: /etc/apt/preferences.d/x is damaged",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	code, out, _ = call(t, "scan", "--root", root, "--catalog", shard, "--json")
	var r agent.ScanReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || len(r.Missing) != 1 || r.Missing[0].Available != "2.0" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

func TestInventory(t *testing.T) {
	root, _ := fixture(t)
	if code, out, _ := call(t, "inventory", "--root", root, "--packages"); code != 0 || out != "dpkg:amd64\t1\nsvc:amd64\t1.0\n" {
		t.Errorf("exit %d: %q", code, out)
	}
	if code, out, errs := call(t, "inventory", "--root", root); code != 0 || !strings.Contains(out, `"hostname": "box"`) || !strings.Contains(errs, "could not be learned") {
		t.Errorf("exit %d: %s %s", code, out, errs)
	}
}

func TestExitCodes(t *testing.T) {
	root, shard := fixture(t)
	state := t.TempDir()
	zero := "sha256:" + strings.Repeat("0", 64)
	bad := filepath.Join(root, "bad.shard")
	if err := os.WriteFile(bad, []byte("no shard"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"version":         {[]string{"version"}, 0, ""},
		"version flag":    {[]string{"--version"}, 0, ""},
		"help":            {nil, 0, ""},
		"unknown flag":    {[]string{"scan", "--no"}, fault.ExitUsage, "hint: 'fettle-agent help scan' shows how it is used"},
		"unknown command": {[]string{"fly"}, fault.ExitUsage, "hint: 'fettle-agent help' lists all commands"},
		"extra argument":  {[]string{"scan", "x"}, fault.ExitUsage, "unexpected argument"},
		"no address":      {[]string{"enroll"}, fault.ExitUsage, "address is missing"},
		"no token":        {[]string{"enroll", "https://x.example"}, fault.ExitUsage, "--token is missing"},
		"no catalog":      {[]string{"scan", "--root", root, "--state", state}, fault.ExitNotFound, "hint: "},
		"not enrolled":    {[]string{"status", "--state", state}, fault.ExitNotFound, "hint: run the line"},
		"run unenrolled":  {[]string{"run", "--state", state}, fault.ExitNotFound, "not enrolled"},
		"bad catalog":     {[]string{"scan", "--root", root, "--catalog", bad}, fault.ExitUntrusted, "is refused"},
		"no file":         {[]string{"scan", "--root", root, "--catalog", shard + "x"}, fault.ExitNotFound, "can't open"},
		"nobody there":    {[]string{"enroll", "https://127.0.0.1:1", "--token", "t", "--ca", zero, "--root", zero, "--state", state}, fault.ExitUnreachable, "can't be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := call(t, tc.args...)
			if code != tc.code || !strings.Contains(errs, tc.says) {
				t.Errorf("exit %d: %s", code, errs)
			}
		})
	}
}
