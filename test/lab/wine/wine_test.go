package wine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/test/lab"
)

// newFleet is an empty fleet, gone with the test.
func newFleet(t *testing.T) (context.Context, *lab.Fleet) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Minute)
	t.Cleanup(cancel)
	fleet, err := lab.NewFleet(ctx, "", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, fleet
}

// newHost is a host of its own fleet, gone with the test.
func newHost(t *testing.T, name string) (context.Context, *lab.Fleet, *Host) {
	t.Helper()
	ctx, fleet := newFleet(t)
	h, err := Start(ctx, fleet, name, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, fleet, h
}

func TestHost(t *testing.T) {
	ctx, _, h := newHost(t, "winpc01")
	for _, tc := range []struct {
		name, want string
		code       int
		argv       []string
	}{
		{"computer name", "WINPC01", 0, []string{"cmd", "/c", "echo %COMPUTERNAME%"}},
		{"host name", "WINPC01", 0, []string{"hostname"}},
		{"version", "10.0.18362", 0, []string{"cmd", "/c", "ver"}},
		{"address", h.Addr, 0, []string{"ipconfig"}},
		{"only drive C", "", 1, []string{"cmd", "/c", `dir Z:\`}},
		{"whole exit code", "", 1605, []string{"msiexec", "/x", "{11111111-2222-3333-4444-555555555555}", "/qn"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, err := h.Exec(ctx, tc.argv...)
			if err != nil || res.Code != tc.code || !strings.Contains(res.Stdout, tc.want) {
				t.Errorf("%+v, %v; want %q and exit code %d", res, err, tc.want, tc.code)
			}
		})
	}
	t.Run("no way out", func(t *testing.T) {
		if err := h.unixly(ctx, "sh", "-c", "! ip route | grep default"); err != nil {
			t.Error(err)
		}
	})
	t.Run("files and registry", func(t *testing.T) {
		if err := h.WriteFile(`C:\program files\Some App\a.txt`, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		out, err := h.Run(ctx, "cmd", "/c", "type", `C:\Program Files\some app\A.TXT`)
		if err != nil || out != "hello" {
			t.Errorf("%q, %v", out, err)
		}
		if err := h.SetRegistry(ctx, `HKLM\Software\Lab Key`, "a name", "a value"); err != nil {
			t.Fatal(err)
		}
		got, err := h.Registry(ctx, `HKLM\Software\Lab Key`)
		if err != nil || got["a name"] != "a value" || len(got) != 1 {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := h.ReadFile(`C:\nothing`); !os.IsNotExist(err) {
			t.Errorf("a file that is not there: %v", err)
		}
	})
}

func TestReboot(t *testing.T) {
	ctx, _, h := newHost(t, "reboot")
	if err := h.WriteFile(`C:\new.txt`, []byte("new")); err != nil {
		t.Fatal(err)
	}
	const session = `HKLM\System\CurrentControlSet\Control\Session Manager`
	if _, err := h.Run(ctx, "reg", "add", session, "/v", "PendingFileRenameOperations", "/t", "REG_MULTI_SZ", "/d", `\??\C:\new.txt\0\??\C:\old.txt`, "/f"); err != nil {
		t.Fatal(err)
	}
	before, err := h.cell.Processes()
	if err != nil || len(before) < 3 {
		t.Fatalf("processes: %v, %v", before, err)
	}
	if err := h.Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	if text, err := h.ReadFile(`C:\old.txt`); err != nil || string(text) != "new" {
		t.Errorf("the pending rename: %q, %v", text, err)
	}
	after, err := h.cell.Processes()
	if err != nil || slices.ContainsFunc(after, func(pid int) bool { return slices.Contains(before, pid) }) {
		t.Errorf("processes %v, %v; before the restart %v", after, err, before)
	}
	if n, err := h.Kill("services.exe"); n != 1 || err != nil {
		t.Errorf("killed %d, %v", n, err)
	}
	if left, err := h.Processes("services.exe"); len(left) > 0 || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestClose looks for what is left of a host when its fleet has gone.
func TestClose(t *testing.T) {
	ctx, fleet, h := newHost(t, "gone")
	pids, err := h.cell.Processes()
	if err != nil || len(pids) == 0 {
		t.Fatal(pids, err)
	}
	if err := fleet.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			t.Errorf("process %d lives on", pid)
		}
	}
	if _, err := os.Stat(h.Drive()); !os.IsNotExist(err) {
		t.Errorf("drive C lives on: %v", err)
	}
	if _, err := h.Exec(ctx, "hostname"); err == nil {
		t.Error("a closed host runs programs")
	}
}

// TestRunTests runs the sample's tests, one of each ending.
func TestRunTests(t *testing.T) {
	const pkg = "github.com/fettlehq/fettle/test/lab/wine/testdata/sample"
	ctx, _, h := newHost(t, "sample")
	found, err := WindowsTested(ctx, pkg, "github.com/fettlehq/fettle/test/lab")
	if diff := cmp.Diff([]string{pkg}, found); diff != "" || err != nil {
		t.Errorf("packages with tests for Windows (-want +got), %v:\n%s", err, diff)
	}
	outcomes, res, err := h.runTests(ctx, t.TempDir(), pkg, nil)
	if err != nil || res.Code != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	got := map[string]string{}
	for _, o := range outcomes {
		got[o.test] = o.action
		if o.test == "TestFails" && !strings.Contains(o.said, "this is why") {
			t.Errorf("the failing test said %q", o.said)
		}
	}
	want := map[string]string{"TestPasses": "pass", "TestFails": "fail", "TestSkips": "skip", "TestLeavesFiles": "pass", "TestFailsAndLeavesFiles": "fail"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	outcomes, res, err = h.runTests(ctx, t.TempDir(), pkg, []string{"-test.run=TestPasses", "-end"})
	if err != nil || res.Code != 7 || len(outcomes) != 1 || outcomes[0].action != "run" {
		t.Errorf("a test that ends its process: %+v, %+v, %v", outcomes, res, err)
	}
}

// TestWindowsTests runs the tests of every package that has some for Windows
// only, each on a host of its own.
func TestWindowsTests(t *testing.T) {
	ctx, fleet := newFleet(t)
	packages, err := WindowsTested(ctx, "github.com/fettlehq/fettle/internal/...", "github.com/fettlehq/fettle/test/lab/wine/...")
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) == 0 {
		t.Fatal("no package has tests for Windows")
	}
	for i, pkg := range packages {
		// Without slashes, so that -run can name one.
		name := strings.ReplaceAll(strings.TrimPrefix(pkg, "github.com/fettlehq/fettle/"), "/", ".")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := Start(ctx, fleet, fmt.Sprintf("tests-%d", i), t.Output())
			if err != nil {
				t.Fatal(err)
			}
			RunTests(t, h, pkg)
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
