// Package feedtest finds the vendors' real documents for tests. They lie beside
// the repository and are not part of it.
package feedtest

import (
	"archive/tar"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Path is where a document of Microsoft's lies. It skips the test on machines
// without them.
func Path(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("the repository's root is not found")
		}
		dir = up
	}
	path := filepath.Join(filepath.Dir(dir), "shared", "feeds", "microsoft", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skip("the vendors' real feeds are not here:", path)
	}
	return path
}

// Open opens a file, unpacking zstd. It is closed at the end of the test.
func Open(t testing.TB, path string) io.Reader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // only read from
	if !strings.HasSuffix(path, ".zst") {
		return f
	}
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	return z
}

// Packages are the System Center packages of HP's real catalog, in its order: the
// name of each file, and its XML, which is read before the next is asked for. It
// skips the test on machines without them.
func Packages(t testing.TB) iter.Seq2[string, io.Reader] {
	t.Helper()
	in := tar.NewReader(Open(t, Path(t, "wsus-sdp/hp/HpCatalogForSms.V2.sdp.tar.zst")))
	return func(yield func(string, io.Reader) bool) {
		for {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(h.Name, ".sdp") && !yield(filepath.Base(h.Name), in) {
				return
			}
		}
	}
}
