package fs

import (
	"errors"
	iofs "io/fs"
	"path"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
)

// A payload's modification date says when it was last of use: that costs no
// table, and a copy or a restored backup keeps it. It is set anew at most once
// a day.
const useAgain = 24 * time.Hour

// Use reports whether the store has a payload and, when it has, notes that it
// is of use at the moment now: DeleteUnused lets it be then.
func (s *Store) Use(key blob.Key, now time.Time) (bool, error) {
	if err := key.Check(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := s.root.Stat(place(key))
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, wrap(err, key)
	case now.Sub(info.ModTime()) < useAgain:
		return true, nil
	}
	if err := s.root.Chtimes(place(key), now, now); err != nil {
		return true, wrap(err, key)
	}
	return true, nil
}

// DeleteUnused removes a payload that was last of use before the moment and
// reports whether it did. What Use has just noted stays.
func (s *Store) DeleteUnused(key blob.Key, before time.Time) (bool, error) {
	if err := key.Check(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := s.root.Stat(place(key))
	if errors.Is(err, iofs.ErrNotExist) || err == nil && !info.ModTime().Before(before) {
		return false, nil
	}
	if err == nil {
		err = s.root.Remove(place(key))
	}
	if err != nil {
		return false, wrap(err, key)
	}
	return true, nil
}

// DeletePartials removes what has come of payloads that nobody has gone on
// with since the moment and returns how many bytes that were.
func (s *Store) DeletePartials(before time.Time) (n int, bytes int64, err error) {
	entries, err := iofs.ReadDir(s.root.FS(), "partial")
	if err != nil {
		return 0, 0, wrap(err, "partial")
	}
	for _, e := range entries {
		size, err := s.deletePartial(blob.Key(e.Name()), before)
		if err != nil {
			return n, bytes, err
		}
		if size >= 0 {
			n, bytes = n+1, bytes+size
		}
	}
	return n, bytes, nil
}

// deletePartial returns the size of what it removed, -1 for nothing.
func (s *Store) deletePartial(key blob.Key, before time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[key] {
		return -1, nil
	}
	name := path.Join("partial", path.Base(string(key)))
	info, err := s.root.Lstat(name)
	if err != nil || info.IsDir() || !info.ModTime().Before(before) {
		return -1, nil // gone meanwhile, or young
	}
	if err := s.root.Remove(name); err != nil {
		return -1, wrap(err, key)
	}
	return info.Size(), nil
}
