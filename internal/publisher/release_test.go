package publisher

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("debian.csv", "version,codename,series,created,release,eol\n12,Bookworm,bookworm,2021-08-14,2023-06-10,2026-06-10\n14,Forky,forky,2025-08-09\n15,Duke,duke,2027-08-01,2029-06-01\n,Sid,sid,1993-08-16\n")
	write("ubuntu.csv", "version,codename,series,created,release,eol,eol-server\n24.04 LTS,Noble Numbat,noble,2023-10-26,2024-04-25,2029-05-31,2029-05-31\n")
	forky := write("forky", "ID=debian\nVERSION_CODENAME=forky\n")
	acme := write("acme", "ID=\"acme\"\nVERSION_ID=\"7\"\nVERSION_CODENAME=anvil\n")
	p := &Publisher{now: func() time.Time { return time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC) }}
	for _, c := range []struct{ machine, tables, vendor, codename, want string }{
		{acme, dir, "debian", "bookworm", "12"},
		{acme, dir, "debian", "Bookworm", "12"},
		{acme, dir, "ubuntu", "noble", "24.04"},
		{acme, dir, "debian", "noble", ""},
		{acme, dir, "debian", "forky", ""}, // not out yet
		{acme, dir, "debian", "duke", ""},
		{acme, dir, "debian", "sid", ""},
		{acme, dir, "debian", "", ""},
		{acme, dir, "acme", "anvil", "7"},
		{acme, dir, "../debian", "bookworm", ""},
		{acme, dir + "/none", "debian", "bookworm", ""},
		{forky, dir, "debian", "forky", "forky"}, // its own machines go by the code name
		{dir + "/none", dir, "debian", "bookworm", "12"},
		{dir + "/none", dir, "", "", ""},
	} {
		if got := p.names(c.machine, c.tables)(c.vendor, c.codename); got != c.want {
			t.Errorf("%s %s on %s: %q, want %q", c.vendor, c.codename, filepath.Base(c.machine), got, c.want)
		}
	}
	for path, want := range map[string]string{acme: "acme-7", forky: "debian-forky", dir + "/none": ""} {
		if got := machineRelease(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
