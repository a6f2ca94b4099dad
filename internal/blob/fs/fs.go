// Package fs keeps payloads in a folder, one file each: blobs/ab/abcdef... . A file there is whole and has the hash that
// its name says; what is still coming lies in incoming/ and partial/, what the disk has damaged in damaged/. All paths go through os.Root, so that neither a
// key nor a link can lead outside.
package fs

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
)

// Store is a folder of payloads. It is safe for concurrent use, also by several processes, except that partial payloads
// belong to one process.
type Store struct {
	dir  string
	root *os.Root

	mu      sync.Mutex
	open    map[blob.Key]bool // partial payloads that are being written
	coming  int64             // bytes that they still need
	reserve int64             // bytes that stay free; 0 for the default
}

// Open opens or makes the folder. What a crash left half-written by Put more than a day ago is removed.
func Open(dir string) (*Store, error) {
	for _, d := range []string{"blobs", "incoming", "partial", "damaged"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "blob: can't make the folder for payloads %s", dir)
		}
	}
	if err := atomicfile.RemoveStale(filepath.Join(dir, "incoming"), time.Now().AddDate(0, 0, -1)); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "blob: can't open the folder for payloads %s", dir)
	}
	return &Store{dir: dir, root: root, open: map[blob.Key]bool{}}, nil
}

// Close releases the folder. Payloads that are open stay readable.
func (s *Store) Close() error { return s.root.Close() }

func place(k blob.Key) string { return path.Join("blobs", string(k[:2]), string(k)) }

// Put stores what r gives under its key. The payload becomes visible only when it is whole and its hash and size are
// right (size -1: not known). When the store has it already, r is not read. Errors: fault.Untrusted when it is another
// payload, fault.Exhausted when the disk has no room beyond its reserve, fault.Cancelled; after each nothing is left behind.
func (s *Store) Put(ctx context.Context, key blob.Key, size int64, r io.Reader) error {
	if has, err := s.Has(key); err != nil || has {
		return err
	}
	if err := s.Room(max(size, 0)); err != nil {
		return err
	}
	name := path.Join("incoming", "."+string(key)+"."+rand.Text()+".tmp")
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return wrap(err, key)
	}
	d := authentic.NewDigest(string(key), size)
	_, err = io.Copy(io.MultiWriter(d, f), reader{ctx, r})
	if err == nil {
		err = d.Check()
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = s.publish(name, key)
	}
	if err != nil {
		_ = s.root.Remove(name) // Open removes it when this fails
		return wrap(err, key)
	}
	return nil
}

// publish makes a whole file visible. When somebody was faster, theirs is replaced by the same bytes.
func (s *Store) publish(name string, key blob.Key) error {
	shard := path.Dir(place(key))
	if err := s.root.Mkdir(shard, 0o750); err != nil && !errors.Is(err, iofs.ErrExist) {
		return err
	}
	if err := s.root.Rename(name, place(key)); err != nil {
		return err
	}
	return errors.Join(atomicfile.SyncDir(filepath.Join(s.dir, shard)), atomicfile.SyncDir(filepath.Join(s.dir, "blobs")))
}

// Get opens a payload and returns its size. The caller closes it. Errors: fault.NotFound.
func (s *Store) Get(key blob.Key) (io.ReadSeekCloser, int64, error) {
	if err := key.Check(); err != nil {
		return nil, 0, err
	}
	f, err := s.root.Open(place(key))
	if err != nil {
		return nil, 0, wrap(err, key)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // only opened for reading
		return nil, 0, wrap(err, key)
	}
	return f, info.Size(), nil
}

// Has reports whether the store has a payload.
func (s *Store) Has(key blob.Key) (bool, error) {
	if err := key.Check(); err != nil {
		return false, err
	}
	_, err := s.root.Stat(place(key))
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, wrap(err, key)
	}
	return true, nil
}

// Delete removes a payload and what has come of it. That there is none is no error. Readers that have it open read on
// (on Windows they make it fail with fault.Unavailable).
func (s *Store) Delete(key blob.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	for _, name := range []string{place(key), partialName(key)} {
		if err := s.root.Remove(name); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return wrap(err, key)
		}
	}
	return nil
}

// List yields all payloads, sorted by key. The first error ends it.
func (s *Store) List() iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		err := iofs.WalkDir(s.root.FS(), "blobs", func(_ string, d iofs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			key := blob.Key(d.Name())
			if d.IsDir() || !isKey(key) {
				return nil
			}
			info, err := d.Info()
			if errors.Is(err, iofs.ErrNotExist) {
				return nil // deleted meanwhile
			}
			if err == nil && !yield(blob.Info{Key: key, Size: info.Size(), Used: info.ModTime()}, nil) {
				return iofs.SkipAll
			}
			return err
		})
		if err != nil {
			yield(blob.Info{}, fault.Wrap(err, fault.Unavailable, "blob: can't list the payloads in %s", s.dir))
		}
	}
}

// wrap turns an error of the disk into a fault about a payload; faults pass.
func wrap(err error, key blob.Key) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return err
	case atomicfile.IsFull(err):
		return fault.Wrap(err, fault.Exhausted, "blob: no space left for payload %s", short(key)).WithHint("free space on the disk that holds the payloads; nothing half-written is left")
	case errors.Is(err, iofs.ErrNotExist):
		return fault.Wrap(err, fault.NotFound, "blob: there is no payload %s", short(key))
	}
	return fault.Wrap(err, fault.Unavailable, "blob: payload %s", short(key))
}

func short(key blob.Key) string { return strings.ToValidUTF8(string(key[:min(len(key), 12)]), "?") }

// reader stops when its context does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, fault.Wrap(context.Cause(r.ctx), fault.Cancelled, "blob: stopped")
	}
	return r.r.Read(p)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// isKey tells blobs from whatever else lies in the folder.
func isKey(k blob.Key) bool { return k.Check() == nil }
