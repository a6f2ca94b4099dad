package probe

import (
	"path/filepath"

	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/detect"
)

const nonblock = 0

var errNotDir error = windows.ERROR_DIRECTORY

// onDrive is the path of a file on a drive that is this machine's own: one of
// the network would make it sign in there.
func onDrive(drive, below string) (string, error) {
	root, err := windows.UTF16PtrFromString(drive + `\`)
	if err != nil || windows.GetDriveType(root) == windows.DRIVE_REMOTE {
		return "", detect.Unknown("the drive is not this machine's own")
	}
	return filepath.FromSlash(drive + below), nil
}
