package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/blob/aside"
	"github.com/fettlehq/fettle/internal/fault"
)

func (s *Store) damaged() aside.Shelf { return aside.Shelf{Root: s.root, Dir: "damaged"} }

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
	looked, good, err := aside.Whole(ctx, file, key, pace)
	_ = file.Close() // only read; and Windows renames no open file
	switch {
	case err != nil:
		return false, wrap(err, key)
	case !good:
		return false, s.setAside(key, looked, now)
	}
	return true, nil
}

// setAside moves the file that was looked at; one that has taken its place meanwhile stays.
func (s *Store) setAside(key blob.Key, looked iofs.FileInfo, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.damaged().Put(place(key), key, looked, now); err != nil {
		return fault.Wrap(err, fault.Unavailable, "blob: the damaged payload %s can't be set aside", short(key))
	}
	return nil
}

// Aside returns the payloads that were set aside, by key; Used is when, Size what was left of them.
func (s *Store) Aside() ([]blob.Info, error) {
	all, err := s.damaged().List()
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "blob: can't list the damaged payloads in %s", s.dir)
	}
	return all, nil
}

// DropAside removes what was set aside before the moment.
func (s *Store) DropAside(before time.Time) error {
	if err := s.damaged().Drop(before); err != nil {
		return fault.Wrap(err, fault.Unavailable, "blob: old damaged payloads in %s can't be removed", s.dir)
	}
	return nil
}
