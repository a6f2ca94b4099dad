package crawl

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
)

// FileVersion tells the states of a file apart, by size and time.
func FileVersion(info fs.FileInfo) string {
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
}

// Unpack reads a file that is packed with zstd when its name says so. The
// window that a frame may ask for is bounded to 128 MiB.
func Unpack(name string, r io.Reader) (io.ReadCloser, error) {
	if !strings.HasSuffix(name, ".zst") {
		return io.NopCloser(r), nil
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "crawl: it is not packed with zstd")
	}
	return z.IOReadCloser(), nil
}

// Keep writes what a source folded its documents to into the source's folder, by the hash of what is
// written.
func Keep(dir string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "crawl: a folded document can't be encoded")
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "crawl: no zstd writer")
	}
	packed := z.EncodeAll(plain, nil)
	sum := sha256.Sum256(packed)
	name := hex.EncodeToString(sum[:])
	return name, atomicfile.Write(BlobPath(dir, name), packed, 0o644)
}

// maxFolded bounds a folded document in bytes, unpacked.
const maxFolded = 256 << 20

// Load reads what Keep wrote.
func Load(dir, name string, into any) error {
	packed, err := os.ReadFile(BlobPath(dir, name))
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "crawl: a folded document is gone")
	}
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFolded))
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "crawl: a folded document is damaged")
	}
	defer z.Close()
	if err := json.NewDecoder(z).Decode(into); err != nil {
		return fault.Wrap(err, fault.Invalid, "crawl: a folded document is damaged")
	}
	return nil
}

// TextVersion tells the states of a text apart.
func TextVersion(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
