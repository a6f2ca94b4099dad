package winpkg

import (
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Rights by which somebody could put another program, or a DLL beside it, in
// the place of one (winnt.h).
const (
	changeFile   = windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | takeOver
	changeFolder = windows.FILE_WRITE_DATA | deleteChild | takeOver // FILE_ADD_FILE has the number of FILE_WRITE_DATA
	moveFolder   = deleteChild | takeOver
	deleteChild  = 0x40
	takeOver     = windows.DELETE | windows.WRITE_DAC | windows.WRITE_OWNER | windows.GENERIC_WRITE | windows.GENERIC_ALL
)

// othersWrite reports whether somebody without an administrator's rights could
// change the file, put one beside it, or move a folder above it. Folders below
// C:\ are open to all users unless their maker has closed them, and products
// are installed there, too. What can't be looked at counts as open.
func othersWrite(path string) bool {
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return true
	}
	rights := uint32(changeFile)
	for at := path; ; at = filepath.Dir(at) {
		root := filepath.Dir(at) == at
		if root {
			rights &^= windows.DELETE // a drive can't be moved
		}
		if open(at, rights, me.User.Sid, root) {
			return true
		}
		if root {
			return false
		}
		switch rights {
		case changeFile:
			rights = changeFolder
		default:
			rights = moveFolder
		}
	}
}

// open reports whether others own the file or folder, or have one of the rights.
func open(path string, rights uint32, me *windows.SID, root bool) bool {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return true
	}
	owner, _, err := sd.Owner()
	if err != nil || !root && !trusted(owner, me) {
		return true
	}
	dacl, _, err := sd.DACL()
	if err != nil || dacl == nil { // without a list everybody may do everything
		return true
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if windows.GetAce(dacl, i, &ace) != nil {
			return true
		}
		const allowedCallback = 9 // ACCESS_ALLOWED_CALLBACK_ACE_TYPE, of the same form
		allows := ace.Header.AceType == windows.ACCESS_ALLOWED_ACE_TYPE || ace.Header.AceType == allowedCallback
		if !allows || ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 || uint32(ace.Mask)&rights == 0 {
			continue
		}
		if !trusted((*windows.SID)(unsafe.Pointer(&ace.SidStart)), me) {
			return true
		}
	}
	return false
}

// trustedInstaller owns Windows' own files.
const trustedInstaller = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"

// trusted reports accounts that may do everything anyway: the system,
// administrators of the machine and of its domain, and whoever runs this.
func trusted(sid, me *windows.SID) bool {
	if sid.IsWellKnown(windows.WinLocalSystemSid) || sid.IsWellKnown(windows.WinBuiltinAdministratorsSid) || sid.Equals(me) {
		return true
	}
	text := sid.String()
	administrators := []string{"-500", "-512", "-519"} // Administrator, Domain Admins, Enterprise Admins
	return text == trustedInstaller || strings.HasPrefix(text, "S-1-5-21-") &&
		slices.ContainsFunc(administrators, func(end string) bool { return strings.HasSuffix(text, end) })
}
