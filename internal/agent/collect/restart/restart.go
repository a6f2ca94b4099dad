// Package restart finds services that still run files which an update has
// replaced: on Linux processes that map executable code of deleted files, on
// Windows those whose code comes from a file that was moved out of its place.
//
// The rules for Linux are needrestart's (its check of /proc/PID/maps and its
// default list of mappings to ignore), without its look into interpreters'
// scripts.
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
