package journey

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/test/lab"
)

// upgradable is what apt and fettle both say about one package.
type upgradable struct {
	Installed string
	Security  bool
}

// TestMissingEqualsApt compares `fettle up --once --json` with `apt list
// --upgradable` on this very machine: the same packages, the same versions,
// and security exactly where the candidate comes from a security suite.
func TestMissingEqualsApt(t *testing.T) {
	want := aptUpgradable(t)
	for {
		diff := cmp.Diff(want, fettleMissing(t))
		if diff == "" {
			break
		}
		// A vendor may have brought something out between the two looks.
		again := aptUpgradable(t)
		if cmp.Equal(want, again) {
			t.Fatalf("apt and fettle differ (-apt +fettle):\n%s", diff)
		}
		want = again
	}
	if len(want) == 0 {
		t.Log("this machine lacks nothing; the comparison is of two empty sets")
	}
}

// aptLine is "name/suite,suite version arch [upgradable from: old]".
var aptLine = regexp.MustCompile(`^([^/\s]+)/(\S+) (\S+) (\S+) \[upgradable from: ([^\]]+)\]`)

func aptUpgradable(t *testing.T) map[string]upgradable {
	t.Helper()
	if out, err := exec.Command("apt-get", "-q", "update").CombinedOutput(); err != nil {
		t.Fatalf("apt-get update: %v\n%s", err, out)
	}
	cmd := exec.Command("apt", "list", "--upgradable")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]upgradable{}
	for line := range strings.Lines(string(out)) {
		m := aptLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		u := upgradable{Installed: m[5]}
		for suite := range strings.SplitSeq(m[2], ",") {
			u.Security = u.Security || strings.HasSuffix(suite, "-security")
		}
		found[key(m[1], m[4], m[3])] = u
	}
	return found
}

// key names a package version; "all" is how apt calls it on every machine.
func key(name, arch, version string) string {
	if arch == "all" {
		arch = "amd64"
	}
	return name + ":" + arch + "=" + version
}

func fettleMissing(t *testing.T) map[string]upgradable {
	t.Helper()
	out := fettle(t, "up", "--once", "--json", "--data", t.TempDir(), "--admin", freeAddr(t), "--agents", freeAddr(t))
	var report struct {
		Missing []struct {
			Package, Arch, Installed, Available, Severity, Patch, Reason string
			Security                                                     bool
			CVEs                                                         []string
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("not JSON: %v\n%.2000s", err, out)
	}
	found := map[string]upgradable{}
	for _, m := range report.Missing {
		found[key(m.Package, m.Arch, m.Available)] = upgradable{Installed: m.Installed, Security: m.Security}
		if m.Patch == "" || m.Reason == "" || m.Severity == "" || m.CVEs == nil {
			t.Errorf("%s has no patch, reason, severity or list of CVEs: %+v", m.Package, m)
		}
	}
	return found
}

// fettle runs the built program and returns its standard output.
func fettle(t *testing.T, args ...string) []byte {
	t.Helper()
	program, err := filepath.Abs("../../bin/fettle")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v; run 'make build' first", err)
	}
	cmd := exec.Command(program, args...)
	var out, note bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &note
	if err := cmd.Run(); err != nil {
		t.Fatalf("fettle %s: %v\n%s\n%s", strings.Join(args, " "), err, out.String(), note.String())
	}
	return out.Bytes()
}

// freeAddr is a loopback address that nobody listens on at this moment.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := lab.FreeAddr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
