package atomicfile

import (
	"errors"
	"os"
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
