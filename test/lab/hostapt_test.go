package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMainURI(t *testing.T) {
	const uris = `'http://archive.example/debian/dists/bookworm-updates/InRelease' a 0
'http://archive.example/debian-security/dists/bookworm-security/InRelease' b 0
'https://user@mirror.example/debian/dists/bookworm/InRelease' c 0
`
	for codename, want := range map[string]string{
		"bookworm": "https://user@mirror.example/debian/", "trixie": "", "bookworm-updates": "http://archive.example/debian/",
	} {
		if got := mainURI(uris, codename); got != want {
			t.Errorf("%s: %q, want %q", codename, got, want)
		}
	}
}

func TestFetchOptionsKeepProxiesOnly(t *testing.T) {
	const dump = `Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https::Verify-Peer "true";
Acquire::Check-Valid-Until "false";
Acquire::GzipIndexes "true";
Acquire::Languages:: "none";
Acquire::IndexTargets::deb::Packages::MetaKey "$(COMPONENT)/x";
`
	want := []string{
		`Acquire::http::Proxy "http://proxy.example:3128";`, `Acquire::https::Verify-Peer "true";`,
		`Acquire::Check-Valid-Until "false";`,
	}
	if diff := cmp.Diff(want, fetchOptions(dump)); diff != "" {
		t.Error(diff)
	}
}

func TestSourceFilesComeWithTheirKeysAndOneArchitecture(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/apt/sources.list":                       "# deb http://off.example x main\ndeb http://archive.example/debian bookworm main\ndeb [signed-by=/etc/keys/b.gpg] http://b.example/ stable main\ndeb [arch=arm64] http://c.example/ stable main\n",
		"etc/apt/sources.list.d/a.sources":           "Types: deb\nURIs: http://a.example/\nSuites: s\nComponents: main\nsigned-by: /usr/share/keyrings/a.gpg\n\nTypes: deb\nURIs: http://d.example/\nArchitectures: armhf\nSuites: s\n",
		"etc/apt/sources.list.d/z.list.disabled":     "deb http://z.example/ z main\n",
		"usr/share/keyrings/a.gpg":                   "key a",
		"etc/keys/b.gpg":                             "key b",
		"usr/share/keyrings/not-named-by-anyone.gpg": "key c",
	} {
		if err := writeFile(filepath.Join(root, name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := sourceFiles(root, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range files {
		got[f.Name] = string(f.Data)
	}
	want := map[string]string{
		"etc/apt/sources.list":             "# deb http://off.example x main\ndeb [arch=amd64] http://archive.example/debian bookworm main\ndeb [arch=amd64 signed-by=/etc/keys/b.gpg] http://b.example/ stable main\ndeb [arch=arm64] http://c.example/ stable main\n",
		"etc/apt/sources.list.d/a.sources": "Types: deb\nURIs: http://a.example/\nSuites: s\nComponents: main\nsigned-by: /usr/share/keyrings/a.gpg\nArchitectures: amd64\n\nTypes: deb\nURIs: http://d.example/\nArchitectures: armhf\nSuites: s\n\n",
		"usr/share/keyrings/a.gpg":         "key a",
		"etc/keys/b.gpg":                   "key b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFreshRootIsTheNewestFinishedOne(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_800_000_000, 0)
	for _, name := range []string{"a-1700000000", "a-1799999000", "a-1799999999.part", "a-1799990000", "b-1799999999"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got := filepath.Base(freshRoot(dir, "a-", now)); got != "a-1799999000" {
		t.Errorf("fresh root is %q", got)
	}
	if got := freshRoot(dir, "a-", now.Add(15*24*time.Hour)); got != "" {
		t.Errorf("a root of 15 days ago is fresh: %q", got)
	}
}

// TestBaseLacksRealSecurityUpdates compares the root with what the security
// suites of this machine offer, as far as its apt has their indexes.
func TestBaseLacksRealSecurityUpdates(t *testing.T) {
	ctx, root := testRoot(t)
	status, err := command(ctx, "dpkg-query", "--admindir="+filepath.Join(root, "var/lib/dpkg"), "-W", "-f", "${Package} ${Version}\n")
	if err != nil {
		t.Fatal(err)
	}
	installed := map[string]string{}
	for line := range strings.Lines(string(status)) {
		name, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		installed[name] = version
	}
	if len(installed) < 80 {
		t.Fatalf("the root has only %d packages", len(installed))
	}
	argv := append([]string{"apt-cache", "madison"}, sortedKeys(installed)...)
	offers, err := command(ctx, argv...)
	if err != nil {
		t.Fatal(err)
	}
	lacking := map[string]bool{}
	security := 0
	for line := range strings.Lines(string(offers)) {
		f := strings.Split(line, "|")
		if len(f) != 3 || !strings.Contains(f[2], "-security/") {
			continue
		}
		security++
		name, offered := strings.TrimSpace(f[0]), strings.TrimSpace(f[1])
		if _, err := command(ctx, "dpkg", "--compare-versions", installed[name], "lt", offered); err == nil {
			lacking[name] = true
		}
	}
	if security == 0 {
		t.Skip("this machine's apt has no indexes of a security suite (apt-get update)")
	}
	t.Logf("%d packages, %d lack a security update: %v", len(installed), len(lacking), sortedKeys(lacking))
	if len(lacking) == 0 {
		t.Skip("main and security suites are level, as on the day of a point release: nothing real to patch today")
	}
}
