package restart

import (
	"errors"
	"syscall"
	"unsafe"

	sys "golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/fault"
)

// affected is RM_PROCESS_INFO of restartmanager.h.
type affected struct {
	process  uint32
	started  sys.Filetime
	app      [256]uint16
	service  [64]uint16
	kind     uint32
	status   uint32
	session  uint32
	restarts uint32
}

const serviceKind = 3 // RmService

// Users implements machine by the Restart Manager ("Using Restart Manager" in
// Microsoft's documents), which is asked who uses the files and restarts
// nothing. Its session stands in the registry of the account until it ends.
func (r *running) Users(files []string) (services []string, err error) {
	if len(files) == 0 {
		return nil, nil
	}
	names := make([]*uint16, 0, len(files))
	for _, f := range files {
		if name, err := sys.UTF16PtrFromString(f); err == nil {
			names = append(names, name)
		}
	}
	dll := sys.NewLazySystemDLL("rstrtmgr.dll")
	if err := dll.Load(); err != nil {
		return nil, fault.Wrap(err, fault.Unsupported, "restart: there is no Restart Manager")
	}
	var session uint32
	key := make([]uint16, 33) // CCH_RM_SESSION_KEY
	if rc, _, _ := dll.NewProc("RmStartSession").Call(uintptr(unsafe.Pointer(&session)), 0, uintptr(unsafe.Pointer(&key[0]))); rc != 0 {
		return nil, managerError(rc)
	}
	defer func() { _, _, _ = dll.NewProc("RmEndSession").Call(uintptr(session)) }() // nothing was changed
	rc, _, _ := dll.NewProc("RmRegisterResources").Call(uintptr(session), uintptr(len(names)), uintptr(unsafe.Pointer(&names[0])), 0, 0, 0, 0)
	if rc != 0 {
		return nil, managerError(rc)
	}
	all, err := using(dll.NewProc("RmGetList"), session)
	for _, a := range all {
		if name := sys.UTF16ToString(a.service[:]); a.kind == serviceKind && name != "" {
			services = append(services, name)
		}
	}
	return services, err
}

// using lists who uses what the session has: their number may change while
// they are listed.
func using(list *sys.LazyProc, session uint32) ([]affected, error) {
	all := make([]affected, 16)
	for range 5 {
		needed, count, reasons := uint32(0), uint32(len(all)), uint32(0)
		rc, _, _ := list.Call(uintptr(session), uintptr(unsafe.Pointer(&needed)), uintptr(unsafe.Pointer(&count)),
			uintptr(unsafe.Pointer(&all[0])), uintptr(unsafe.Pointer(&reasons)))
		switch {
		case rc == 0:
			return all[:min(int(count), len(all))], nil
		case !errors.Is(syscall.Errno(rc), sys.ERROR_MORE_DATA) || needed > 1<<16:
			return nil, managerError(rc)
		}
		all = make([]affected, needed+8)
	}
	return nil, managerError(uintptr(sys.ERROR_MORE_DATA))
}

func managerError(rc uintptr) error {
	return fault.Wrap(syscall.Errno(rc), fault.Unavailable, "restart: the Restart Manager does not answer")
}
