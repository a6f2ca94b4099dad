//go:build unix

package link

import "golang.org/x/sys/unix"

// freeBytes is what a program of any user may still write on the disk.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:gosec,unconvert // widths differ by system
}
