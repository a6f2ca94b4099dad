package restart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
)

func TestStaleLine(t *testing.T) {
	for line, want := range map[string]bool{
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 131090                     /usr/lib/libz.so.1 (deleted)": true,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 131090                     /usr/lib/libz.so.1":           false,
		"7f1c2a000000-7f1c2a021000 r--p 00000000 08:01 131090                     /usr/lib/libz.so.1 (deleted)": false,
		"7f1c2a000000-7f1c2a021000 rw-p 00000000 08:01 131090                     /usr/lib/libz.so.1 (deleted)": false,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 00:00 0                          /usr/lib/libz.so.1 (deleted)": false,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 5                          /opt/a dir/x (deleted)":       true,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 00:01 1024                       /memfd:jit (deleted)":         false,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 00:01 1024                       /dev/zero (deleted)":          false,
		"7f1c2a000000-7f1c2a021000 r-xs 00000000 00:01 3                          /SYSV00000000 (deleted)":      false,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 9                          /tmp/x.so (deleted)":          false,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 9                          /var/tmp/x.so (deleted)":      false,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 9                          /home/u/orcexec.Ab (deleted)": false,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 9                          /home/u/jna12.tmp (deleted)":  false,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 9                          /usr/lib/#12345 (deleted)":    false,
		"7f1c2a000000-7f1c2a021000 r-xp 00000000 00:00 0                          [vdso]":                       false,
		" (deleted)": false,
		"":           false,
	} {
		if got := staleLine([]byte(line)); got != want {
			t.Errorf("%q: got %v", line, got)
		}
	}
}

func TestUnit(t *testing.T) {
	for cgroup, want := range map[string]string{
		"0::/system.slice/ssh.service\n":                                                  "ssh.service",
		"0::/system.slice/system-getty.slice/getty@tty1.service\n":                        "getty@tty1.service",
		"0::/system.slice/docker.service/payload\n":                                       "docker.service",
		"4:memory:/other.service\n1:name=systemd:/system.slice/cron.service\n0::/\n":      "cron.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n":          "",
		"0::/machine.slice/systemd-nspawn@ep1.service/payload/system.slice/ssh.service\n": "",
		"0::/docker/0123/system.slice/x.service\n":                                        "",
		"0::/kubepods.slice/a/x.service\n":                                                "",
		"0::/init.scope\n":                                                                "",
		"rubbish":                                                                         "",
	} {
		if got := unit([]byte(cgroup)); got != want {
			t.Errorf("%q: got %q", cgroup, got)
		}
	}
}

func TestFixture(t *testing.T) {
	dir := t.TempDir()
	stale := "7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 131090 /usr/lib/libz.so.1 (deleted)\n"
	long := strings.Repeat("7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 131090 /usr/lib/libc.so.6\n", 3000)
	for name, text := range map[string]string{
		"10/maps": long + stale + long, "10/cgroup": "0::/system.slice/b.service\n", // across buffers
		"11/maps": strings.TrimSuffix(stale, "\n"), "11/cgroup": "0::/system.slice/a.service\n",
		"12/maps": long, "12/cgroup": "0::/system.slice/fresh.service\n",
		"13/maps": stale, "13/cgroup": "0::/system.slice/b.service\n", // the same again
		"14/cgroup": "0::/system.slice/gone.service\n",
		"15/maps":   stale, "15/cgroup": "0::/user.slice/user-0.slice/session-1.scope\n",
		"self/maps": stale, "self/cgroup": "0::/system.slice/self.service\n",
	} {
		path := filepath.Join(dir, "proc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tr, err := collect.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.Close() }() // read only
	var s inventory.Snapshot
	if err := Collector().Collect(context.Background(), tr, &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.service", "b.service"}, s.State.RestartsDue); diff != "" {
		t.Error(diff)
	}
}

// TestLive starts a program, replaces its file as an update does, and looks at
// the real /proc. needrestart must say the same of that process.
func TestLive(t *testing.T) {
	// Not below /tmp, which is ignored by design.
	dir, err := os.MkdirTemp("/var/lib", "fettle-restart-test-")
	if err != nil {
		t.Fatalf("this test needs root: %v", err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	program := filepath.Join(dir, "sleeper")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // it is our own child
		_ = cmd.Wait()         // "killed" is what it says
	}()
	maps := filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "maps")
	var r reader
	if r.stale(maps) {
		t.Fatal("a fresh program counts as replaced")
	}
	if err := os.WriteFile(program+".new", data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(program+".new", program); err != nil {
		t.Fatal(err)
	}
	if !r.stale(maps) {
		t.Fatal("a replaced program is not seen")
	}
	out, err := exec.Command("needrestart", "-b", "-v", "-r", "l").CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatalf("this test needs needrestart: %v", err)
	}
	if !slices.ContainsFunc(strings.Split(string(out), "\n"), func(l string) bool {
		return strings.Contains(l, "#"+strconv.Itoa(cmd.Process.Pid)+" uses")
	}) {
		t.Fatalf("needrestart does not see the process %d:\n%s", cmd.Process.Pid, out)
	}
}

func FuzzStaleLines(f *testing.F) {
	f.Add([]byte("7f-8f r-xp 0 08:01 1 /usr/lib/x (deleted)\nx"))
	f.Fuzz(func(_ *testing.T, data []byte) { staleLines(data); unit(data) })
}
