//go:build !race

// What the race detector makes slow and finds nothing in.

package cabinet

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestOthersAgree: cabextract, libarchive and gcab read the same out of what
// the tests make, so that the maker does not only suit this reader.
func TestOthersAgree(t *testing.T) {
	for name, m := range cabinets() {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.cab")
		if err := os.WriteFile(path, m.bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		tools := [][]string{{"cabextract", "-q", "-d", "OUT", path}, {"bsdtar", "-x", "-C", "OUT", "-f", path}}
		if !strings.HasPrefix(name, "lzx") && name != "folders" { // gcab does not know LZX
			tools = append(tools, []string{"gcab", "-x", "-C", "OUT", path})
		}
		switch name { // they differ in whether checksums take reserved bytes in; this reader takes both
		case "reserved":
			tools = slices.Delete(tools, 1, 2)
		case "reserved and summed":
			tools = tools[1:2]
		}
		for i, argv := range tools {
			out := filepath.Join(dir, fmt.Sprint(i))
			if err := os.Mkdir(out, 0o755); err != nil {
				t.Fatal(err)
			}
			for k := range argv {
				if argv[k] == "OUT" {
					argv[k] = out
				}
			}
			if said, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v %s", name, argv[0], err, said)
				continue
			}
			for _, f := range m.folders {
				for _, x := range f.files {
					b, err := os.ReadFile(filepath.Join(out, filepath.FromSlash(strings.ReplaceAll(x.name, `\`, "/"))))
					if err != nil || !bytes.Equal(b, x.data) {
						t.Errorf("%s: %s reads something else in %s (%v)", name, argv[0], x.name, err)
					}
				}
			}
		}
	}
}

// TestMemory: a cabinet of 200 MB is read in a few megabytes.
func TestMemory(t *testing.T) {
	block := text(1, frame)
	m := made{folders: []madeFolder{{method: methodMSZIP, files: []madeFile{{"a", bytes.Repeat(block, 400)}}}}}
	raw := m.bytes()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	for range 16 {
		c, err := NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, struct{ io.Reader }{c})
		if err != nil || n != 400*frame {
			t.Fatal(n, err)
		}
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
	}
	if grown := int64(peak) - int64(before.HeapInuse); grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}
