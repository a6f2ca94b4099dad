package lab

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// labOnly makes apt look at the lab's source alone: the others cannot be
// reached.
func labOnly(argv ...string) []string {
	return append([]string{
		"apt-get", "-o", "Dir::Etc::sourcelist=/etc/apt/sources.list.d/lab.sources", "-o", "Dir::Etc::sourceparts=-",
		"-o", "APT::Get::List-Cleanup=0", "-o", "APT::Update::Error-Mode=any",
	}, argv...)
}

func testArchive(ctx context.Context, t *testing.T) (*Archive, []Case) {
	t.Helper()
	a, err := NewArchive(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	cases, err := Scenario(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := AddOld(ctx, a, cases); err != nil {
		t.Fatal(err)
	}
	if err := a.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	return a, cases
}

// TestScenarioOnAMachine settles the scenario on a machine and lets apt itself
// say what is upgradable, upgrade it, and fail where it must.
func TestScenarioOnAMachine(t *testing.T) {
	ctx, f := testFleet(t)
	a, cases := testArchive(ctx, t)
	m, err := f.Start(ctx, "subject", MachineOptions{ReadOnly: map[string]string{a.Dir: "/mnt/archive"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := Settle(ctx, m, a, "file:/mnt/archive", cases); err != nil {
		t.Fatal(err)
	}
	update(ctx, t, m)
	if got := upgradable(ctx, t, m); len(got) > 0 {
		t.Errorf("before the patches are out these are upgradable: %v", got)
	}
	if err := AddNew(ctx, a, cases); err != nil {
		t.Fatal(err)
	}
	if err := a.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	update(ctx, t, m)
	if diff := cmp.Diff(wantListed(cases), upgradable(ctx, t, m)); diff != "" {
		t.Errorf("apt list --upgradable (-want +got):\n%s", diff)
	}
	for _, c := range cases {
		t.Run(c.Package, func(t *testing.T) { testUpgrade(ctx, t, m, c) })
	}
	t.Run("over HTTP", func(t *testing.T) { testOverHTTP(ctx, t, f, m, a) })
	t.Run("changed index is refused", func(t *testing.T) { testTampered(ctx, t, m, a) })
}

func update(ctx context.Context, t *testing.T, m *Machine) {
	t.Helper()
	if _, err := m.Run(ctx, labOnly("update")...); err != nil {
		t.Fatal(err)
	}
}

// wantListed is what apt should list, as "name/suite arch".
func wantListed(cases []Case) []string {
	var want []string
	for _, c := range cases {
		for _, p := range c.New {
			if c.Listed && p.Name == c.Package {
				arch := p.arch()
				want = append(want, p.Name+"/"+suiteName(c)+" "+arch)
			}
		}
	}
	slices.Sort(want)
	return want
}

func suiteName(c Case) string {
	if c.Security() {
		return "stable-security"
	}
	return "stable"
}

// upgradable is what apt lists as upgradable, as "name/suite arch".
func upgradable(ctx context.Context, t *testing.T, m *Machine) []string {
	t.Helper()
	out, err := m.Run(ctx, "apt", "list", "--upgradable")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == NewVersion {
			// A package for all architectures is named once for each index.
			name, _, _ := strings.Cut(f[0], ",")
			got = append(got, name+" "+f[2])
		}
	}
	slices.Sort(got)
	return got
}

// testUpgrade lets apt upgrade one package and checks what the case promises.
func testUpgrade(ctx context.Context, t *testing.T, m *Machine, c Case) {
	installed := func(name string) string {
		t.Helper()
		out, err := m.Run(ctx, "dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}\n", name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	res, err := m.Exec(ctx, "apt-get", "-y", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
		"install", "--only-upgrade", c.Package)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case c.Fails != "":
		if got := installed(c.Package); res.Code != 100 || !strings.Contains(res.Stdout+res.Stderr, c.Fails) || got != "iF "+NewVersion {
			t.Errorf("exit status %d, state %q, output %s%s", res.Code, got, res.Stdout, res.Stderr)
		}
		// Out of the way of the cases that follow.
		if _, err := m.Run(ctx, "dpkg", "--purge", "--force-all", c.Package); err != nil {
			t.Fatal(err)
		}
	case !c.Installs:
		if got := installed(c.Package); !strings.HasSuffix(got, "i "+OldVersion) {
			t.Errorf("a held or pinned package became %q", got)
		}
	default:
		for _, p := range c.New {
			name := p.Name
			if p.Arch != "" {
				name += ":" + p.Arch
			}
			if got := installed(name); got != "ii  "+NewVersion && got != "ii "+NewVersion {
				t.Errorf("%s is %q after: %s%s", name, got, res.Stdout, res.Stderr)
			}
		}
	}
	if c.Restart != "" {
		pid, err := m.Run(ctx, "systemctl", "show", "-P", "MainPID", c.Restart)
		if err != nil {
			t.Fatal(err)
		}
		maps, err := m.Run(ctx, "cat", "/proc/"+strings.TrimSpace(pid)+"/maps")
		if err != nil || !strings.Contains(maps, "liblab.so.1") || !strings.Contains(maps, "(deleted)") {
			t.Errorf("%s does not hold the deleted library: %v\n%s", c.Restart, err, maps)
		}
	}
	if out, _ := m.Exec(ctx, "grep", "-x", c.Package, "/run/reboot-required.pkgs"); (out.Code == 0) != c.Reboot {
		t.Errorf("reboot wanted: %v; case says %v", out.Code == 0, c.Reboot)
	}
	if c.Package == "lab-service" {
		if out, err := m.Run(ctx, "cat", "/run/lab-service.version"); err != nil || out != NewVersion+"\n" {
			t.Errorf("running version %q, %v", out, err)
		}
	}
	if c.Package == "lab-conffile" {
		if out, err := m.Run(ctx, "cat", "/etc/lab-conffile.conf", "/etc/lab-conffile.conf.dpkg-dist"); err != nil || out != "colour = green\ncolour = blue\nsize = large\n" {
			t.Errorf("conffile and vendor's: %q, %v", out, err)
		}
	}
}

// testOverHTTP fetches the same archive from the server's namespace, by hash.
func testOverHTTP(ctx context.Context, t *testing.T, f *Fleet, m *Machine, a *Archive) {
	byHash := make(chan string, 100)
	files := http.FileServerFS(os.DirFS(a.Dir))
	url, err := f.Serve(ctx, ServerAddr+":8081", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/by-hash/SHA256/") {
			byHash <- r.URL.Path
		}
		files.ServeHTTP(w, r)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.WriteFile(ctx, "/etc/apt/sources.list.d/lab.sources", strings.NewReader(a.Sources(url, KeyPath)), 0o644); err != nil {
		t.Fatal(err)
	}
	update(ctx, t, m)
	if want := len(a.Suites) * len(a.Archs); len(byHash) != want {
		t.Errorf("%d indexes came by hash, want %d", len(byHash), want)
	}
}

// testTampered changes one byte of an index: apt must refuse it.
func testTampered(ctx context.Context, t *testing.T, m *Machine, a *Archive) {
	if err := a.Add(ctx, MainSuite, plain("lab-late", OldVersion)); err != nil {
		t.Fatal(err)
	}
	if err := a.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(a.Dir, "dists", MainSuite, "InRelease")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(data), "Label: Fettle-Lab", "Label: Fettle-Bad", 1)
	if err := os.WriteFile(path, []byte(forged), 0o644); err != nil {
		t.Fatal(err)
	}
	res, err := m.Exec(ctx, labOnly("update")...)
	if err != nil || res.Code == 0 || !strings.Contains(res.Stderr, "BADSIG") {
		t.Errorf("apt took a forged InRelease: %+v, %v", res, err)
	}
}

func TestArchiveClaimsTheTimeItIsTold(t *testing.T) {
	ctx := t.Context()
	a, err := NewArchive(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.SignAt = time.Now().Add(-30 * 24 * time.Hour).Truncate(time.Second)
	if err := a.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(a.Dir, "dists", SecuritySuite, "InRelease"))
	if err != nil {
		t.Fatal(err)
	}
	const form = "Mon, 02 Jan 2006 15:04:05 UTC"
	for _, want := range []string{
		"Date: " + a.SignAt.UTC().Format(form) + "\n",
		"Valid-Until: " + a.SignAt.Add(7*24*time.Hour).UTC().Format(form) + "\n",
		"Suite: stable-security\n", "Codename: lab-security\n", "Acquire-By-Hash: yes\n",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("InRelease lacks %q:\n%s", want, data)
		}
	}
}

func TestPackagesBuildTheSameTwice(t *testing.T) {
	if err := Require(); err != nil {
		t.Fatal(err)
	}
	p := serviceCase().New[0]
	var built [2][]byte
	for i := range built {
		path, err := p.Build(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if built[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if string(built[0]) != string(built[1]) {
		t.Error("two builds of one description differ")
	}
}
