package winreg

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

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
	h, err := OpenHive(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 3 {
		if _, err = h.Root().Value("absent"); !fault.Is(err, fault.Exhausted) {
			t.Errorf("got %v", err)
		}
	}
	if took := time.Since(start); took > 20*time.Second { // it was an hour for a list of products
		t.Errorf("took %s", took)
	}
}
