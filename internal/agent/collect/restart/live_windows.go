package restart

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	sys "golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/fault"
)

// live is this machine.
func live() machine {
	return &running{mapped: sys.NewLazySystemDLL("kernel32.dll").NewProc("K32GetMappedFileNameW"), drives: drives()}
}

type running struct {
	mapped *sys.LazyProc
	drives map[string]string // a device in lower case to its drive
}

// drives maps devices such as \Device\HarddiskVolume3 to the letters under
// which people know them.
func drives() map[string]string {
	out := map[string]string{}
	have, err := sys.GetLogicalDrives()
	if err != nil {
		return out
	}
	target := make([]uint16, sys.MAX_PATH)
	for i := range 26 {
		if have>>i&1 == 0 {
			continue
		}
		letter := string(rune('A'+i)) + ":"
		name, err := sys.UTF16PtrFromString(letter)
		if err != nil {
			continue
		}
		if n, err := sys.QueryDosDevice(name, &target[0], uint32(len(target))); err == nil && n > 0 {
			out[strings.ToLower(sys.UTF16ToString(target))] = letter
		}
	}
	return out
}

// Services implements machine.
func (r *running) Services() (map[uint32][]string, error) {
	m, err := sys.OpenSCManager(nil, nil, sys.SC_MANAGER_CONNECT|sys.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "restart: the service control manager does not answer")
	}
	defer func() { _ = sys.CloseServiceHandle(m) }() // read only
	out := map[uint32][]string{}
	var resume, needed, count uint32
	buf := make([]byte, 256<<10) // the most that one call takes
	for {
		err := sys.EnumServicesStatusEx(m, sys.SC_ENUM_PROCESS_INFO, sys.SERVICE_WIN32, sys.SERVICE_ACTIVE,
			&buf[0], uint32(len(buf)), &needed, &count, &resume, nil)
		if err != nil && (!errors.Is(err, sys.ERROR_MORE_DATA) || count == 0) {
			return nil, fault.Wrap(err, fault.Unavailable, "restart: the services that run can't be listed")
		}
		for _, e := range unsafe.Slice((*sys.ENUM_SERVICE_STATUS_PROCESS)(unsafe.Pointer(&buf[0])), count) {
			if pid := e.ServiceStatusProcess.ProcessId; pid != 0 {
				out[pid] = append(out[pid], sys.UTF16PtrToString(e.ServiceName))
			}
		}
		if err == nil {
			return out, nil
		}
	}
}

// Modules implements machine.
func (r *running) Modules(pid uint32) (all []module) {
	process, err := sys.OpenProcess(sys.PROCESS_QUERY_INFORMATION|sys.PROCESS_VM_READ, false, pid)
	if err != nil {
		return nil
	}
	defer func() { _ = sys.CloseHandle(process) }() // read only
	list, err := snapshot(pid)
	if err != nil {
		return nil
	}
	defer func() { _ = sys.CloseHandle(list) }() // read only
	entry := sys.ModuleEntry32{Size: uint32(sys.SizeofModuleEntry32)}
	name := make([]uint16, sys.MAX_LONG_PATH)
	for err = sys.Module32First(list, &entry); err == nil; err = sys.Module32Next(list, &entry) {
		one := module{Loaded: sys.UTF16ToString(entry.ExePath[:])}
		n, _, _ := r.mapped.Call(uintptr(process), entry.ModBaseAddr, uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)))
		if n > 0 && int(n) < len(name) {
			one.Mapped = r.onDrive(sys.UTF16ToString(name[:n]))
		}
		all = append(all, one)
	}
	return all
}

// snapshot lists the modules of a process. Windows asks to try again while they
// change.
func snapshot(pid uint32) (list sys.Handle, err error) {
	for range 5 {
		list, err = sys.CreateToolhelp32Snapshot(sys.TH32CS_SNAPMODULE|sys.TH32CS_SNAPMODULE32, pid)
		if !errors.Is(err, sys.ERROR_BAD_LENGTH) {
			break
		}
	}
	return list, err
}

// onDrive turns a path below a device into one on a drive, "" when it is on
// none. Wine names drives.
func (r *running) onDrive(path string) string {
	if rest, ok := strings.CutPrefix(path, `\??\`); ok {
		return rest
	}
	for device, letter := range r.drives {
		if len(path) > len(device) && path[len(device)] == '\\' && strings.EqualFold(path[:len(device)], device) {
			return letter + path[len(device):]
		}
	}
	return ""
}

// Identity implements machine.
func (r *running) Identity(path string) (string, bool) {
	wide, err := sys.UTF16PtrFromString(path)
	if err != nil {
		return "", false
	}
	const shared = sys.FILE_SHARE_READ | sys.FILE_SHARE_WRITE | sys.FILE_SHARE_DELETE
	h, err := sys.CreateFile(wide, sys.FILE_READ_ATTRIBUTES, shared, nil, sys.OPEN_EXISTING, sys.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return "", errors.Is(err, sys.ERROR_FILE_NOT_FOUND) || errors.Is(err, sys.ERROR_PATH_NOT_FOUND)
	}
	defer func() { _ = sys.CloseHandle(h) }() // read only
	var info sys.ByHandleFileInformation
	if sys.GetFileInformationByHandle(h, &info) != nil {
		return "", false
	}
	return fmt.Sprintf("%x:%x:%x", info.VolumeSerialNumber, info.FileIndexHigh, info.FileIndexLow), true
}
