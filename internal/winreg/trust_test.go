package winreg

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

// TestTrustRow6HostileHive: a user's own hive of 700 kB, which names one large
// cell again and again, costs the machine a moment and not its afternoon.
func TestTrustRow6HostileHive(t *testing.T) {
	b := &builder{list: "lf"}
	const many, long = 60_000, 32_000
	vk := make([]byte, 20+long)
	copy(vk, "vk")
	u16(vk, 2, long)
	u16(vk, 16, valueShort)
	refs := make([]uint32, many)
	value := b.cell(vk)
	for i := range refs {
		refs[i] = value
	}
	list := b.refs(refs)
	nk := make([]byte, 76+4)
	copy(nk, "nk")
	copy(nk[76:], "root")
	u16(nk, 2, nameIsShort)
	u16(nk, 72, 4)
	u32(nk, 36, many)
	u32(nk, 40, list)
	head := make([]byte, baseBlock+32)
	copy(head, "regf")
	binary.LittleEndian.PutUint32(head[20:], 1)
	binary.LittleEndian.PutUint32(head[36:], b.cell(nk))
	data := append(head, b.cells...)
	file := &counted{r: bytes.NewReader(data)}
	h, err := OpenHive(file, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err = h.Root().Value("absent"); !fault.Is(err, fault.Exhausted) {
			t.Errorf("got %v", err)
		}
	}
	if file.n > maxRead { // it was 120 times as much for a list of products
		t.Errorf("read %d bytes", file.n)
	}
}

// counted counts the bytes that are read.
type counted struct {
	r io.ReaderAt
	n int64
}

func (c *counted) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.r.ReadAt(p, at)
	c.n += int64(n)
	return n, err
}

// TestTrustRow6HostileLog: a user's own log of as many pages as fit costs a few
// bytes for each, not its size, and one that says it is larger is not read.
func TestTrustRow6HostileLog(t *testing.T) {
	v, _ := grown(t, 9)
	const pages = 20_000
	out := make([]byte, entryHead, 12<<20)
	for i := range pages {
		out = binary.LittleEndian.AppendUint32(out, uint32(i*sector))
		out = binary.LittleEndian.AppendUint32(out, sector)
	}
	out = append(out, make([]byte, pages*sector+(sector-len(out)%sector)%sector)...)
	copy(out, "HvLE")
	u32(out, 4, uint32(len(out)))
	u32(out, 12, 5)
	u32(out, 16, 32<<20)
	u32(out, 20, pages)
	log := file(join(logHead(v[0], logOfBlue, 5, 50), hashEntry(out)))
	hive := dirtied(v[0], 6, 5, 50)
	h := &Hive{r: bytes.NewReader(hive), size: int64(len(hive))}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, whole := h.recover(hive[:sector], []Log{log}); !whole || len(h.pages) != pages {
		t.Fatal("the log is not applied")
	}
	runtime.ReadMemStats(&after)
	if cost := after.TotalAlloc - before.TotalAlloc; cost > 3<<20 {
		t.Errorf("%d pages of %d bytes cost %d bytes", pages, log.Size(), cost)
	}
	h = &Hive{r: bytes.NewReader(hive), size: int64(len(hive))}
	if _, whole := h.recover(hive[:sector], []Log{large{log}}); whole || h.pages != nil {
		t.Error("a log beyond all bounds is applied")
	}
}
