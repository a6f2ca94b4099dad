//go:build !windows

package drive

import (
	"errors"
	"time"
)

// occupy is for Windows.
func occupy(time.Duration) error { return errors.New("there is no Windows Installer here") }
