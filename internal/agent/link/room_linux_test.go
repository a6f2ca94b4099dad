package link

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
)

// TestTrustRow6EndlessPayload: a server that sends a payload of unknown size
// without end does not fill the machine's disk: its journal lives there.
func TestTrustRow6EndlessPayload(t *testing.T) {
	dir := tempDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=72m"); err != nil {
		t.Fatalf("this test mounts a tmpfs and needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s, cfg := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for some := make([]byte, 1<<20); ; {
			if _, err := w.Write(some); err != nil {
				return
			}
		}
	})
	store, err := OpenStore(filepath.Join(dir, "p"))
	if err != nil {
		t.Fatal(err)
	}
	sum := strings.Repeat("0", 64)
	if _, err := store.Fetch(t.Context(), dial(t, s, cfg), sum, -1, nil); !fault.Is(err, fault.Exhausted) {
		t.Errorf("got %v", err)
	}
	if free, _, err := atomicfile.Space(dir); err != nil || free < reserve-1<<20 {
		t.Errorf("%d bytes are left free, %v", free, err)
	}
	if left, err := os.ReadDir(store.dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
