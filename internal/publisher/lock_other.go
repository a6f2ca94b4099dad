//go:build !unix

package publisher

// folderLock does nothing here: publishers run on Unix-like systems, this file
// only lets the package build elsewhere.
type folderLock struct{}

func lockFolder(string) (*folderLock, error) { return &folderLock{}, nil }

func (l *folderLock) release() {}
