package winpkg

import (
	"path/filepath"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

// diskFactor is how much disk an installation is taken to need at least, in
// sizes of its files: what it unpacks, and what it installs of that. Installers
// don't say it beforehand.
const diskFactor = 2

// diskMargin is left free on every disk, in bytes.
const diskMargin = 64 << 20

// space tells which disk a folder is on and how many bytes are free there.
type space func(dir string) (name string, free int64, err error)

// diskOf asks Windows.
func diskOf(dir string) (name string, free int64, err error) {
	free, _, err = atomicfile.Space(dir)
	return strings.ToUpper(filepath.VolumeName(dir)), free, err
}

// room refuses (Exhausted) a plan for which the disk of the agent's folder has
// no room for the files, or the system's none for what they install. With here
// the files are there already. A disk that can't be asked refuses nothing.
func (in *Installer) room(job install.Job, plan deploy.Plan, here bool) error {
	needs := []struct {
		dir   string
		bytes int64
	}{{job.Dir, plan.DownloadBytes}, {in.system, plan.DiskBytes}}
	if here {
		needs[0].bytes = 0
	}
	total, dirs, free := map[string]int64{}, map[string]string{}, map[string]int64{}
	for _, n := range needs {
		name, bytes, err := in.disk(n.dir)
		if err != nil || n.bytes == 0 {
			continue
		}
		total[name] += n.bytes
		dirs[name], free[name] = n.dir, bytes
	}
	for name, need := range total {
		if free[name] < need+diskMargin {
			return fault.New(fault.Exhausted, "the disk of %s has %d MiB free, the installation needs %d MiB with a margin; nothing was changed", dirs[name], free[name]>>20, (need+diskMargin)>>20).
				WithHint("free some space on the machine; the next attempt goes on by itself")
		}
	}
	return nil
}
