package crawl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
)

// TestTrustRow2NoLocalFiles: what a source of the network says lies at file://
// is not read.
func TestTrustRow2NoLocalFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, err := fetch.New(fetch.Config{UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Get(t.Context(), fetch.Request{URL: "file://" + file}); err != nil {
		t.Fatal(err) // else the rest proves nothing
	}
	c := Remote(plain)
	for _, address := range []string{"file://" + file, "FILE://" + file, "file://localhost" + file, file, "gopher://x", "", ":"} {
		if _, err := c.Get(t.Context(), fetch.Request{URL: address}); !fault.Is(err, fault.Untrusted) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
		to := filepath.Join(t.TempDir(), "got")
		if err := c.Download(t.Context(), fetch.Request{URL: address}, to, strings.Repeat("0", 64), -1); !fault.Is(err, fault.Untrusted) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
