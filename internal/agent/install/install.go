// Package install says what an installer is given and what it tells while it
// works. One niche per installer (apt, dnf, zypper, msi, ...) turns a Job into
// a deploy.Plan or a deploy.Result.
package install

import (
	"context"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// Job is one attempt of a task on this machine. Everything in it comes from
// the agent's own verified catalog, its own scan and its own policy; only the
// choice of patches and the knobs Conffile and Timeout are the server's.
type Job struct {
	Task    deploy.TaskID
	Attempt int // 1 for the first
	// Operation says what is done with the patches.
	Operation deploy.Operation
	// Patches are what to install, in the order that the catalog resolved; for
	// a rollback what to take back, in the order in which to do it.
	Patches []patch.Patch
	// Restored are, for a rollback, the patches that Manifest.Restores names.
	Restored []patch.Patch
	// CodeSigning says whose Authenticode signatures count; nil means nobody's.
	CodeSigning *catalog.CodeSigning
	// Archives are the vendor's archive snapshots that the shard pins:
	// all of them, superseded ones included.
	Archives []catalog.Archive
	// Snapshot is a scan of the machine that was made for this job.
	Snapshot *inventory.Snapshot
	// Conffile is deploy.KeepOld when the order says nothing.
	Conffile deploy.Conffile
	// Payload returns the path of a local file whose bytes have this
	// SHA-256 (lower-case hex); it is verified by hash and read-only, and
	// stays until the task has ended. It fetches the file when it is not
	// there yet. Errors are faults: Unavailable, Exhausted (disk), Untrusted.
	Payload func(ctx context.Context, sha256 string) (path string, err error)
	// Timeout bounds Install; 0 means one hour.
	Timeout time.Duration
	// Dir is a private folder for the attempt (mode 0700). It exists, is
	// kept from Plan through Recover of one task and is removed afterwards.
	Dir string
}

// Progress is one thing to show while an installation runs.
type Progress struct {
	Percent int    // 0 to 100, never falling
	Line    string // a line of the package manager's output, or empty
	Package string // what is worked on, when known
}
