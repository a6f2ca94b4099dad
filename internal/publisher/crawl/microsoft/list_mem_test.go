//go:build !race

package microsoft

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// TestRealListMemory folds the real supersedence list, 553,306 lines, and looks
// at the heap as it goes: what stays are the distinct edges.
func TestRealListMemory(t *testing.T) {
	in := plainFile(t, feedtest.Open(t, feedtest.Path(t, "kb-supersedence/wesng-cve-kb-product-supersedes.to-2025-12.csv.zst")))
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	peak, read := uint64(0), 0
	var l List
	err := l.ParseList(readFunc(func(b []byte) (int, error) {
		n, err := in.Read(b)
		if read += n; read%(4<<20) < n {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapInuse)
		}
		return n, err
	}))
	grown := int64(peak) - int64(before.HeapInuse)
	t.Logf("%d lines, %d MB: heap in use grew by at most %d KiB", l.Lines, read/1e6, grown>>10)
	if err != nil || l.Lines != 553306 {
		t.Error(l.Lines, err)
	}
	if grown > 64<<20 {
		t.Errorf("heap in use grew by %d MiB", grown>>20)
	}
}

// plainFile unpacks to a file: the list is packed with a window of 128 MiB, which
// is not what is measured.
func plainFile(t *testing.T, r io.Reader) io.Reader {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "list"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // only read from
	if _, err := io.Copy(f, r); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

var _ io.Reader = readFunc(nil)
