//go:build unix

package aptget

import "golang.org/x/sys/unix"

// freeBytes is what a program of any user may still write on the disk; false when the system does not tell.
func freeBytes(dir string) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:gosec,unconvert // widths differ by system
}
