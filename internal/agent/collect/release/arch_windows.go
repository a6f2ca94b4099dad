package release

import (
	"unsafe"

	sys "golang.org/x/sys/windows"
)

// The machines of winnt.h and the processors of sysinfoapi.h.
const (
	machine386, machineAMD64, machineARM64       = 0x14c, 0x8664, 0xaa64
	processor386, processorAMD64, processorARM64 = 0, 9, 12
)

// nativeArchitecture asks IsWow64Process2, which alone sees through the
// emulation on ARM64, and where it is lacking (before Windows 10 1511)
// GetNativeSystemInfo.
func nativeArchitecture() string {
	var process, native uint16
	if err := sys.IsWow64Process2(sys.CurrentProcess(), &process, &native); err == nil {
		switch native {
		case machine386:
			return "386"
		case machineAMD64:
			return "amd64"
		case machineARM64:
			return "arm64"
		}
	}
	proc := sys.NewLazySystemDLL("kernel32.dll").NewProc("GetNativeSystemInfo")
	if proc.Find() != nil {
		return ""
	}
	var info struct { // SYSTEM_INFO
		processor, reserved          uint16
		pageSize                     uint32
		lowest, highest, active      uintptr
		processors, kind, allocation uint32
		level, revision              uint16
	}
	_, _, _ = proc.Call(uintptr(unsafe.Pointer(&info))) // it returns nothing
	switch info.processor {
	case processor386:
		return "386"
	case processorAMD64:
		return "amd64"
	case processorARM64:
		return "arm64"
	}
	return ""
}
