package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/windows"
)

// rename replaces to. Virus scanners and indexers open fresh files for a moment without sharing deletion, so these two
// errors are tried again for about two seconds.
func rename(from, to string) error {
	wait := time.Millisecond
	for {
		err := os.Rename(from, to)
		if err == nil || wait > time.Second || !errors.Is(err, windows.ERROR_ACCESS_DENIED) && !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
			return err
		}
		time.Sleep(wait)
		wait *= 2
	}
}

// SyncDir flushes a folder's entries to the disk, so that a rename in it survives a power cut. On Windows it does
// nothing: NTFS journals renames and folders can't be flushed.
func SyncDir(string) error { return nil }

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) || errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// RemoveTree removes a folder and all that is in it, or a file; one that does not exist is no error. os.RemoveAll asks
// for POSIX semantics, which Wine before version 9 and some network drives answer with "invalid function": there the
// entries are removed one by one. Links are removed, not followed.
func RemoveTree(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return err
	}
	var found []string
	err = filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		found = append(found, name)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(found) { // what is in a folder comes after it
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
