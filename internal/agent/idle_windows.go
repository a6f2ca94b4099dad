package agent

import (
	"runtime/debug"

	"golang.org/x/sys/windows"
)

// rest gives garbage back to the system, and with it the pages that are not
// needed while waiting: both numbers at their largest mean just that
// (https://learn.microsoft.com/windows/win32/api/memoryapi/nf-memoryapi-setprocessworkingsetsizeex).
func rest() {
	debug.FreeOSMemory()
	_ = windows.SetProcessWorkingSetSizeEx(windows.CurrentProcess(), ^uintptr(0), ^uintptr(0), 0) // a larger agent works too
}
