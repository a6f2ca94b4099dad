// Package probe answers detection rules on the live machine: files, checksums
// and the operating system from the machine itself, packages from a scan that
// was just made.
package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
)

// maxChecksum bounds the files that are hashed, in bytes: a rule must not keep
// a machine busy with a disk image.
const maxChecksum = 1 << 30

// Facts implements detect.Facts. It only reads; what it can't learn is unknown
// with the reason.
type Facts struct {
	ctx  context.Context //nolint:containedctx // detect.Facts has no context, and hashing must stop with the scan
	root string
	snap *inventory.Snapshot
}

var _ detect.Facts = (*Facts)(nil)

// New returns facts of the machine whose files lie below root ("/" for this
// one) and whose packages are in the snapshot. Hashing ends with ctx.
func New(ctx context.Context, root string, s *inventory.Snapshot) *Facts {
	return &Facts{ctx: ctx, root: root, snap: s}
}

// File implements detect.Facts. Linux files carry no version.
func (f *Facts) File(path string) (detect.FileFact, error) {
	full, err := f.locate(path)
	if err != nil {
		return detect.FileFact{}, err
	}
	_, err = os.Stat(full)
	switch {
	case err == nil:
		return detect.FileFact{Exists: true}, nil
	case absent(err):
		return detect.FileFact{}, nil
	}
	return detect.FileFact{}, detect.Unknown("the file can't be looked at: " + reason(err))
}

// Checksum implements detect.Facts for regular files of at most 1 GiB.
func (f *Facts) Checksum(path string) (sum string, exists bool, err error) {
	full, err := f.locate(path)
	if err != nil {
		return "", false, err
	}
	info, err := os.Stat(full)
	switch {
	case absent(err):
		return "", false, nil
	case err != nil:
		return "", false, detect.Unknown("the file can't be looked at: " + reason(err))
	case !info.Mode().IsRegular():
		return "", true, detect.Unknown("it is no regular file")
	case info.Size() > maxChecksum:
		return "", true, detect.Unknown("the file is larger than 1 GiB")
	}
	sum, err = f.hash(full)
	return sum, true, err
}

func (f *Facts) hash(full string) (string, error) {
	file, err := os.OpenFile(full, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return "", detect.Unknown("the file can't be read: " + reason(err))
	}
	defer func() { _ = file.Close() }() // read only
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", detect.Unknown("it is no regular file")
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(&stopping{f.ctx, file}, maxChecksum+1))
	switch {
	case err != nil:
		return "", detect.Unknown("the file can't be read: " + reason(err))
	case n > maxChecksum:
		return "", detect.Unknown("the file is larger than 1 GiB")
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Registry implements detect.Facts: the registry is Windows'.
func (f *Facts) Registry(string, string, string) (detect.RegistryFact, error) {
	return detect.RegistryFact{}, detect.Unknown("this machine has no registry")
}

// Packages implements detect.Facts from the scan.
func (f *Facts) Packages(kind, name string) ([]detect.PackageFact, error) {
	return f.snap.Facts().Packages(kind, name)
}

// OS implements detect.Facts from the scan.
func (f *Facts) OS() (detect.OSFact, error) { return f.snap.Facts().OS() }

// locate turns a rule's path into one on this machine. Rules for Windows name
// drives, variables and known folders, which mean nothing here.
func (f *Facts) locate(path string) (string, error) {
	if runtime.GOOS == "windows" {
		return "", detect.Unknown("file tests are not built for Windows yet")
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
		return "", detect.Unknown("the path is not one of this kind of machine")
	}
	return filepath.Join(f.root, filepath.Clean(path)), nil
}

// absent also counts a path through a file (ENOTDIR): there is nothing there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) }

func reason(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// stopping ends a read with its context.
type stopping struct {
	ctx context.Context //nolint:containedctx // lives as long as one copy
	r   io.Reader
}

func (s *stopping) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
