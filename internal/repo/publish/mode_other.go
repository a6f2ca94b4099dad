//go:build !unix

package publish

import "io/fs"

// exposed is always false: Windows keeps rights in ACLs, which mode bits do
// not show; the installer sets them on the key folder.
func exposed(fs.FileInfo) bool { return false }
