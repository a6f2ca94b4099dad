//go:build unix

package publish

import "io/fs"

// exposed reports whether group or others have any right to a key file.
func exposed(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
