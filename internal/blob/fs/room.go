package fs

import (
	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
)

// The reserve that payloads leave free unless KeepFree says otherwise: a
// gibibyte, or one part in twenty of a disk on which that is less.
const (
	defaultReserve = 1 << 30
	reservePart    = 20
)

// Disk is the disk that holds the payloads, in bytes.
type Disk struct {
	// Free may still be written by this user; Reserve of it stays free;
	// Coming is what payloads that are being received still need.
	Free, Reserve, Coming int64
}

// KeepFree sets how many bytes stay free on the disk; 0 means the default,
// less than 0 that the disk may be filled.
func (s *Store) KeepFree(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserve = bytes
}

// Disk returns the state of the disk. Where the system does not tell, it
// returns false.
func (s *Store) Disk() (Disk, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk()
}

func (s *Store) disk() (Disk, bool) {
	free, total, err := atomicfile.Space(s.dir)
	if err != nil {
		return Disk{}, false
	}
	d := Disk{Free: free, Reserve: s.reserve, Coming: s.coming}
	if d.Reserve == 0 {
		d.Reserve = min(defaultReserve, total/reservePart)
	}
	return d, true
}

// Room refuses (fault.Exhausted) need more bytes that, beside what is being
// received already, would eat into the reserve: the database on the same disk
// lives on it.
func (s *Store) Room(need int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room(need)
}

func (s *Store) room(need int64) error {
	d, told := s.disk()
	if !told || s.reserve < 0 || d.Free-d.Coming-need >= d.Reserve {
		return nil // where the system does not tell, writing will
	}
	what := "more"
	if n := need + d.Coming; n > 0 {
		what = amount(n) + " of"
	}
	return fault.New(fault.Exhausted, "blob: no room for %s payloads: %s are free on the disk of %s, %s of it stay free for the database",
		what, amount(d.Free), s.dir, amount(d.Reserve)).
		WithHint("free space on that disk; what was asked for comes in by itself then")
}

// claim is Room for bytes that are about to come.
func (s *Store) claim(need int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(need); err != nil {
		return err
	}
	s.coming += need
	return nil
}

// amount writes bytes for people.
func amount(n int64) string {
	if n < 10<<20 {
		return itoa(n>>10) + " KiB"
	}
	return itoa(n>>20) + " MiB"
}

// expect notes n more bytes (fewer when negative) that a payload still needs.
func (s *Store) expect(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.coming += n
}

// Missing returns how many of size bytes of a payload are not here yet.
func (s *Store) Missing(key blob.Key, size int64) (int64, error) {
	has, err := s.Has(key)
	if err != nil || has {
		return 0, err
	}
	info, err := s.root.Stat(partialName(key))
	if err != nil {
		return max(size, 0), nil //nolint:nilerr // nothing has come yet
	}
	return max(size-info.Size(), 0), nil
}
