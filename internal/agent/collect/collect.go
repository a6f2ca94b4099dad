// Package collect builds the inventory of this machine. Each niche below it
// fills one part of inventory.Snapshot from files and, on Windows, the registry
// of a Tree, so that tests use fixture trees and nothing is executed;
// collect/all lists the niches.
package collect

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

// Collector fills its part of a snapshot. A fault of an Essential collector
// makes the whole snapshot worthless; others leave their part empty.
type Collector struct {
	Name      string
	Essential bool
	Collect   func(ctx context.Context, t *Tree, s *inventory.Snapshot) error
}

// MaxFile bounds how much of one file is read, in bytes, unless the caller
// says less. dpkg's status file of a large desktop has 10 MB.
const MaxFile = 256 << 20

// Tree is the machine that is looked at: its file system, "/" or a fixture, and
// the registry of a Windows machine. Names are relative with forward slashes,
// such as "etc/os-release"; on Windows they begin below the system's drive. It
// must be closed.
type Tree struct {
	dir  string
	root *os.Root
	live bool
	reg  winreg.Registry
}

// Open opens the tree below dir; "/" is the running machine on any system. A
// folder that can't be opened gives fault.Unavailable.
func Open(dir string) (*Tree, error) {
	live := filepath.ToSlash(filepath.Clean(dir)) == "/"
	if drive := os.Getenv("SystemDrive"); live && runtime.GOOS == "windows" && drive != "" {
		dir = drive + `\`
	}
	return open(dir, live, winreg.Live())
}

// Image opens a Windows machine that does not run: its system drive's files
// stand below dir.
func Image(dir string, registry winreg.Registry) (*Tree, error) {
	return open(dir, false, registry)
}

func open(dir string, live bool, registry winreg.Registry) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(err, fault.NotFound, "collect: can't open the folder %s", dir)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "collect: can't open the folder %s", dir)
	}
	return &Tree{dir: dir, root: root, live: live, reg: registry}, nil
}

// Close closes the tree.
func (t *Tree) Close() error { return t.root.Close() }

// Live reports whether this is the running machine and not a fixture or an
// image: facts that no file holds (addresses) exist only there.
func (t *Tree) Live() bool { return t.live }

// Registry is the machine's registry; on one that has none each key gives
// fault.Unsupported.
func (t *Tree) Registry() winreg.Registry { return t.reg }

// Path returns the full path of a name, for files that the kernel owns.
func (t *Tree) Path(name string) string { return filepath.Join(t.dir, filepath.FromSlash(name)) }

// Open opens a file for reading. Symbolic links do not lead out of a fixture;
// on the live machine absolute links, which os.Root refuses, are followed.
// The error is fault.NotFound when there is no such file.
func (t *Tree) Open(name string) (*os.File, error) {
	f, err := t.root.Open(filepath.FromSlash(name))
	if err != nil && t.Live() && !errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(t.Path(name))
	}
	if err != nil {
		return nil, wrap(err, name)
	}
	return f, nil
}

// OpenWithin opens a file below a folder that Windows names by its full path,
// such as `C:\Users\ann`, on whatever drive. Links do not lead out of the
// folder, which may belong to a user. Errors are those of Open.
func (t *Tree) OpenWithin(folder, name string) (*os.File, error) {
	if !t.live {
		_, below, _ := strings.Cut(folder, `:\`)
		return t.Open(strings.ReplaceAll(below, `\`, "/") + "/" + name)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, wrap(err, folder)
	}
	defer func() { _ = root.Close() }() // the file is open by itself
	f, err := root.Open(name)
	if err != nil {
		return nil, wrap(err, folder+`\`+name)
	}
	return f, nil
}

// ReadFile returns at most limit bytes of a file (0 means MaxFile). A longer
// file gives fault.Exhausted, so that nobody decides on half of it.
func (t *Tree) ReadFile(name string, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = MaxFile
	}
	data, err := t.Head(name, limit+1)
	if err == nil && int64(len(data)) > limit {
		return nil, fault.New(fault.Exhausted, "collect: /%s has more than %d bytes", name, limit)
	}
	return data, err
}

// Head returns the first limit bytes of a file, or all when it is shorter.
func (t *Tree) Head(name string, limit int64) ([]byte, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, wrap(err, name)
	}
	return data, nil
}

// Line returns the first line of a small file without blanks around it, or
// "" when it can't be read: for attributes that a machine may lack.
func (t *Tree) Line(name string) string {
	data, err := t.Head(name, 4096)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}

// Names returns the sorted names in a folder, none when it does not exist.
func (t *Tree) Names(dir string) ([]string, error) {
	f, err := t.Open(dir)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, wrap(err, dir)
	}
	slices.Sort(names)
	return names, nil
}

// Exists reports whether there is anything at the name.
func (t *Tree) Exists(name string) bool {
	_, err := t.root.Lstat(filepath.FromSlash(name))
	return err == nil
}

func wrap(err error, name string) error {
	code := fault.Unavailable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = fault.NotFound
	case errors.Is(err, fs.ErrPermission):
		code = fault.Denied
	}
	return fault.Wrap(err, code, "collect: can't read /%s", name)
}

// Partial is the error of a collector that has filled its part but for what
// the problems name: an essential one may give it too.
type Partial struct{ Problems []error }

// Incomplete returns the problems that are not nil as a Partial, nil when
// there is none.
func Incomplete(problems ...error) error {
	problems = slices.DeleteFunc(problems, func(err error) bool { return err == nil })
	if len(problems) == 0 {
		return nil
	}
	return &Partial{problems}
}

// Error implements error.
func (p *Partial) Error() string { return errors.Join(p.Problems...).Error() }

// Unwrap gives the single problems.
func (p *Partial) Unwrap() []error { return p.Problems }
