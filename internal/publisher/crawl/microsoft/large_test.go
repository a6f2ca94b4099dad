//go:build !race

// What the race detector makes slow and finds nothing in.

package microsoft

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc/msrctest"
)

// TestAPIMemory: a document of 31 MB that comes from the API is folded without
// being held.
func TestAPIMemory(t *testing.T) {
	doc := msrctest.February()
	doc.Vulnerabilities = doc.Vulnerabilities[2:] // of Azure Linux: counted, not kept
	text := doc.XML()
	at, end := strings.Index(text, "<vuln:Vulnerability>"), strings.Index(text, "</cvrf:cvrfdoc>")
	const copies = 20_000
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if filepath.Base(r.URL.Path) == "updates" {
			fmt.Fprint(w, `{"value":[{"ID":"2031-Feb","CurrentReleaseDate":"2031-02-20T08:00:00"}]}`)
			return
		}
		fmt.Fprint(w, text[:at])
		for range copies {
			if _, err := io.WriteString(w, text[at:end]); err != nil {
				return
			}
		}
		fmt.Fprint(w, text[end:])
	}))
	defer srv.Close()
	s, dir := feedtest.Source(t, New, Config{MSRC: srv.URL})
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	stop, peak := make(chan struct{}), make(chan uint64)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		most := uint64(0)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapInuse)
			select {
			case <-stop:
				peak <- most
				return
			case <-tick.C:
			}
		}
	}()
	got, err := s.Fetch(t.Context(), dir, nil)
	close(stop)
	grown := int64(<-peak) - int64(before.HeapInuse)
	if err != nil || len(got.Notes) > 0 {
		t.Fatal(got.Notes, err)
	}
	size := len(text[at:end]) * copies
	t.Logf("%d MB fetched and folded, heap in use grew by at most %d KiB", size/1e6, grown>>10)
	if grown > 24<<20 { // other tests of the package keep much, and what is freed late counts
		t.Errorf("heap in use grew by %d MiB", grown>>20)
	}
}
