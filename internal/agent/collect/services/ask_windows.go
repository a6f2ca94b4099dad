package services

import (
	"errors"
	"strings"
	"unsafe"

	sys "golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/fault"
)

// ask lists the services as the service control manager shows them, with
// their titles in the system's language, by name in lower case.
func ask() (map[string]status, error) {
	m, err := sys.OpenSCManager(nil, nil, sys.SC_MANAGER_CONNECT|sys.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "services: the service control manager does not answer")
	}
	defer func() { _ = sys.CloseServiceHandle(m) }() // read only
	out := map[string]status{}
	var resume, needed, count uint32
	buf := make([]byte, 64<<10) // the most that one call takes is 256 kB
	for {
		err := sys.EnumServicesStatusEx(m, sys.SC_ENUM_PROCESS_INFO, sys.SERVICE_WIN32, sys.SERVICE_STATE_ALL,
			&buf[0], uint32(len(buf)), &needed, &count, &resume, nil)
		if err != nil && !errors.Is(err, sys.ERROR_MORE_DATA) {
			return nil, fault.Wrap(err, fault.Unavailable, "services: the services can't be listed")
		}
		for _, e := range unsafe.Slice((*sys.ENUM_SERVICE_STATUS_PROCESS)(unsafe.Pointer(&buf[0])), count) {
			out[strings.ToLower(sys.UTF16PtrToString(e.ServiceName))] = status{
				title:   sys.UTF16PtrToString(e.DisplayName),
				running: e.ServiceStatusProcess.CurrentState == sys.SERVICE_RUNNING,
			}
		}
		switch {
		case err == nil:
			return out, nil
		case count == 0 && int(needed) <= len(buf):
			return nil, fault.New(fault.Unavailable, "services: the list of services does not end")
		case count == 0:
			buf = make([]byte, needed)
		}
	}
}
