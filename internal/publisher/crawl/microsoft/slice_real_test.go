//go:build !race

package microsoft

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/inventory"
)

// sliceEnv names the shard that the process at hand assesses instead of
// running tests.
const sliceEnv = "FETTLE_TEST_SLICE"

// TestRealSlice measures the slice of one release with ten years of patches:
// its size, and the memory of a process that does nothing but assess a machine
// with it, as an agent does. docs/microsoft.md has the figures.
func TestRealSlice(t *testing.T) {
	if path := os.Getenv(sliceEnv); path != "" {
		assessSlice(t, path)
		return
	}
	out, _ := realBuild(t)
	const platform = "windows-10-1607-amd64"
	s := shardOf(t, out, platform)
	var first, last string
	for p, err := range s.Patches() {
		if err != nil {
			t.Fatal(err)
		}
		if y := p.Released.Format("2006-01"); first == "" || y < first {
			first = y
		}
		last = max(last, p.Released.Format("2006-01"))
	}
	path := filepath.Join(t.TempDir(), "slice")
	c := contentsOf(t, out, platform)
	var plain bytes.Buffer
	if err := catalog.Encode(&plain, c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, plain.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(2<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	packed := len(z.EncodeAll(plain.Bytes(), nil))
	idle, busy := inProcess(t, "none"), inProcess(t, path)
	t.Logf("%s: %d patches of %s to %s; %d kB, packed %d kB; assessing takes %d KiB over the %d KiB of a process that does nothing",
		platform, s.Counts().Patches, first, last, plain.Len()/1000, packed/1000, busy-idle, idle)
	if first > "2017-03" || last < "2026-02" {
		t.Errorf("it reaches from %s to %s", first, last)
	}
	if plain.Len() > 3<<20 || packed > 200<<10 || busy-idle > 16<<10 {
		t.Errorf("%d bytes, packed %d, %d KiB", plain.Len(), packed, busy-idle)
	}
}

// inProcess is the peak memory, in KiB, of a process of its own.
func inProcess(t *testing.T, path string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRealSlice$", "-test.v")
	cmd.Env = append(os.Environ(), sliceEnv+"="+path, "GOGC=50")
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, said)
	}
	_, rest, ok := strings.Cut(string(said), "peak ")
	n, err := strconv.Atoi(strings.Fields(rest + " x")[0])
	if !ok || err != nil {
		t.Fatalf("%s", said)
	}
	return n
}

// assessSlice assesses a machine of the release that lacks three years.
func assessSlice(t *testing.T, path string) {
	t.Helper()
	if path != "none" {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		s, err := catalog.Open(f, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		snap := inventory.Snapshot{OS: inventory.OS{Family: "windows", ID: "windows-10", Version: "1607", Build: "10.0.14393.5717", Edition: "EnterpriseS", Arch: "amd64"}}
		findings, err := catalog.Assess([]*catalog.Shard{s}, &snap, nil)
		if err != nil || len(findings) == 0 {
			t.Fatal(findings, err)
		}
		if _, err := json.Marshal(findings); err != nil {
			t.Fatal(err)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc here")
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			fmt.Println("peak", strings.Fields(v)[0])
		}
	}
}
