package lab_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian/debtest"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

func hash(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// TestReadDeb reads what dpkg-deb builds, in each of its compressions.
func TestReadDeb(t *testing.T) {
	a := debtest.New(t, now)
	for i, compress := range []string{"none", "gzip", "xz", "zstd"} {
		d := debtest.Deb{Name: "tool", Version: "1." + string(rune('0'+i)), Arch: "amd64", Compress: compress}
		f, err := os.Open(a.Build(t, d))
		if err != nil {
			t.Fatal(err)
		}
		got, err := lab.ReadDeb(f)
		_ = f.Close()
		if err != nil || got != (lab.Control{Package: "tool", Version: d.Version, Architecture: "amd64"}) {
			t.Errorf("%s: %+v, %v", compress, got, err)
		}
	}
}

func TestReadDebRefusals(t *testing.T) {
	a := debtest.New(t, now)
	good, err := os.ReadFile(a.Build(t, debtest.Deb{Name: "tool", Version: "1", Arch: "amd64"}))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "head only": good[:8], "first member": good[:68], "half a control": good[:200],
		"no debian-binary": bytes.Replace(good, []byte("debian-binary   "), []byte("debian-binarx   "), 1),
		"data first":       bytes.Replace(good, []byte("control.tar.xz"), []byte("data.tar.xz   "), 1),
		"unknown packing":  bytes.Replace(good, []byte("control.tar.xz "), []byte("control.tar.lz "), 1),
		"wrong packing":    bytes.Replace(good, []byte("control.tar.xz "), []byte("control.tar.gz "), 1),
	} {
		if c, err := lab.ReadDeb(bytes.NewReader(bad)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func FuzzReadDeb(f *testing.F) {
	a := debtest.New(f, now)
	for i, compress := range []string{"none", "gzip", "xz", "zstd"} {
		data, err := os.ReadFile(a.Build(f, debtest.Deb{Name: "tool", Version: string(rune('1' + i)), Arch: "amd64", Compress: compress}))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := lab.ReadDeb(bytes.NewReader(data)); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("an error that is no refusal: %v", err)
		}
	})
}
