package fs

import (
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
)

func asideName(k blob.Key) string { return path.Join("damaged", string(k)) }

// Check reads a payload whole and reports whether its bytes still have its hash. One whose bytes do not, or that the disk
// can't read any more, is set aside at the moment now: nobody gets it from the store again, and there is room for a good one.
// pace, which may be nil, is asked before n more bytes are read. Errors: fault.NotFound, fault.Cancelled, and
// fault.Unavailable when it can't be told or set aside.
func (s *Store) Check(ctx context.Context, key blob.Key, now time.Time, pace func(ctx context.Context, n int) error) (good bool, err error) {
	f, _, err := s.Get(key)
	if err != nil {
		return false, err
	}
	file, ok := f.(*os.File)
	if !ok {
		return false, errors.Join(fault.New(fault.Internal, "blob: a payload is no file"), f.Close())
	}
	info, err := file.Stat()
	d := authentic.NewDigest(string(key), -1)
	if err == nil {
		_, err = io.Copy(d, paced{reader{ctx, file}, ctx, pace})
	}
	_ = file.Close() // only read; and Windows renames no open file
	switch {
	case errors.Is(err, syscall.EIO):
		return false, s.setAside(key, info, now)
	case err != nil:
		return false, wrap(err, key)
	case d.Check() != nil:
		return false, s.setAside(key, info, now)
	}
	return true, nil
}

// setAside moves the file that was looked at; one that has taken its place meanwhile stays.
func (s *Store) setAside(key blob.Key, looked iofs.FileInfo, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := s.root.Stat(place(key))
	if errors.Is(err, iofs.ErrNotExist) || err == nil && !os.SameFile(info, looked) {
		return nil
	}
	if err == nil {
		err = s.root.Rename(place(key), asideName(key))
	}
	if err == nil {
		err = s.root.Chtimes(asideName(key), now, now)
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "blob: the damaged payload %s can't be set aside", short(key))
	}
	return nil
}

// Aside returns the payloads that were set aside, by key; Used is when, Size what was left of them.
func (s *Store) Aside() ([]blob.Info, error) {
	entries, err := iofs.ReadDir(s.root.FS(), "damaged")
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "blob: can't list the damaged payloads in %s", s.dir)
	}
	var all []blob.Info
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && isKey(blob.Key(e.Name())) {
			all = append(all, blob.Info{Key: blob.Key(e.Name()), Size: info.Size(), Used: info.ModTime()})
		}
	}
	return all, nil
}

// DropAside removes what was set aside before the moment.
func (s *Store) DropAside(before time.Time) error {
	all, err := s.Aside()
	for _, x := range all {
		if x.Used.Before(before) {
			if errGone := s.root.Remove(asideName(x.Key)); errGone != nil && !errors.Is(errGone, iofs.ErrNotExist) {
				err = errors.Join(err, wrap(errGone, x.Key))
			}
		}
	}
	return err
}

// paced asks before it reads.
type paced struct {
	r    io.Reader
	ctx  context.Context
	pace func(ctx context.Context, n int) error
}

func (p paced) Read(b []byte) (int, error) {
	if p.pace != nil {
		if err := p.pace(p.ctx, len(b)); err != nil {
			return 0, fault.Wrap(err, fault.Cancelled, "blob: stopped")
		}
	}
	return p.r.Read(b)
}
