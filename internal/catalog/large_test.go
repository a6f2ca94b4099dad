//go:build !race

// Tests of sizes: the race detector makes them slow and finds nothing in them.

package catalog

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// TestDayOfChanges holds a day's delta against the whole shard, both as they
// travel.
func TestDayOfChanges(t *testing.T) {
	c := debianSized()
	older, whole := encode(t, c)
	newer, want := encode(t, nextDay(c))
	var delta, got bytes.Buffer
	if err := MakeDelta(&delta, older, newer); err != nil {
		t.Fatal(err)
	}
	size := delta.Len()
	got.Grow(len(want))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := ApplyDelta(&got, older, &delta); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatal("the delta did not make the new shard")
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		t.Fatal(err)
	}
	full := len(z.EncodeAll(want, nil))
	t.Logf("shard %d bytes, as zstd %d, delta %d: 1/%d; applying allocated %d MB in all", len(whole), full, size, full/size,
		(after.TotalAlloc-before.TotalAlloc)>>20)
	if size*100 > full {
		t.Errorf("the delta of a day has %d bytes, more than 1/100 of %d", size, full)
	}
}

func TestDeltaRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b, delta, got bytes.Buffer
		if err := Encode(&a, genContents(t)); err != nil {
			t.Fatal(err)
		}
		if err := Encode(&b, genContents(t)); err != nil {
			t.Fatal(err)
		}
		older, err := Open(bytes.NewReader(a.Bytes()), int64(a.Len()))
		if err != nil {
			t.Fatal(err)
		}
		newer, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if err := MakeDelta(&delta, older, newer); err != nil {
			t.Fatal(err)
		}
		if err := ApplyDelta(&got, older, &delta); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), b.Bytes()) {
			t.Fatal("the delta made another shard")
		}
	})
}

func TestEncodeRefusesARecordBeyondTheCap(t *testing.T) {
	c := Contents{Header: testHeader(), Advisories: []patch.Advisory{{ID: "DSA-1", Description: string(make([]byte, MaxRecord))}}}
	if err := Encode(io.Discard, c); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v, want Invalid", err)
	}
}
