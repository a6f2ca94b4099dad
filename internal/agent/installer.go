package agent

import (
	"context"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
)

// Installer applies patches of one or more manifest kinds. The errors of all
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
