// Package aside keeps payloads that the disk damaged: out of the way of whoever asks for them, so that a good one can
// come, and there for whoever wants to see what is left of them, until they are dropped.
package aside

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
)

// Shelf is the folder of a store in which damaged payloads lie by their keys. Its
// errors are those of the file system; the store says which payload it was about.
type Shelf struct {
	Root *os.Root // of the store
	Dir  string   // in it; made by Put when it is not there
}

// Whole reads a payload and says whether its bytes have its hash; bytes that the
// disk can't read any more don't. pace, which may be nil, is asked before n more
// bytes are read. It changes nothing. looked is the file that was read, for Put.
func Whole(ctx context.Context, f *os.File, key blob.Key, pace func(ctx context.Context, n int) error) (looked fs.FileInfo, whole bool, err error) {
	looked, err = f.Stat()
	if err != nil {
		return nil, false, err
	}
	d := authentic.NewDigest(string(key), -1)
	switch _, err = io.Copy(d, paced{f, ctx, pace}); {
	case errors.Is(err, syscall.EIO):
		return looked, false, nil
	case err != nil:
		return looked, false, err
	}
	return looked, d.Check() == nil, nil
}

// Put moves the file at a place of the store onto the shelf, as of the moment now.
// Another file than the one that was looked at stays where it is: a good one has
// come meanwhile.
func (s Shelf) Put(place string, key blob.Key, looked fs.FileInfo, now time.Time) error {
	info, err := s.Root.Lstat(place)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !os.SameFile(info, looked):
		return nil
	}
	if err := s.Root.MkdirAll(s.Dir, 0o750); err != nil {
		return err
	}
	if err := s.Root.Rename(place, s.name(key)); err != nil {
		return err
	}
	return errors.Join(s.Root.Chtimes(s.name(key), now, now), atomicfile.SyncDir(filepath.Join(s.Root.Name(), s.Dir)))
}

// List returns what lies on the shelf, by key; Used is when it was put there,
// Size what was left of it.
func (s Shelf) List() ([]blob.Info, error) {
	entries, err := fs.ReadDir(s.Root.FS(), s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []blob.Info
	for _, e := range entries {
		info, err := e.Info()
		if key := blob.Key(e.Name()); err == nil && info.Mode().IsRegular() && key.Check() == nil {
			all = append(all, blob.Info{Key: key, Size: info.Size(), Used: info.ModTime().UTC()})
		}
	}
	return all, nil
}

// Drop removes what was put there before the moment.
func (s Shelf) Drop(before time.Time) error {
	all, err := s.List()
	for _, x := range all {
		if x.Used.Before(before) {
			if gone := s.Root.Remove(s.name(x.Key)); !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}
	return err
}

func (s Shelf) name(key blob.Key) string { return path.Join(s.Dir, string(key)) }

// paced stops when its context does, and asks before it reads.
type paced struct {
	r    io.Reader
	ctx  context.Context
	pace func(ctx context.Context, n int) error
}

func (p paced) Read(b []byte) (int, error) {
	err := context.Cause(p.ctx)
	if err == nil && p.pace != nil {
		err = p.pace(p.ctx, len(b))
	}
	if err != nil {
		return 0, fault.Wrap(err, fault.Cancelled, "payload: stopped")
	}
	return p.r.Read(b)
}
