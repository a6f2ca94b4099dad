package winreg

import (
	"errors"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/fettlehq/fettle/internal/fault"
)

// Live is the registry of this machine.
func Live() Registry { return live{} }

type live struct{}

// handle is a key of this machine.
type handle struct {
	key  registry.Key
	view uint32
}

func predefined(short string) registry.Key {
	switch short {
	case "HKU":
		return registry.USERS
	case "HKCU":
		return registry.CURRENT_USER
	case "HKCR":
		return registry.CLASSES_ROOT
	case "HKCC":
		return registry.CURRENT_CONFIG
	}
	return registry.LOCAL_MACHINE
}

func viewFlag(view string) (uint32, error) {
	switch view {
	case Native:
		return 0, nil
	case View32:
		return registry.WOW64_32KEY, nil
	case View64:
		return registry.WOW64_64KEY, nil
	}
	return 0, fault.New(fault.Invalid, "winreg: %q is no view of the registry", clip(view))
}

// Open implements Registry.
func (live) Open(path, view string) (Key, error) {
	top, rest, err := split(path)
	if err != nil {
		return nil, err
	}
	flag, err := viewFlag(view)
	if err != nil {
		return nil, err
	}
	return handle{predefined(top), flag}.Open(rest)
}

// Open implements Key.
func (h handle) Open(path string) (Key, error) {
	k, err := registry.OpenKey(h.key, clean(path), registry.READ|h.view)
	if err != nil {
		return nil, wrapKey(err, path)
	}
	return handle{k, h.view}, nil
}

// Keys implements Key.
func (h handle) Keys() ([]string, error) {
	names, err := h.key.ReadSubKeyNames(-1)
	if err != nil {
		return nil, wrapKey(err, "")
	}
	sortNames(names)
	return names, nil
}

// Values implements Key.
func (h handle) Values() ([]string, error) {
	names, err := h.key.ReadValueNames(-1)
	if err != nil {
		return nil, wrapKey(err, "")
	}
	sortNames(names)
	return names, nil
}

// Value implements Key.
func (h handle) Value(name string) (Value, error) {
	if strings.ContainsRune(name, 0) {
		return Value{}, fault.New(fault.Invalid, "winreg: a name of the registry holds no zero")
	}
	buf := make([]byte, 256)
	for range 8 { // it may grow between two calls
		n, typ, err := h.key.GetValue(name, buf)
		switch {
		case err == nil:
			return Value{Type(typ), buf[:n:n]}, nil
		case errors.Is(err, registry.ErrNotExist):
			return Value{}, absentValue(name)
		case !errors.Is(err, registry.ErrShortBuffer):
			return Value{}, wrapKey(err, name)
		case n > MaxValue:
			return Value{}, fault.New(fault.Exhausted, "winreg: the value %q has %d bytes, more than are read", name, n)
		}
		buf = make([]byte, max(n, 2*len(buf)))
	}
	return Value{}, fault.New(fault.Unavailable, "winreg: the value %q changes faster than it can be read", name)
}

// Close implements Key.
func (h handle) Close() error { return h.key.Close() }

func wrapKey(err error, path string) error {
	code := fault.Unavailable
	switch {
	case errors.Is(err, registry.ErrNotExist), errors.Is(err, windows.ERROR_PATH_NOT_FOUND), errors.Is(err, windows.ERROR_KEY_DELETED):
		return absentKey(path)
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		code = fault.Denied
	case errors.Is(err, windows.ERROR_INVALID_PARAMETER), errors.Is(err, windows.ERROR_BAD_PATHNAME), errors.Is(err, syscall.EINVAL):
		code = fault.Invalid
	}
	return fault.Wrap(err, code, "winreg: can't read the key %s", path)
}

// Volatile sets a text below HKLM in a key that Windows forgets when it stops (REG_OPTION_VOLATILE), making the key if
// need be; the key above it must be there or is made to stay. When keep is set, a value that is there already stays and is
// returned. A key of the name that would outlast the boot (someone's import or backup) is replaced.
func Volatile(parent, name, value, text string, keep bool) (string, error) {
	above, _, err := registry.CreateKey(registry.LOCAL_MACHINE, parent, registry.ALL_ACCESS)
	if err != nil {
		return "", wrapKey(err, parent)
	}
	defer func() { _ = above.Close() }() // the value is what counts
	k, err := createVolatile(above, name)
	if err == nil && lasts(k) {
		_ = k.Close() // it goes
		if err = registry.DeleteKey(above, name); err == nil {
			k, err = createVolatile(above, name)
		}
	}
	if err != nil {
		return "", wrapKey(err, parent+`\`+name)
	}
	defer func() { _ = k.Close() }() // the value is what counts
	if keep {
		if old, _, err := k.GetStringValue(value); err == nil {
			return old, nil
		}
	}
	if err := k.SetStringValue(value, text); err != nil {
		return "", wrapKey(err, parent+`\`+name)
	}
	return text, nil
}

// lasts reports whether a key outlasts the boot: only such a one can have a lasting key below it.
func lasts(k registry.Key) bool {
	const probe = "fettle-probe"
	below, _, err := registry.CreateKey(k, probe, registry.ALL_ACCESS)
	if err != nil {
		return false
	}
	_ = below.Close()                // it goes
	_ = registry.DeleteKey(k, probe) // with its parent, if not now
	return true
}

const optionVolatile = 1 // REG_OPTION_VOLATILE of winnt.h; x/sys makes lasting keys only

func createVolatile(above registry.Key, name string) (registry.Key, error) {
	wide, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	proc := windows.NewLazySystemDLL("advapi32.dll").NewProc("RegCreateKeyExW")
	if err := proc.Find(); err != nil {
		return 0, err
	}
	var k registry.Key
	rc, _, _ := proc.Call(uintptr(above), uintptr(unsafe.Pointer(wide)), 0, 0, optionVolatile, registry.ALL_ACCESS, 0, uintptr(unsafe.Pointer(&k)), 0)
	if rc != 0 {
		return 0, syscall.Errno(rc)
	}
	return k, nil
}
