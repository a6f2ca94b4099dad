// Package atomicfile writes files so that a crash, a power cut or a full disk leaves either the old file or the new
// one, never a part of one.
//
// The bytes go to a temporary file in the same folder, which is flushed to the disk, renamed over the old file, and the
// folder is flushed too. A symbolic link at the path is replaced, not followed. Temporary files that a crash left
// behind start with a dot and end in ".tmp"; RemoveStale clears them.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

const suffix = ".tmp"

// Write puts data at path with exactly the permissions perm (the umask does not apply). Errors: fault.Exhausted when the
// disk or quota is full, fault.Unavailable otherwise. After an error the old file stands as it was.
func Write(path string, data []byte, perm fs.FileMode) error {
	w, err := Create(path, perm)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit()
}

// Writer collects a file's bytes until Commit makes them visible. It is not safe for concurrent use.
type Writer struct {
	file *os.File
	path string
	done bool
}

// Create starts a file that Commit will put at path with the permissions perm. The folder must exist.
func Create(path string, perm fs.FileMode) (*Writer, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"+suffix)
	if err != nil {
		return nil, wrap(err, path)
	}
	w := &Writer{file: f, path: path}
	if err := f.Chmod(perm); err != nil {
		w.Abort()
		return nil, wrap(err, path)
	}
	return w, nil
}

// Write adds bytes to the file that is not visible yet.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	if err != nil {
		return n, wrap(err, w.path)
	}
	return n, nil
}

// Commit flushes the file to the disk and makes it visible at its path. After an error nothing has changed there. It
// must be called at most once.
func (w *Writer) Commit() error {
	if w.done {
		return fault.New(fault.Internal, "atomicfile: %s is committed or aborted already", w.path)
	}
	if err := w.file.Sync(); err != nil {
		w.Abort()
		return wrap(err, w.path)
	}
	w.done = true
	if err := w.file.Close(); err != nil {
		w.remove()
		return wrap(err, w.path)
	}
	if err := rename(w.file.Name(), w.path); err != nil {
		w.remove()
		return wrap(err, w.path)
	}
	if err := SyncDir(filepath.Dir(w.path)); err != nil {
		return wrap(err, w.path)
	}
	return nil
}

// Abort throws the bytes away. After Commit it does nothing, so that it can be deferred.
func (w *Writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	_ = w.file.Close() // nothing of the file is wanted
	w.remove()
}

func (w *Writer) remove() {
	_ = os.Remove(w.file.Name()) // RemoveStale finds it again if this fails
}

// RemoveStale deletes the temporary files in dir that were last written before the given time: what crashes left.
func RemoveStale(dir string, before time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return wrap(err, dir)
	}
	var failed []error
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue // gone meanwhile, or of a writer at work
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, wrap(err, dir))
		}
	}
	return errors.Join(failed...)
}

// IsFull reports whether err means that the disk or the user's quota is used up.
func IsFull(err error) bool { return isFull(err) }

func wrap(err error, path string) error {
	if isFull(err) {
		return fault.Wrap(err, fault.Exhausted, "atomicfile: no space left to write %s", path).WithHint("free space on that disk; the old file is unharmed")
	}
	return fault.Wrap(err, fault.Unavailable, "atomicfile: can't write %s", path)
}
