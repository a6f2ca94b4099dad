//go:build !windows

package drive

import "errors"

// occupy is for Windows.
func occupy(<-chan struct{}) error { return errors.New("there is no Windows Installer here") }
