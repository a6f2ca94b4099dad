//go:build unix

package atomicfile

import "golang.org/x/sys/unix"

// Space returns how many bytes a program of any user may still write on the
// disk that holds dir, and how many bytes the disk has in all.
func Space(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	block := int64(st.Bsize)                                       //nolint:unconvert // its width differs by system
	return int64(st.Bavail) * block, int64(st.Blocks) * block, nil //nolint:gosec // no disk has 2^63 bytes
}
