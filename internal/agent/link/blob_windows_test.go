package link

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

// TestRefusedPayloadLeavesNothing: Windows removes no file that is open, and
// what was refused must not be taken for the beginning of the next download.
func TestRefusedPayloadLeavesNothing(t *testing.T) {
	s, cfg := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("other bytes")) }) // the client may be gone
	store, err := OpenStore(filepath.Join(tempDir(t), "payloads"))
	if err != nil {
		t.Fatal(err)
	}
	sum := strings.Repeat("0", 64)
	for range 2 {
		if _, err := store.Fetch(t.Context(), dial(t, s, cfg), sum, int64(len("other bytes")), nil); !fault.Is(err, fault.Untrusted) {
			t.Errorf("got %v", err)
		}
		if left, err := os.ReadDir(store.dir); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}
