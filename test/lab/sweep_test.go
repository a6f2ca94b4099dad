package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// traces lists everything on this host that carries the mark of a fleet.
func traces(t *testing.T, id string) []string {
	t.Helper()
	prefix := namePrefix + id + "-"
	var found []string
	for _, pattern := range []string{
		"/run/netns/" + prefix + "*", filepath.Join(stateDir, id),
		cgroupRoot + "/" + prefix + "*", cgroupRoot + "/*/" + prefix + "*",
		"/run/systemd/nspawn/*/" + prefix + "*",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	mounts, err := mountsBelow(filepath.Join(stateDir, id))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range processes() {
		argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(argv), prefix) {
			found = append(found, fmt.Sprintf("process %d %q", pid, argv))
		}
	}
	return append(found, mounts...)
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	ctx, f := testFleet(t)
	if _, err := f.Start(ctx, "gone", MachineOptions{}); err != nil {
		t.Fatal(err)
	}
	server := exec.Command("sleep", "1000")
	f.InServerNetns(server)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if got := traces(t, f.id); len(got) < 5 {
		t.Fatalf("the search for traces finds too little on a living fleet: %q", got)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := server.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("the server was not killed: %v", err)
	}
	if got := traces(t, f.id); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
}

// TestSweepCleansUpAfterACrash starts a second process of this test that makes
// a fleet, kills it, and sweeps.
func TestSweepCleansUpAfterACrash(t *testing.T) {
	if os.Getenv("FETTLE_LAB_TEST_CRASH") != "" {
		crashWithFleet(t)
	}
	ctx, alive := testFleet(t)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSweepCleansUpAfterACrash$", "-test.v")
	cmd.Env = append(os.Environ(), "FETTLE_LAB_TEST_CRASH=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, keys, cell := "", "", 0
	for lines := bufio.NewScanner(out); id == "" && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "fleet %s keys %s cell %d", &id, &keys, &cell)
	}
	// Other tests on this machine, which sweep too, have to wait.
	unlock, err := lockState(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if id == "" || len(traces(t, id)) < 4 {
		t.Fatalf("the crashed run %q left too little to prove anything: %q", id, traces(t, id))
	}
	// A cell's processes end with the run that made them; that may take a moment.
	if _, err := os.Stat(filepath.Join(keys, "S.gpg-agent")); err != nil || cell == 0 {
		t.Fatalf("the crashed run left no gpg-agent (%v) or had no process in its cell (%d)", err, cell)
	}
	if err := sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(keys); !errors.Is(err, fs.ErrNotExist) || running(cell) {
		t.Errorf("Sweep left a signing key (%v) or process %d of a cell", err, cell)
	}
	if got := traces(t, id); len(got) > 0 {
		t.Errorf("Sweep left: %q", got)
	}
	if got := traces(t, alive.id); len(got) < 2 {
		t.Errorf("Sweep harmed a living fleet; it has only %q", got)
	}
}

// crashWithFleet makes a fleet with a machine and a cell, and an archive, says
// so and waits to be killed.
func crashWithFleet(t *testing.T) {
	ctx, root := testRoot(t)
	f, err := NewFleet(ctx, root, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Start(ctx, "orphan", MachineOptions{}); err != nil {
		t.Fatal(err)
	}
	a, err := NewArchive(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cell, err := f.NewCell(ctx, "lonely", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := cell.Command(ctx, []string{"PATH=/usr/bin:/bin"}, "sh", "-c", "sleep 1000 & echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	pids, err := cell.Processes()
	if err != nil || len(pids) != 1 {
		t.Fatal(pids, err)
	}
	fmt.Println("fleet", f.id, "keys", a.gnupg, "cell", pids[0])
	select {}
}

func TestFaults(t *testing.T) {
	ctx, f := testFleet(t)
	m, err := f.Start(ctx, "victim", MachineOptions{DiskBytes: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("network", func(t *testing.T) { testNetworkCut(ctx, t, f, m) })
	t.Run("forward", func(t *testing.T) { testForward(ctx, t, f, m) })
	t.Run("full disk", func(t *testing.T) { testFullDisk(ctx, t, m) })
	t.Run("killed process", func(t *testing.T) {
		if _, err := m.Run(ctx, "systemd-run", "--unit=prey", "sleep", "1000"); err != nil {
			t.Fatal(err)
		}
		out, err := m.Run(ctx, "systemctl", "show", "-P", "MainPID", "prey")
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		if _, err := fmt.Sscan(out, &pid); err != nil {
			t.Fatal(err)
		}
		if err := m.Kill(ctx, pid); err != nil {
			t.Fatal(err)
		}
		// The unit fails as soon as systemd has reaped the process.
		for {
			res, err := m.Exec(ctx, "systemctl", "is-failed", "prey")
			if err != nil {
				t.Fatal(err)
			}
			if res.Stdout == "failed\n" {
				return
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				t.Fatalf("unit of a killed process: %+v", res)
			}
		}
	})
}

func testNetworkCut(ctx context.Context, t *testing.T, f *Fleet, m *Machine) {
	url, err := f.Serve(ctx, ServerAddr+":8080", http.FileServerFS(os.DirFS(t.TempDir())))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := f.HTTPClient().Get(url + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	reach := func(patience string) Result {
		t.Helper()
		res, err := m.Exec(ctx, "timeout", patience, "bash", "-c", "exec 3<>/dev/tcp/"+ServerAddr+"/8080")
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := reach("60"); res.Code != 0 {
		t.Fatalf("the server cannot be reached: %+v", res)
	}
	if err := m.CutNetwork(ctx); err != nil {
		t.Fatal(err)
	}
	if res := reach("2"); res.Code == 0 {
		t.Error("the server is reached over a cut cable")
	}
	if err := m.RestoreNetwork(ctx); err != nil {
		t.Fatal(err)
	}
	for res := reach("10"); res.Code != 0; res = reach("10") { // the kernel tells both ends that there is a carrier again when it finds the time
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			t.Fatalf("the server cannot be reached after the cable is back: %+v", res)
		}
	}
}

// testForward reaches a server on this host's loopback from a machine.
func testForward(ctx context.Context, t *testing.T, f *Fleet, m *Machine) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from the host") }))
	t.Cleanup(srv.Close)
	if err := f.Forward(ctx, ServerAddr+":9000", srv.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	get := `exec 3<>/dev/tcp/` + ServerAddr + `/9000; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3`
	if out, err := m.Run(ctx, "timeout", "120", "bash", "-c", get); err != nil || !strings.HasSuffix(out, "\r\n\r\nfrom the host") {
		t.Errorf("through the forward came %q, %v", out, err)
	}
	srv.Close()
	if out, _ := m.Exec(ctx, "timeout", "120", "bash", "-c", get); out.Stdout != "" || out.Code == 124 {
		t.Errorf("from a dead target came %+v", out)
	}
}

func testFullDisk(ctx context.Context, t *testing.T, m *Machine) {
	write := func() Result {
		t.Helper()
		res, err := m.Exec(ctx, "dd", "if=/dev/zero", "of=/var/tmp/big", "bs=1M", "count=20")
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if err := m.FillDisk(1 << 20); err != nil {
		t.Fatal(err)
	}
	if res := write(); res.Code == 0 || !strings.Contains(res.Stderr, "No space left on device") {
		t.Errorf("20 MB fit on a full disk: %+v", res)
	}
	if err := m.FreeDisk(); err != nil {
		t.Fatal(err)
	}
	if res := write(); res.Code != 0 {
		t.Errorf("20 MB do not fit after freeing: %+v", res)
	}
}
