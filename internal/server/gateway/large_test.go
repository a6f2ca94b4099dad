//go:build !race

// Tests of sizes: the race detector makes them slow and finds nothing in them.

package gateway_test

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wire"
)

// Row 6: an agent that sends another large inventory again and again fills
// neither the disk nor anybody else's budget.
func TestTrustRow6EndlessInventories(t *testing.T) {
	w := newWorld(t)
	a, honest := w.enrol("acme"), w.enrol("acme")
	kept, refused := 0, 0
	for i := range 12 {
		s := snapshot(3, fmt.Sprint(i))
		s.Packages[0].Source = strings.Repeat(fmt.Sprintf("%07d", i), 10<<20/7)
		all, _ := split(t, s)
		code, no := a.send("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: inventory.Root(all), Sections: all})), nil)
		switch code {
		case http.StatusNoContent:
			kept++
		case http.StatusServiceUnavailable:
			refused++
		default:
			t.Fatalf("inventory %d: %d %+v", i, code, no)
		}
	}
	if kept == 0 || kept > 9 || refused == 0 {
		t.Errorf("%d inventories of 10 MB are kept, %d refused", kept, refused)
	}
	all, _ := split(t, snapshot(3, "x"))
	honest.mustSend("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: inventory.Root(all), Sections: all})), nil)
}

// Row 6: a small message that expands to a gigabyte costs its bound.
func TestTrustRow6InventoryBomb(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	var bomb bytes.Buffer
	enc, err := zstd.NewWriter(&bomb)
	if err != nil {
		t.Fatal(err)
	}
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range 1024 {
		if _, err := enc.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	code, no := a.send("PUT", wire.PathSection, bomb.Bytes(), nil)
	runtime.ReadMemStats(&after)
	if code != 413 {
		t.Errorf("%d %+v", code, no)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 400<<20 {
		t.Errorf("refusing %d bytes that expand to 1 GiB allocated %d MiB", bomb.Len(), grown>>20)
	}
	// One section beyond its own bound, in a message within the whole one's.
	body := append(append([]byte(`"`), bytes.Repeat([]byte("x"), inventory.MaxSection)...), '"')
	big := wire.Sections{Root: strings.Repeat("0", 64), Sections: []inventory.Section{{Name: inventory.SectionOS, Hash: inventory.HashBody(body), Body: body}}}
	if code, no := a.send("PUT", wire.PathSection, pack(t, encode(t, big)), nil); code != 400 {
		t.Errorf("a section that is too large: %d %+v", code, no)
	}
	if code, _ := a.send("PUT", wire.PathSection, []byte("not zstd"), nil); code != 400 {
		t.Errorf("not zstd: %d", code)
	}
}
