package microsoft

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
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

func version(info fs.FileInfo) string {
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
}

// unpack reads a file that is packed with zstd when its name says so. The
// window that a frame may ask for is bounded to 128 MiB.
func unpack(name string, r io.Reader) (io.ReadCloser, error) {
	if !strings.HasSuffix(name, ".zst") {
		return io.NopCloser(r), nil
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "microsoft: it is not packed with zstd")
	}
	return z.IOReadCloser(), nil
}

// keep writes a folded form into the source's folder, by the hash of what is
// written.
func keep(dir string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "microsoft: a folded document can't be encoded")
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "microsoft: no zstd writer")
	}
	packed := z.EncodeAll(plain, nil)
	sum := sha256.Sum256(packed)
	name := hex.EncodeToString(sum[:])
	return name, atomicfile.Write(crawl.BlobPath(dir, name), packed, 0o644)
}

// maxFolded bounds a folded document in bytes, unpacked.
const maxFolded = 256 << 20

// load reads what keep wrote.
func load(dir, name string, into any) error {
	packed, err := os.ReadFile(crawl.BlobPath(dir, name))
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "microsoft: a folded document is gone")
	}
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFolded))
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "microsoft: a folded document is damaged")
	}
	defer z.Close()
	if err := json.NewDecoder(z).Decode(into); err != nil {
		return fault.Wrap(err, fault.Invalid, "microsoft: a folded document is damaged")
	}
	return nil
}
