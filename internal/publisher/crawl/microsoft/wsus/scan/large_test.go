//go:build !race

// What the race detector makes slow and finds nothing in.

package scan

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMemory folds a file of 6,000 updates, and looks at the heap as it goes.
func TestMemory(t *testing.T) {
	const n = 6_000
	f := tree{}
	var index strings.Builder
	index.WriteString("<OfflineSyncPackage><Updates>")
	for i := range n {
		fmt.Fprintf(&index, `<Update CreationDate="2031-01-01T00:00:00Z" UpdateId="33333333-0000-0000-0000-%012d" RevisionNumber="1" RevisionId="%d" IsLeaf="true"/>`, i, i)
		f[fmt.Sprintf("package2/c/%d", i)] = `<Properties UpdateType="Software"/><ApplicabilityRules><IsInstalled><b.FileVersion Csidl="37" Path="a.dll" Comparison="GreaterThanOrEqualTo" Version="1.2"/></IsInstalled></ApplicabilityRules>` + strings.Repeat(" ", 2000)
		f[fmt.Sprintf("package2/l/en/%d", i)] = fmt.Sprintf("<LocalizedProperties><Title>Update for Windows 7 (KB%d)</Title></LocalizedProperties>", 1_000_000+i)
	}
	f["package/package.xml"] = index.String() + "</Updates></OfflineSyncPackage>"
	raw, err := os.Open(f.pack(t))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	var once sync.Mutex
	read := 0
	got, err := Parse(readerFunc(func(b []byte) (int, error) {
		n, err := raw.Read(b)
		once.Lock()
		defer once.Unlock()
		if read += n; read > 64<<10 {
			read = 0
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapInuse)
		}
		return n, err
	}), time.Time{})
	if err != nil || len(got.Updates) != n {
		t.Fatal(len(got.Updates), err)
	}
	grown := int64(peak) - int64(before.HeapInuse)
	t.Logf("%d updates: the heap grew by at most %d KiB, %d bytes each", n, grown>>10, grown/n)
	if grown > n*3000 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}
