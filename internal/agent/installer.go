package agent

import (
	"context"
	"slices"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Installer applies patches of one or more manifest kinds, and takes them back
// when Job.Operation says so. It gets all patches of a task at once, in the
// order in which to work on them: one that is registered for several kinds
// mixes them, and goes on after a failure only with patches that do not require
// what failed. Values must be comparable. The errors of all
// methods are faults whose message is the true reason; deploy.Result carries
// the reasons of single packages.
type Installer interface {
	// Plan simulates the job with the vendor's pinned indexes and changes
	// nothing outside job.Dir.
	Plan(ctx context.Context, job install.Job) (deploy.Plan, error)
	// Install does what Plan showed. report is never called from two
	// goroutines at once. A result with Failures comes with a nil error; an
	// error means that nothing was changed, or, as fault.Cancelled, that the
	// time was up or ctx ended.
	Install(ctx context.Context, job install.Job, report func(install.Progress)) (deploy.Result, error)
	// Recover looks at the machine after an Install that was cut off, repairs
	// the package manager if it was left in the middle, and says what the
	// job's patches came to. done is false when nothing had been changed yet,
	// so that Install may be called as if for the first time.
	Recover(ctx context.Context, job install.Job) (result deploy.Result, done bool, err error)
}

// pick returns the one installer of all the patches and of what they restore.
func pick(installers map[string]Installer, patches, restored []patch.Patch) (Installer, error) {
	if len(patches) == 0 {
		return nil, fault.New(fault.Invalid, "the order names no patch")
	}
	var one Installer
	for _, p := range slices.Concat(patches, restored) {
		in := installers[p.Install.Kind]
		switch {
		case in == nil:
			return nil, fault.New(fault.Unsupported, "this agent has no installer for patches of the kind %q", p.Install.Kind)
		case one != nil && in != one:
			return nil, fault.New(fault.Unsupported, "the order mixes patches of the kinds %s and %s", patches[0].Install.Kind, p.Install.Kind)
		}
		one = in
	}
	return one, nil
}
