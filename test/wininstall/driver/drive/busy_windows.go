package drive

import (
	"runtime"
	"time"

	"golang.org/x/sys/windows"
)

// occupy holds the mutex of Windows Installer for a while.
func occupy(d time.Duration) error {
	taken := make(chan error)
	go func() {
		runtime.LockOSThread() // a mutex belongs to a thread
		name, err := windows.UTF16PtrFromString(`Global\_MSIExecute`)
		if err != nil {
			taken <- err
			return
		}
		m, err := windows.CreateMutex(nil, true, name)
		taken <- err
		if err == nil {
			time.Sleep(d)
			_ = windows.ReleaseMutex(m)
		}
	}()
	return <-taken
}
