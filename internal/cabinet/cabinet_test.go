package cabinet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
)

// contents reads a whole cabinet, name to bytes.
func contents(r io.Reader) (map[string][]byte, error) {
	c, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for {
		f, err := c.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(c)
		if err != nil {
			return nil, err
		}
		if int64(len(b)) != f.Size {
			return nil, fmt.Errorf("%s has %d bytes, not %d", f.Name, len(b), f.Size)
		}
		out[f.Name] = b
	}
}

// text is n bytes with repetitions near and far, and call instructions.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	for len(b) < n {
		switch k := r.IntN(8); {
		case k == 0:
			b = append(b, 0xE8, byte(r.Uint32()), byte(r.IntN(4)), 0, 0)
		case k == 1:
			b = append(b, 0xE8, byte(r.Uint32()), byte(r.Uint32()), 0xFF, 0xFF)
		case k < 6 && len(b) > 100:
			from := r.IntN(len(b) - 50)
			if r.IntN(2) == 0 {
				from = max(0, len(b)-60)
			}
			b = append(b, b[from:min(len(b), from+2+r.IntN(300))]...)
		default:
			for range r.IntN(30) {
				b = append(b, byte(r.Uint32()))
			}
		}
	}
	return b[:n]
}

func lzxFolder(window uint, kinds []uint32, size int, calls int32, files ...madeFile) madeFolder {
	return madeFolder{
		method: uint16(window)<<8 | methodLZX, files: files,
		maker: &lzxMaker{window: window, kinds: kinds, size: size, calls: calls},
	}
}

// cabinets are of every kind that is read.
func cabinets() map[string]made {
	out := map[string]made{
		"stored":              {folders: []madeFolder{{files: []madeFile{{"a.txt", text(1, 70_000)}, {`dir\b.bin`, text(2, 11)}, {"empty", nil}}}}},
		"mszip":               {folders: []madeFolder{{method: methodMSZIP, files: []madeFile{{"a", text(3, 200_001)}, {"b", text(4, 32768)}}}}},
		"reserved":            {reserve: 20, folders: []madeFolder{{method: methodMSZIP, files: []madeFile{{"a", text(3, 40_001)}}}}},
		"reserved and summed": {reserve: 20, summed: true, folders: []madeFolder{{method: methodMSZIP, files: []madeFile{{"a", text(3, 40_001)}}}}},
		"folders": {folders: []madeFolder{
			{files: []madeFile{{"s", text(5, 100)}}},
			{method: methodMSZIP, files: []madeFile{{"z", text(6, 40_000)}}},
			lzxFolder(16, []uint32{blockAligned}, 50_000, 0, madeFile{"x", text(7, 90_000)}),
		}},
	}
	for window := uint(15); window <= 21; window++ {
		for name, kinds := range map[string][]uint32{
			"verbatim": {blockVerbatim}, "aligned": {blockAligned}, "raw": {blockStored}, "all": {blockVerbatim, blockStored, blockAligned, blockStored},
		} {
			for _, calls := range []int32{0, 150_000} {
				out[fmt.Sprintf("lzx %d %s %d", window, name, calls)] = made{folders: []madeFolder{lzxFolder(window, kinds, 27_001, calls,
					madeFile{"a", text(uint64(window), 100_000)}, madeFile{"b", text(8, 50_001)})}}
			}
		}
	}
	out["lzx far"] = made{folders: []madeFolder{lzxFolder(21, []uint32{blockVerbatim, blockAligned}, 1<<19, 0, madeFile{"a", append(append(text(9, 1_500_000), make([]byte, 99)...), text(9, 500_000)...)})}}
	out["lzx small"] = made{folders: []madeFolder{lzxFolder(15, []uint32{blockAligned}, 9, 0, madeFile{"a", []byte("a")}, madeFile{"b", []byte("bcdefghbcdefgh")})}}
	return out
}

