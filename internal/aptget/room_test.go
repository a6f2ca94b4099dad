package aptget

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

// A disk without space is said to be one; apt itself would wait for ever.
func TestUpdateNeedsRoom(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=8M", "none", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	err := room(dir)
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(fault.Public(err), dir) || fault.HintOf(err) == "" {
		t.Errorf("8 MiB are enough: %v", err)
	}
	if err := room(t.TempDir()); err != nil {
		t.Errorf("on a disk with space: %v", err)
	}
}
