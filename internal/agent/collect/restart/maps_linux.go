package restart

import (
	"bytes"
	"strings"
)

const deleted = " (deleted)"

// staleLine decides on one line of /proc/PID/maps (proc(5)):
//
//	7f1c2a000000-7f1c2a021000 r-xp 00000000 08:01 131090   /usr/lib/libz.so.1 (deleted)
func staleLine(line []byte) bool {
	if !bytes.HasSuffix(line, []byte(deleted)) {
		return false
	}
	_, rest, _ := bytes.Cut(line, []byte{' '})
	if len(rest) < 4 || bytes.IndexByte(rest[:4], 'x') < 0 {
		return false
	}
	slash := bytes.IndexByte(rest, '/')
	if slash < 0 {
		return false
	}
	// The inode stands last before the path; 0 means that no file is behind it.
	if f := bytes.Fields(rest[:slash]); len(f) < 4 || string(f[3]) == "0" {
		return false
	}
	return !ignored(string(rest[slash : len(rest)-len(deleted)]))
}

// ignored names mappings that are deleted by design: shared memory, files of
// just-in-time compilers, temporary ones.
func ignored(path string) bool {
	for _, p := range []string{"/SYSV00000000", "/drm", "/dev/", "/memfd:", "/[aio]", "/tmp/", "/var/tmp/", "/run/", "/var/run/", "/i915"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	base := path[strings.LastIndexByte(path, '/')+1:]
	if rest, ok := strings.CutPrefix(base, "#"); ok && strings.Trim(rest, "0123456789") == "" {
		return true // overlayfs and O_TMPFILE
	}
	return strings.HasPrefix(base, "orcexec.") || (strings.HasPrefix(base, "jna") && strings.HasSuffix(base, ".tmp"))
}