func TestRead(t *testing.T) {
	for name, m := range cabinets() {
		got, err := contents(iotestOneByte{bytes.NewReader(m.bytes())})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, f := range m.folders {
			for _, x := range f.files {
				if !bytes.Equal(got[strings.ReplaceAll(x.name, `\`, "/")], x.data) {
					t.Errorf("%s: %s is not what was packed", name, x.name)
				}
			}
		}
	}
}

// iotestOneByte gives odd amounts at a time.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(len(b), 777)]) }

// TestOfGcab reads what gcab packs.
func TestOfGcab(t *testing.T) {
	dir := t.TempDir()
	want := map[string][]byte{"one.txt": text(1, 300_000), "two.bin": text(2, 5), "three": {}}
	var names []string
	for name, b := range want {
		names = append(names, name)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, method := range []string{"-z", "-n"} {
		argv := []string{"-c", "x.cab"}
		if method == "-z" {
			argv = []string{"-c", "-z", "x.cab"}
		}
		cmd := exec.Command("gcab", append(argv, names...)...)
		cmd.Dir = dir
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gcab: %v %s", err, said)
		}
		f, err := os.Open(filepath.Join(dir, "x.cab"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := contents(f)
		_ = f.Close() // only read from
		for name, b := range want {
			if !bytes.Equal(got[name], b) {
				t.Errorf("%s: %s differs (%v)", method, name, err)
			}
		}
	}
}

// TestRealCabinets reads the real ones as libarchive does, cabinets in cabinets
// too, without a copy on disk.
func TestRealCabinets(t *testing.T) {
	paths, err := filepath.Glob("../../../shared/feeds/microsoft/wsusscn2/*.cab")
	if err != nil || len(paths) == 0 {
		t.Skip("the vendors' real feeds are not here")
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := compare(t, filepath.Base(path), raw); n < 10 {
			t.Errorf("%s: only %d files", path, n)
		}
	}
}

func compare(t *testing.T, name string, raw []byte) int {
	t.Helper()
	got, err := contents(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	n := 0
	for file, b := range got {
		cmd := exec.Command("bsdtar", "-xOf", "-", file)
		cmd.Stdin = bytes.NewReader(raw)
		want, err := cmd.Output()
		if err != nil || !bytes.Equal(want, b) {
			t.Errorf("%s: %s: libarchive reads %d bytes, this %d (%v)", name, file, len(want), len(b), err)
		}
		n++
		if strings.HasSuffix(file, ".cab") {
			n += compare(t, name+"/"+file, b)
		}
	}
	return n
}

// TestNested reads a cabinet in a cabinet, the inner one from the outer one's
// stream.
func TestNested(t *testing.T) {
	inner := cabinets()["lzx 17 all 0"]
	outer := made{folders: []madeFolder{lzxFolder(18, []uint32{blockVerbatim}, 99_999, 0, madeFile{"in.cab", inner.bytes()})}}
	c, err := NewReader(bytes.NewReader(outer.bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if f, err := c.Next(); err != nil || f.Name != "in.cab" || !f.Modified.Equal(time.Date(2026, 11, 22, 13, 37, 8, 0, time.UTC)) {
		t.Fatalf("%+v, %v", f, err)
	}
	got, err := contents(c)
	if err != nil || !bytes.Equal(got["b"], inner.folders[0].files[1].data) {
		t.Error(err)
	}
}

// TestSkip: files that are not read are passed over.
func TestSkip(t *testing.T) {
	m := cabinets()["folders"]
	c, err := NewReader(bytes.NewReader(m.bytes()))
	if err != nil || len(c.Files()) != 3 {
		t.Fatal(err)
	}
	for {
		f, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Name != "x" {
			continue
		}
		b, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(b, m.folders[2].files[0].data) {
			t.Error(err)
		}
		break
	}
	if _, err := c.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestRefuses(t *testing.T) {
	good := made{folders: []madeFolder{{method: methodMSZIP, files: []madeFile{{"a", text(3, 40_000)}}}}}
	b := good.bytes()
	with := func(change func([]byte)) []byte {
		c := bytes.Clone(b)
		change(c)
		return c
	}
	const folderAt = headerSize
	for name, c := range map[string]struct {
		raw  []byte
		code fault.Code
		say  string
	}{
		"nothing":         {nil, fault.Invalid, "cut off"},
		"another file":    {bytes.Repeat([]byte("<html>"), 20), fault.Invalid, "no cabinet"},
		"cut":             {b[:len(b)-9], fault.Invalid, "cut off"},
		"flipped bit":     {with(func(c []byte) { c[len(c)-99] ^= 4 }), fault.Invalid, "checksum"},
		"set, previous":   {made{flags: flagPrev, folders: good.folders}.bytes(), fault.Unsupported, "set of cabinets"},
		"set, next":       {made{flags: flagNext, folders: good.folders}.bytes(), fault.Unsupported, "set of cabinets"},
		"version":         {with(func(c []byte) { c[25] = 2 }), fault.Unsupported, "version"},
		"quantum":         {with(func(c []byte) { c[folderAt+6] = methodQuantum }), fault.Unsupported, "Quantum"},
		"unknown method":  {with(func(c []byte) { c[folderAt+6] = 9 }), fault.Unsupported, "method 9"},
		"window":          {with(func(c []byte) { c[folderAt+6], c[folderAt+7] = methodLZX, 25 }), fault.Invalid, "window"},
		"folder's number": {with(func(c []byte) { c[folderAt+folderSize+8] = 7 }), fault.Invalid, "folder 7"},
		"shared":          {with(func(c []byte) { c[folderAt+folderSize+8], c[folderAt+folderSize+9] = 0xFE, 0xFF }), fault.Unsupported, "set"},
		"too long":        {with(func(c []byte) { c[folderAt+folderSize+2] = 9 }), fault.Invalid, "longer than its folder"},
		"overlap":         {overlapping(), fault.Unsupported, "share their bytes"},
		"backwards":       {with(func(c []byte) { c[folderAt] = 1; c[folderAt+1] = 0 }), fault.Unsupported, "do not follow"},
		"another packing": {with(func(c []byte) { c[folderAt+6], c[folderAt+7] = methodLZX, 15 }), fault.Invalid, "LZX"},
		"not stored":      {with(func(c []byte) { c[folderAt+6] = methodStored }), fault.Invalid, "stored block"},
	} {
		_, err := contents(bytes.NewReader(c.raw))
		if !fault.Is(err, c.code) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := io.MultiReader(bytes.NewReader(b[:100]), errReader{})
	if _, err := contents(broken); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a reader that fails: %v", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("gone") }

// overlapping has two files at the same bytes of a folder.
func overlapping() []byte {
	m := made{folders: []madeFolder{{files: []madeFile{{"a", []byte("xx")}, {"b", []byte("yy")}}}}}.bytes()
	at := headerSize + folderSize + fileSize + 2
	m[at+4] = 1 // b begins in the middle of a
	return m
}

// TestRoundTrip packs anything with LZX and reads it back.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := text(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 50_000).Draw(t, "length"))
		window := rapid.UintRange(15, 21).Draw(t, "window")
		kinds := rapid.SliceOfN(rapid.Uint32Range(blockVerbatim, blockStored), 1, 5).Draw(t, "kinds")
		calls := rapid.SampledFrom([]int32{0, 1, 12_000_000, 40_000}).Draw(t, "calls")
		m := made{folders: []madeFolder{lzxFolder(window, kinds, rapid.IntRange(2_000, 90_000).Draw(t, "block"), calls, madeFile{"a", data})}}
		got, err := contents(bytes.NewReader(m.bytes()))
		if err != nil || !bytes.Equal(got["a"], data) {
			t.Fatalf("it does not come back: %v", err)
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add(made{folders: []madeFolder{{files: []madeFile{{"a.txt", text(1, 70)}, {`dir\b.bin`, text(2, 11)}, {"empty", nil}}}}}.bytes())
	f.Add(made{reserve: 3, folders: []madeFolder{{method: methodMSZIP, files: []madeFile{{"a", text(3, 999)}}}}}.bytes())
	f.Add(made{folders: []madeFolder{lzxFolder(15, []uint32{blockVerbatim, blockStored, blockAligned}, 301, 999, madeFile{"a", text(4, 900)})}}.bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := NewReader(bytes.NewReader(raw))
		if err != nil {
			return
		}
		for {
			x, err := c.Next()
			if err != nil {
				return
			}
			n, err := io.Copy(io.Discard, io.LimitReader(struct{ io.Reader }{c}, 1<<18))
			if err == nil && n < min(x.Size, 1<<18) {
				t.Fatalf("%s has %d bytes, not %d", x.Name, n, x.Size)
			}
		}
	})
}

// FuzzLZX leaves the checksums and tables out of the way.
func FuzzLZX(f *testing.F) {
	m := &lzxMaker{window: 15, kinds: []uint32{blockAligned, blockVerbatim, blockStored}, size: 500}
	for _, b := range m.pack(text(1, 3000)) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > maxPacked {
			return
		}
		h := []byte{0, 0, 0, 0, byte(len(raw)), byte(len(raw) >> 8), 0, 0x80}
		b := &blocks{in: &input{r: bytes.NewReader(append(h, raw...))}, left: 1}
		if out, err := newLZX(15).next(b); err == nil && len(out) != frame {
			t.Fatalf("%d bytes", len(out))
		}
	})
}

func BenchmarkLZX(b *testing.B) {
	m := made{folders: []madeFolder{lzxFolder(21, []uint32{blockVerbatim}, 1<<20, 0, madeFile{"a", text(9, 4_000_000)})}}
	raw := m.bytes()
	b.SetBytes(4_000_000)
	for b.Loop() {
		if _, err := contents(bytes.NewReader(raw)); err != nil {
			b.Fatal(err)
		}
	}
}
