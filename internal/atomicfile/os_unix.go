//go:build unix

package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

func rename(from, to string) error { return os.Rename(from, to) }

// SyncDir flushes a folder's entries to the disk, so that a rename in it survives a power cut. On Windows it does
// nothing: NTFS journals renames and folders can't be flushed.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems (FUSE, some network ones) can't flush a folder and say so with EINVAL or ENOTSUP.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// RemoveTree removes a folder and all that is in it, or a file; one that does not exist is no error. Links are removed,
// not followed.
func RemoveTree(path string) error { return os.RemoveAll(path) }
