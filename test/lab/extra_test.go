package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestInterruptedInstalls cuts the power in the middle of a postinst and fills
// the disk before an unpack: dpkg must be left as it is on real machines, and
// must be repairable.
func TestInterruptedInstalls(t *testing.T) {
	ctx, f := testFleet(t)
	a, err := NewArchive(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	cases := []Case{SlowCase(), LargeCase(40 << 20)}
	if err := errors.Join(AddOld(ctx, a, cases), a.Publish(ctx)); err != nil {
		t.Fatal(err)
	}
	m, err := f.Start(ctx, "cut", MachineOptions{ReadOnly: map[string]string{a.Dir: "/mnt/archive"}, DiskBytes: 512 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := Settle(ctx, m, a, "file:/mnt/archive", cases); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(AddNew(ctx, a, cases), a.Publish(ctx)); err != nil {
		t.Fatal(err)
	}
	update(ctx, t, m)
	t.Run("power cut in a postinst", func(t *testing.T) { testCutInPostinst(ctx, t, m) })
	t.Run("full disk", func(t *testing.T) { testFullDiskInstall(ctx, t, m) })
}

func testCutInPostinst(ctx context.Context, t *testing.T, m *Machine) {
	done := make(chan error, 1)
	go func() {
		_, err := m.Exec(ctx, "apt-get", "-y", "install", "--only-upgrade", "lab-slow")
		done <- err
	}()
	for {
		if res, err := m.Exec(ctx, "test", "-e", SlowStarted); err != nil {
			t.Fatal(err)
		} else if res.Code == 0 {
			break
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	m.PowerCut()
	if err := <-done; err == nil {
		t.Error("apt-get outlived its machine")
	}
	if err := m.PowerOn(ctx); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		out, err := m.Run(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", "lab-slow")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := state(); got != "half-configured "+NewVersion {
		t.Errorf("after the cut the package is %q", got)
	}
	if _, err := m.Run(ctx, "touch", SlowContinue); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Run(ctx, "dpkg", "--configure", "-a"); err != nil {
		t.Fatal(err)
	}
	if got := state(); got != "installed "+NewVersion {
		t.Errorf("after the repair the package is %q", got)
	}
}

func testFullDiskInstall(ctx context.Context, t *testing.T, m *Machine) {
	install := func() Result {
		t.Helper()
		res, err := m.Exec(ctx, "apt-get", "-y", "install", "--only-upgrade", "lab-large")
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if err := m.FillDisk(20 << 20); err != nil {
		t.Fatal(err)
	}
	if res := install(); res.Code == 0 {
		t.Errorf("40 MB were installed into 20 MB: %s", res.Stdout)
	} else if said := res.Stdout + res.Stderr; !strings.Contains(said, "space") {
		t.Errorf("apt did not say that there is no space: %s", said)
	}
	if err := m.FreeDisk(); err != nil {
		t.Fatal(err)
	}
	if res := install(); res.Code != 0 {
		t.Errorf("after freeing: %s%s", res.Stdout, res.Stderr)
	}
}
