package hardware

import (
	"encoding/binary"
	"strconv"
	"unsafe"

	sys "golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// windowsLive asks the kernel for what the registry does not hold. What it
// does not tell stays empty.
func windowsLive(h *inventory.Hardware) error {
	if table, ok := firmwareTable(); ok {
		smbios(table, h)
	}
	h.Disks = physicalDrives()
	var err error
	h.MemoryMiB, err = physicalMemory()
	return err
}

// firmwareTable is the SMBIOS table without the eight bytes that
// GetSystemFirmwareTable puts before it (RawSMBIOSData).
func firmwareTable() ([]byte, bool) {
	const provider, head, most = 'R'<<24 | 'S'<<16 | 'M'<<8 | 'B', 8, 1 << 20
	proc := sys.NewLazySystemDLL("kernel32.dll").NewProc("GetSystemFirmwareTable")
	if proc.Find() != nil {
		return nil, false
	}
	n, _, _ := proc.Call(provider, 0, 0, 0)
	if n <= head || n > most {
		return nil, false
	}
	buf := make([]byte, n)
	n, _, _ = proc.Call(provider, 0, uintptr(unsafe.Pointer(&buf[0])), n)
	if n <= head || int(n) > len(buf) {
		return nil, false
	}
	table := buf[head:n]
	return table[:min(len(table), int(binary.LittleEndian.Uint32(buf[4:])))], true
}

// physicalMemory is what Windows can use, in MiB.
func physicalMemory() (int64, error) {
	status := struct { // MEMORYSTATUSEX
		length, load                                                                             uint32
		total, available, totalPage, availablePage, totalVirtual, availableVirtual, availableExt uint64
	}{}
	status.length = uint32(unsafe.Sizeof(status))
	proc := sys.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if ok, _, err := proc.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return 0, fault.Wrap(err, fault.Unavailable, "hardware: the size of the memory is not known")
	}
	return int64(status.total >> 20), nil
}

const (
	maxDrives                   = 64
	ioctlDriveGeometryEx        = 0x000700A0 // IOCTL_DISK_GET_DRIVE_GEOMETRY_EX of winioctl.h; needs no right to read
	mediaRemovable              = 11         // MEDIA_TYPE RemovableMedia
	geometryMedia, geometrySize = 8, 24      // offsets in DISK_GEOMETRY_EX
)

// physicalDrives lists the fixed disks as \\.\PhysicalDriveN.
func physicalDrives() (out []inventory.Disk) {
	for i := range maxDrives {
		name := "PhysicalDrive" + strconv.Itoa(i)
		if size, fixed := drive(`\\.\` + name); fixed {
			out = append(out, inventory.Disk{Name: name, SizeMiB: size >> 20})
		}
	}
	return out
}

func drive(path string) (size int64, fixed bool) {
	wide, err := sys.UTF16PtrFromString(path)
	if err != nil {
		return 0, false
	}
	h, err := sys.CreateFile(wide, 0, sys.FILE_SHARE_READ|sys.FILE_SHARE_WRITE, nil, sys.OPEN_EXISTING, 0, 0)
	if err != nil {
		return 0, false
	}
	defer func() { _ = sys.CloseHandle(h) }() // read only
	var buf [256]byte
	var n uint32
	err = sys.DeviceIoControl(h, ioctlDriveGeometryEx, nil, 0, &buf[0], uint32(len(buf)), &n, nil)
	if err != nil || n < geometrySize+8 || binary.LittleEndian.Uint32(buf[geometryMedia:]) == mediaRemovable {
		return 0, false
	}
	size = int64(binary.LittleEndian.Uint64(buf[geometrySize:]))
	return size, size > 0
}
