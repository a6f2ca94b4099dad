package drive

import (
	"runtime"

	"golang.org/x/sys/windows"
)

// occupy holds the mutex of Windows Installer until the channel is closed.
func occupy(until <-chan struct{}) error {
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
			<-until
			_ = windows.ReleaseMutex(m)
		}
	}()
	return <-taken
}
