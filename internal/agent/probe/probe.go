// Package probe answers detection rules on the live machine: files, their
// versions and checksums, the registry and WMI from the machine itself,
// packages and the operating system from a scan that was just made.
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
	"time"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/pefile"
	"github.com/fettlehq/fettle/internal/winreg"
)

// Bounds of the files that are hashed, in bytes: of one, and of all of a scan
// together. Rules must not keep a machine busy with disk images.
const (
	maxChecksum  = 1 << 30
	maxChecksums = 4 << 30
)

// Facts implements detect.Facts and, on Windows, detect.Querier. It only
// reads; what it can't learn is unknown with the reason. What is asked twice
// is looked at once, so facts are of one moment and for one goroutine.
type Facts struct {
	ctx      context.Context //nolint:containedctx // detect.Facts has no context, and hashing must stop with the scan
	root     string
	snap     *inventory.Snapshot
	stored   detect.Facts // of the snapshot
	registry winreg.Registry
	files    map[string]detect.FileFact // by full path
	sums     map[string]string          // of files, by full path
	hashed   int64                      // bytes
	asked    map[question]answer
	classes  map[string]objects // of WMI, by name in lower case
	spent    time.Duration      // waiting for WMI
}

var _ detect.Querier = (*Facts)(nil)

// New returns facts of the machine whose files lie below root ("/" for this
// one) and whose packages are in the snapshot. Hashing ends with ctx.
func New(ctx context.Context, root string, s *inventory.Snapshot) *Facts {
	return &Facts{
		ctx: ctx, root: root, snap: s, stored: s.Facts(), registry: winreg.Live(),
		files: map[string]detect.FileFact{}, sums: map[string]string{}, asked: map[question]answer{}, classes: map[string]objects{},
	}
}

func (f *Facts) isWindows() bool { return f.snap.OS.Family == "windows" }

// ended makes what is asked after the end of the scan's time unknown.
func (f *Facts) ended() error {
	if f.ctx.Err() != nil {
		return detect.Unknown("the look at the machine was broken off, or took too long")
	}
	return nil
}

// File implements detect.Facts. Programs for Windows carry a version, other
// files do not.
func (f *Facts) File(path string) (detect.FileFact, error) {
	if err := f.ended(); err != nil {
		return detect.FileFact{}, err
	}
	full, err := f.locate(path)
	if err != nil {
		return detect.FileFact{}, err
	}
	if fact, known := f.files[full]; known {
		return fact, nil
	}
	info, err := os.Stat(full)
	fact := detect.FileFact{Exists: err == nil}
	switch {
	case err == nil && f.isWindows() && info.Mode().IsRegular():
		fact.Version = version(full)
	case err != nil && !absent(err):
		return detect.FileFact{}, detect.Unknown("the file can't be looked at: " + reason(err))
	}
	f.files[full] = fact
	return fact, nil
}

// version is the version of a program for Windows, the numbers of its
// VS_FIXEDFILEINFO; "" for a file that has none or can't be read.
func version(full string) string {
	file, err := os.Open(full)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	pe, err := pefile.Read(file, info.Size())
	if err != nil || pe.Version == nil || !pe.Version.Fixed {
		return ""
	}
	return pe.Version.FileVersion.String()
}

// Checksum implements detect.Facts for regular files of at most 1 GiB, until 4
// GiB have been hashed.
func (f *Facts) Checksum(path string) (sum string, exists bool, err error) {
	if err := f.ended(); err != nil {
		return "", false, err
	}
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
	if sum, known := f.sums[full]; known {
		return sum, true, nil
	}
	if f.hashed += info.Size(); f.hashed > maxChecksums {
		return "", true, detect.Unknown("the files whose checksums are asked for are larger than 4 GiB")
	}
	if sum, err = f.hash(full); err == nil {
		f.sums[full] = sum
	}
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

// Packages implements detect.Facts from the scan; of the packages that Windows
// is made of, which the scan does not list, from the registry.
func (f *Facts) Packages(kind, name string) ([]detect.PackageFact, error) {
	if kind == "cbs" && f.isWindows() {
		return f.components(name)
	}
	return f.stored.Packages(kind, name)
}

// OS implements detect.Facts from the scan.
func (f *Facts) OS() (detect.OSFact, error) { return f.stored.OS() }

// locate turns a rule's path into one on this machine. Rules for Windows name
// drives, variables and known folders, which mean nothing here.
func (f *Facts) locate(path string) (string, error) {
	if f.isWindows() {
		drive, below, err := f.windowsPath(path)
		if err != nil {
			return "", err
		}
		if runtime.GOOS == "windows" && f.root == "/" {
			return onDrive(drive, below)
		}
		return filepath.Join(f.root, below), nil
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
