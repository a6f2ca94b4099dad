// Package restart finds services that still run files which an update has
// replaced: processes that map executable code of deleted files.
//
// The rules are needrestart's (its check of /proc/PID/maps and its default
// list of mappings to ignore), without its look into interpreters' scripts.
package restart

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Collector fills inventory.State.RestartsDue. It sees only the agent's own
// processes unless it runs as root.
func Collector() collect.Collector {
	return collect.Collector{Name: "restart", Collect: gather}
}

func gather(ctx context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	names, err := t.Names("proc")
	if err != nil {
		return err
	}
	var r reader
	proc := t.Path("proc")
	for _, pid := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		// The kernel takes long to write maps, so they are read only where
		// they can make a difference.
		u := unit(r.small(proc + "/" + pid + "/cgroup"))
		if u == "" || slices.Contains(s.State.RestartsDue, u) || !r.stale(proc+"/"+pid+"/maps") || foreign(proc, pid) {
			continue
		}
		s.State.RestartsDue = append(s.State.RestartsDue, u)
	}
	slices.Sort(s.State.RestartsDue)
	return nil
}

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

// unit returns the service of a process from its /proc/PID/cgroup (cgroups(7)):
// the unified hierarchy or systemd's own of version 1. Processes of people's
// sessions and of containers are nobody's service here.
func unit(cgroup []byte) string {
	for line := range bytes.SplitSeq(cgroup, []byte{'\n'}) {
		parts := strings.SplitN(string(line), ":", 3)
		if len(parts) != 3 || (parts[1] != "" && parts[1] != "name=systemd") {
			continue
		}
		if u := service(parts[2]); u != "" {
			return u
		}
	}
	return ""
}

func service(path string) string {
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "user.slice", part == "machine.slice", part == "docker", part == "kubepods.slice", part == "lxc",
			strings.HasPrefix(part, "lxc.payload"), strings.HasPrefix(part, "libpod"):
			return ""
		case strings.HasSuffix(part, ".service"):
			return part
		}
	}
	return ""
}
