package restart

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Windows fills inventory.State.RestartsDue on Windows.
//
// Windows lets nobody delete or overwrite a file that a process runs, but lets
// it be moved: installers put the old one elsewhere and the new one into its
// place. Such a process has loaded its code from one path and has it mapped
// from a file that is called otherwise now. The old file is mostly to be
// deleted at the next start, and Windows' Restart Manager tells who still uses
// it. Where a file could not be replaced at all, a restart of the machine is
// due, which package state tells.
func Windows() collect.Collector {
	return collect.Collector{Name: "restart", Collect: func(ctx context.Context, t *collect.Tree, s *inventory.Snapshot) error {
		if !t.Live() {
			return nil
		}
		due, err := restarts(ctx, live(), collect.PendingFiles(t.Registry()))
		s.State.RestartsDue = due
		return err
	}}
}

// machine is what Windows tells of its processes and files.
type machine interface {
	// Services names the services that run, by their process.
	Services() (map[uint32][]string, error)
	// Modules lists the programs and libraries of a process, none when it is
	// gone or protected.
	Modules(pid uint32) []module
	// Identity tells files apart, whatever their paths: "" for a path at which
	// there is none, false when that can't be known.
	Identity(path string) (string, bool)
	// Users names the services that use any of the files.
	Users(files []string) ([]string, error)
}

// module is a program or library in a process.
type module struct {
	Loaded string // the path from which it was loaded
	Mapped string // what its file is called now, "" when that is not known
}

// restarts names the services whose code is no longer that of its place.
func restarts(ctx context.Context, m machine, pending []collect.Pending) ([]string, error) {
	services, err := m.Services()
	if err != nil {
		return nil, err
	}
	due := map[string]bool{}
	known := map[module]bool{} // most processes have the same libraries
	for _, pid := range slices.Sorted(maps.Keys(services)) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if slices.Contains(services[pid], accounts) {
			continue
		}
		for _, one := range m.Modules(pid) {
			moved, asked := known[one]
			if !asked {
				moved = replaced(m, one)
				known[one] = moved
			}
			if !moved {
				continue
			}
			for _, name := range services[pid] {
				due[name] = true
			}
			break
		}
	}
	users, err := m.Users(movedAside(pending))
	for _, name := range users {
		due[name] = true
	}
	if err != nil {
		err = fault.Wrap(err, fault.CodeOf(err), "restart: who uses files that are deleted at the next start is not known")
	}
	return slices.Sorted(maps.Keys(due)), err
}

// accounts is a service of lsass.exe, which holds everybody's secrets: whoever
// reads its memory is taken for a thief by other guards of the machine, and its
// files are replaced at a start of the machine alone.
const accounts = "SamSs"

// maxAside bounds the files that the Restart Manager is asked about.
const maxAside = 200

// movedAside are the files that are only waiting to be deleted: a new one has
// their place already, or none. Those that wait to be replaced are not among
// them, because a service that is restarted would load the old one again.
func movedAside(pending []collect.Pending) (files []string) {
	for _, p := range pending {
		if p.To == "" && len(files) < maxAside && absolute(p.From) {
			files = append(files, p.From)
		}
	}
	return files
}

// maxPath is the length from which on Windows' list of modules cuts paths off.
const maxPath = 259

// replaced reports whether a module's file has left the place from which it was
// loaded. What can't be known is no.
func replaced(m machine, one module) bool {
	loaded := strings.TrimPrefix(one.Loaded, `\??\`)
	if !absolute(loaded) || !absolute(one.Mapped) || len(loaded) >= maxPath || strings.EqualFold(loaded, one.Mapped) || redirected(loaded, one.Mapped) {
		return false
	}
	now, ok := m.Identity(loaded)
	if !ok {
		return false
	}
	mapped, ok := m.Identity(one.Mapped)
	return ok && mapped != "" && now != mapped // the same file under two names: a link, or a folder that is one
}

// absolute reports a path on a drive.
func absolute(path string) bool {
	return len(path) > 3 && path[1:3] == `:\` && path[0]|0x20 >= 'a' && path[0]|0x20 <= 'z'
}

// redirected reports whether the paths differ only in the folder that Windows
// shows to 32-bit programs in place of system32.
func redirected(loaded, mapped string) bool {
	loaded, mapped = strings.ToLower(loaded), strings.ToLower(mapped)
	for _, folder := range []string{`\syswow64\`, `\sysarm32\`, `\sychpe32\`} {
		if strings.Replace(mapped, folder, `\system32\`, 1) == loaded {
			return true
		}
	}
	return false
}
