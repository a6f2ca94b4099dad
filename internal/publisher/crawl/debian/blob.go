package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// counted hashes and counts what is written through it.
type counted struct {
	hash hash.Hash
	n    int64
}

func newCounted() *counted { return &counted{hash: sha256.New()} }

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.hash.Write(p)
}

func (c *counted) sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// storeRaw keeps bytes as they are.
func storeRaw(dir string, data []byte) (catalog.Blob, error) {
	sum := sha256.Sum256(data)
	b := catalog.Blob{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data))}
	if _, err := os.Stat(crawl.BlobPath(dir, b.SHA256)); err == nil {
		return b, nil
	}
	return b, atomicfile.Write(crawl.BlobPath(dir, b.SHA256), data, 0o644)
}

// storeIndex reads an unpacked index, checks it against what the signed
// Release file says and keeps it packed with zstd. Nothing is kept of an index
// that differs: fault.Untrusted. Reading stops one byte behind the size that
// is signed, so that a bomb does no harm.
func storeIndex(ctx context.Context, dir string, src io.Reader, want ReleaseFile, name string) (catalog.Blob, error) {
	tmp := crawl.BlobPath(dir, ".incoming-"+want.SHA256)
	w, err := atomicfile.Create(tmp, 0o644)
	if err != nil {
		return catalog.Blob{}, err
	}
	defer w.Abort()
	packed, plain := newCounted(), newCounted()
	// One thread and a fixed level: the same index gives the same blob.
	z, err := zstd.NewWriter(io.MultiWriter(w, packed), zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return catalog.Blob{}, fault.Wrap(err, fault.Internal, "debian: no zstd writer")
	}
	if _, err := io.Copy(io.MultiWriter(z, plain), stoppable{ctx, io.LimitReader(src, want.Size+1)}); err != nil {
		return catalog.Blob{}, fault.Wrap(err, codeOf(err), "debian: index %s can't be read", name)
	}
	if plain.sum() != want.SHA256 || plain.n != want.Size {
		return catalog.Blob{}, fault.New(fault.Untrusted, "debian: index %s is refused: it has %d bytes and SHA-256 %s, InRelease signs %d bytes and %s",
			name, plain.n, plain.sum(), want.Size, want.SHA256).
			WithHint("The mirror is in the middle of an update, or somebody changes what it serves. The previous indexes stay in use.")
	}
	if err := z.Close(); err != nil {
		return catalog.Blob{}, fault.Wrap(err, codeOf(err), "debian: index %s can't be packed", name)
	}
	if err := w.Commit(); err != nil {
		return catalog.Blob{}, err
	}
	b := catalog.Blob{SHA256: packed.sum(), Size: packed.n, Encoding: "zstd"}
	if err := os.Rename(tmp, crawl.BlobPath(dir, b.SHA256)); err != nil {
		return catalog.Blob{}, fault.Wrap(err, fault.Unavailable, "debian: index %s can't be put in place", filepath.Base(name))
	}
	return b, nil
}

// eachPackage reads all indexes of a snapshot from its blobs.
func eachPackage(ctx context.Context, dir string, s snapshot, yield func(catalog.Index, Package), reject func(crawl.Rejection)) error {
	for _, ix := range s.Archive.Indexes {
		err := readIndex(dir, ix, func(r io.Reader) error {
			return ParsePackages(stoppable{ctx, r}, func(p Package) { yield(ix, p) }, func(x crawl.Rejection) {
				x.What = s.Archive.Path + " " + ix.Name + " " + x.What
				reject(x)
			})
		})
		if err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "debian: %s %s", s.Archive.Path, ix.Name)
		}
	}
	return nil
}

func readIndex(dir string, ix catalog.Index, read func(io.Reader) error) error {
	f, err := os.Open(crawl.BlobPath(dir, ix.Blob.SHA256))
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "debian: the stored index is gone")
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return fault.Wrap(err, fault.Internal, "debian: no zstd reader")
	}
	defer z.Close()
	return read(z)
}

// stoppable ends reading when its context ends.
type stoppable struct {
	ctx context.Context
	src io.Reader
}

func (s stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, fault.Wrap(err, fault.Cancelled, "debian: stopped")
	}
	return s.src.Read(p)
}

// codeOf is the code of a fault, and Unavailable for other errors of reading.
func codeOf(err error) fault.Code {
	if c := fault.CodeOf(err); c != fault.Internal {
		return c
	}
	return fault.Unavailable
}

// looksLikeHTML tells a web page (a captive portal, an error page) from data.
func looksLikeHTML(head []byte) bool {
	head = bytes.ToLower(bytes.TrimLeft(head, "\ufeff \t\r\n"))
	return bytes.HasPrefix(head, []byte("<!doctype")) || bytes.HasPrefix(head, []byte("<html")) || bytes.HasPrefix(head, []byte("<?xml"))
}
