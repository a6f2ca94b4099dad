//go:build !race

package sdp

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// TestRealSlice measures what HP's whole catalog costs an agent: the size of
// the slice, and the heap that an assessment takes beside it.
func TestRealSlice(t *testing.T) {
	root, err := os.OpenRoot(realCatalog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	all, err := ParseFolder(root)
	if err != nil {
		t.Fatal(err)
	}
	out := output(all, "hp", "")
	c := catalog.Contents{Header: catalog.Header{Format: catalog.Format, Platform: "windows-apps-amd64"}}
	for _, p := range out.Patches {
		if p.Platform == "windows-apps-amd64" {
			for i := range p.Items { // as the lab leaves what is not proven
				p.Items[i].Payload = patch.Payload{}
			}
			c.Patches = append(c.Patches, p)
		}
	}
	c.Advisories = out.Advisories
	if c, err = catalog.Merge(c); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "slice")
	var b bytes.Buffer
	if err := catalog.Encode(&b, c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	size := b.Len()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := catalog.Open(f, int64(size))
	if err != nil {
		t.Fatal(err)
	}
	snap := inventory.Snapshot{OS: inventory.OS{Family: "windows", ID: "windows-10", Version: "1809", Build: "10.0.17763.1", Edition: "Professional", Arch: "amd64"}}
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	findings, err := catalog.Assess([]*catalog.Shard{s}, &snap, nil)
	runtime.ReadMemStats(&after)
	if err != nil || len(findings) == 0 {
		t.Fatal(len(findings), err)
	}
	grown := int64(after.HeapInuse) - int64(before.HeapInuse)
	t.Logf("%d patches, %d kB; %d findings, the heap grew by %d KiB", s.Counts().Patches, size/1000, len(findings), grown>>10)
	if size > 32<<20 || grown > 32<<20 {
		t.Errorf("%d bytes, %d MiB", size, grown>>20)
	}
}
