//go:build !race

package msrc

import (
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc/msrctest"
)

// endless is a document of n vulnerabilities that is made as it is read.
type endless struct {
	head, body, tail string
	n                int
	rest             *strings.Reader
}

func (e *endless) Read(b []byte) (int, error) {
	for {
		if e.rest != nil {
			if n, err := e.rest.Read(b); n > 0 || err == nil {
				return n, nil
			}
		}
		switch {
		case e.head != "":
			e.rest, e.head = strings.NewReader(e.head), ""
		case e.n > 0:
			e.rest = strings.NewReader(e.body)
			e.n--
		case e.tail != "":
			e.rest, e.tail = strings.NewReader(e.tail), ""
		default:
			return 0, io.EOF
		}
	}
}

// TestMemory: a document of some 60 MB is folded in a few megabytes, because
// one vulnerability is held at a time and those of Azure Linux not at all.
func TestMemory(t *testing.T) {
	f := msrctest.February()
	f.Vulnerabilities = f.Vulnerabilities[2:] // of Azure Linux
	text := f.XML()
	at, end := strings.Index(text, "<vuln:Vulnerability>"), strings.Index(text, "</cvrf:cvrfdoc>")
	e := &endless{head: text[:at], body: text[at:end], tail: text[end:], n: 50_000}
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	watched := &watch{r: e, look: func() {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
	}}
	m, err := ParseCVRF(watched)
	runtime.ReadMemStats(&after)
	if err != nil || m.Counts.Vulnerabilities != 50_000 || m.Counts.AzureLinux != 50_000 {
		t.Fatalf("%+v, %v", m.Counts, err)
	}
	grown := int64(peak) - int64(before.HeapInuse)
	t.Logf("%d MB read, heap in use grew by at most %d KiB", m.Counts.Bytes>>20, grown>>10)
	if grown > 16<<20 {
		t.Errorf("heap in use grew by %d MiB", grown>>20)
	}
}

// watch looks every few megabytes.
type watch struct {
	r    io.Reader
	n    int
	look func()
}

func (w *watch) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if w.n += n; w.n > 2<<20 {
		w.n = 0
		w.look()
	}
	return n, err
}
