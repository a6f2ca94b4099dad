package inventory

import (
	"strings"
	"syscall"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

// TestGigabyteIsRefusedUnread: a body of 1 GB is refused by its length alone.
// It lies where nothing may be read, not even once for the hash.
func TestGigabyteIsRefusedUnread(t *testing.T) {
	body, err := syscall.Mmap(-1, 0, 1<<30, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Munmap(body); err != nil {
			t.Error(err)
		}
	}()
	huge := Section{Name: SectionPackages, Body: body, Hash: strings.Repeat("0", 64)}
	if _, err := Join([]Section{huge}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "1073741824 bytes") {
		t.Errorf("got %v", err)
	}
}
