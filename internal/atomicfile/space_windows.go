package atomicfile

import "golang.org/x/sys/windows"

// Space returns how many bytes this user may still write on the disk that
// holds dir, and how many bytes the disk has in all.
func Space(dir string) (free, total int64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var mine, all uint64
	if err := windows.GetDiskFreeSpaceEx(path, &mine, &all, nil); err != nil {
		return 0, 0, err
	}
	return int64(min(mine, 1<<62)), int64(min(all, 1<<62)), nil
}
