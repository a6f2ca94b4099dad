package agent

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/fettlehq/fettle/internal/fault"
)

// DefaultStateDir is where an agent keeps everything that it must not forget:
// %ProgramData%\Fettle\agent.
func DefaultStateDir() string { return filepath.Join(ownFolder(), "agent") }

// DefaultPolicyFile is where the administrator of the machine limits what a
// server may order: %ProgramData%\Fettle\policy.json. It wins over the server.
func DefaultPolicyFile() string { return filepath.Join(ownFolder(), "policy.json") }

// ownFolder asks the system rather than the environment, which whoever starts
// the agent may have set.
func ownFolder() string {
	data, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
	if err != nil {
		data = `C:\ProgramData`
	}
	return filepath.Join(data, "Fettle")
}

// rebootCommand restarts the machine in 30 seconds: people see why and can
// save their work. The reason is "operating system: hot fix, planned"
// (https://learn.microsoft.com/windows/win32/shutdown/system-shutdown-reason-codes).
func rebootCommand() []string {
	system, err := windows.GetSystemDirectory()
	if err != nil {
		system = `C:\Windows\System32`
	}
	return []string{
		filepath.Join(system, "shutdown.exe"), "/r", "/t", "30", "/d", "p:2:17",
		"/c", "Fettle restarts this computer to complete the installation of updates.",
	}
}

// private grants everything to SYSTEM and to administrators and nothing to
// anybody else; P cuts what the folder above would hand down. It is the
// administrators' own, so that nobody else may change the rights.
const private = "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

// makePrivate makes a folder that only SYSTEM and administrators may open, and
// sets these rights on one that is there. Every user may make folders below
// %ProgramData%: one that somebody else owns is refused (Untrusted), because
// its maker may hold it open and may have put anything there.
func makePrivate(path string) error {
	sd, err := windows.SecurityDescriptorFromString(private)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "agent: the rights of its folders")
	}
	// Above a folder of ours stands %ProgramData%\Fettle, or what the
	// administrator chose.
	if own := ownFolder(); filepath.Dir(path) == own && path != own {
		if err := makePrivate(own); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	attributes := windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: sd}
	err = windows.CreateDirectory(name, &attributes)
	if errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return claim(path, sd)
	}
	return err
}

// claim sets the rights on a folder that exists.
func claim(path string, sd *windows.SECURITY_DESCRIPTOR) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fault.New(fault.Untrusted, "agent: %s is no folder", path).WithHint("remove it; only administrators may make it")
	}
	if err := ownedByAdministrators(path); err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	const what = windows.OWNER_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	return windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, what, owner, nil, dacl, nil)
}

// ownedByAdministrators refuses a folder of somebody else.
func ownedByAdministrators(path string) error {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	owner, ok, err := trustedOwner(sd)
	if err != nil || ok {
		return err
	}
	return fault.New(fault.Untrusted, "agent: the folder %s belongs to %s, not to the administrators: nothing is kept in it", path, owner).
		WithHint("look at what is in it, remove it, and run this again as administrator")
}

// administered refuses (Untrusted) a file of somebody else: every user may make
// files in a folder below %ProgramData% that an administrator made by hand.
func administered(f *os.File) error {
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	owner, ok, err := trustedOwner(sd)
	if err != nil || ok {
		return err
	}
	return fault.New(fault.Untrusted, "it belongs to %s, not to the administrators", owner)
}

// trustedOwner gives the owner and whether he counts as the machine's administration.
func trustedOwner(sd *windows.SECURITY_DESCRIPTOR) (owner *windows.SID, ok bool, err error) {
	if owner, _, err = sd.Owner(); err != nil {
		return nil, false, err
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, false, err
	}
	return owner, mayOwn(owner, me.User.Sid), nil
}

// mayOwn reports whether the agent keeps its state in a folder of this owner:
// the system, the administrators, or whoever runs it, for what an administrator
// makes belongs to the account where a policy says so.
func mayOwn(owner, me *windows.SID) bool {
	return owner.IsWellKnown(windows.WinLocalSystemSid) || owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) || owner.Equals(me)
}

// createVanishing makes a file that the system deletes when it is closed.
func createVanishing() (*os.File, error) {
	name, err := windows.UTF16PtrFromString(filepath.Join(os.TempDir(), "fettle-shard-"+rand.Text()))
	if err != nil {
		return nil, err
	}
	const attributes = windows.FILE_ATTRIBUTE_TEMPORARY | windows.FILE_FLAG_DELETE_ON_CLOSE
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE|windows.DELETE, 0, nil, windows.CREATE_NEW, attributes, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), "the unpacked catalog"), nil
}

// openShared opens a file for reading that may be replaced meanwhile: os.Open
// would keep everybody from renaming or deleting it.
func openShared(path string) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(name, windows.GENERIC_READ, share, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// replace puts a file in another's place. One that is open (shared, as
// openShared does) can't be overwritten but can be moved aside; what is left of
// it goes when the last reader closes it, or with the next dropShards.
func replace(from, to string) error {
	err := os.Rename(from, to)
	if err == nil {
		return nil
	}
	old := to + aside + rand.Text()
	if moved := os.Rename(to, old); moved != nil {
		return errors.Join(err, moved)
	}
	if err := os.Rename(from, to); err != nil {
		return errors.Join(err, os.Rename(old, to))
	}
	_ = os.Remove(old) // somebody may read it still
	return nil
}

// packagesChanged reports whether a product was installed, changed or removed
// since: Windows stamps each Uninstall key, and the key above when one comes or
// goes. What single users install is found by the next scan.
func packagesChanged(_ string, since time.Time) bool {
	for _, view := range []uint32{registry.WOW64_64KEY, registry.WOW64_32KEY} {
		all, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`, registry.READ|view)
		if err != nil {
			continue // 64-bit Wine has but one view
		}
		changed := stamped(all, since)
		names, err := all.ReadSubKeyNames(-1)
		for i := 0; err == nil && i < len(names) && !changed; i++ {
			if one, err := registry.OpenKey(all, names[i], registry.QUERY_VALUE|view); err == nil {
				changed = stamped(one, since)
				_ = one.Close() // read only
			}
		}
		_ = all.Close() // read only
		if changed {
			return true
		}
	}
	return false
}

func stamped(k registry.Key, since time.Time) bool {
	info, err := k.Stat()
	return err == nil && info.ModTime().After(since)
}
