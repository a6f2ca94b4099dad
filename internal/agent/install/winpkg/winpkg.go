// Package winpkg installs patches on Windows: what all kinds of them share.
// Its niches know one installer each: msi (MSI and MSP, by msiexec), msu (MSU
// by wusa, CAB by dism), exe (silent switches that the vendor documents) and
// wua (Windows Update's own session). winpkg/all puts them together.
//
// # What is run
//
// A payload is laid into a folder of its own that only the system and
// administrators may write to, under its vendor's file name. It is opened so
// that nobody can write or replace it any more; on this very handle its
// SHA-256 and its Authenticode signature are checked, and the handle stays
// open until the installer has ended. Who may have signed comes from the
// signed catalog alone. A patch without an expected signer, and a job without
// trusted certificates, are refused. Commands are argument lists made from the
// signed manifest; no shell sees them.
//
// # What counts
//
// Installers say what they did by exit codes, and some say "done" and did
// nothing. So a result's changes are what Windows lists as installed before
// and after. Whether a patch is installed at all is for the agent's own check
// to say, on a fresh scan.
//
// # When the agent dies
//
// An installer is not ended with the agent. Recover waits for what still runs
// and then compares what Windows lists with what it listed before.
package winpkg

import (
	"context"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

// Timing of waits. An installation that finds another one at work looks again
// after firstPause, and then after ever longer pauses up to lastPause, for
// busyWait at most.
const (
	defaultTimeout = time.Hour
	busyWait       = 30 * time.Minute
	firstPause     = 2 * time.Second
	lastPause      = 30 * time.Second
	// beatPause is how long an installer may be silent before it is said
	// that it is still at work.
	beatPause = time.Minute
	// settle is how long Windows' list is watched for a change that an
	// installer announced: some end before their helpers do.
	settle      = 20 * time.Second
	settlePause = 500 * time.Millisecond
	// removalWait is how long the end of a removal is waited for.
	removalWait = 2 * time.Minute
)

// Stock lists what Windows itself lists as installed now: products of the
// Uninstall keys (kind "arp") and updates of the system (kind "kb"), of the
// machine and of its users, as the agent's inventory does.
type Stock func(ctx context.Context) ([]inventory.Package, error)

// Installer plans and installs patches of all the kinds that it was given. It
// does what agent.Installer asks for.
type Installer struct {
	runner run.Runner
	stock  Stock
	kinds  map[string]Kind
	disk   space
	system string // a folder on the system's disk
}

// New returns an installer for the kinds, by the names of patch.Manifest.Kind.
// Commands run through the runner.
func New(runner run.Runner, stock Stock, kinds map[string]Kind) *Installer {
	return &Installer{runner: runner, stock: stock, kinds: kinds, disk: diskOf, system: systemFolder()}
}

// Kind is what a niche adds: how one kind of patch is installed and taken
// back. Its methods return what the installer said, in words; an error when it
// could not be run or was stopped (Cancelled).
type Kind interface {
	// Extension is what the names of payloads' files must end in, such as
	// ".msi"; empty when the kind can do without payloads and takes them
	// under their vendor's names.
	Extension() string
	// Install installs w.Patch.
	Install(ctx context.Context, w *Work) (Outcome, error)
	// Uninstall takes w.Patch back: w.Product is what Windows lists of it.
	Uninstall(ctx context.Context, w *Work) (Outcome, error)
	// Registers tells whether what it installs is listed by Windows under
	// the new version as soon as it is installed. When it is and the list
	// stays as it was, the installer did nothing.
	Registers() bool
}

// Outcome is what an installer said about one patch.
type Outcome struct {
	Code    int64 // as the installer gave it
	Meaning patch.ExitMeaning
	// Reason says in words what the code means; empty for plain success.
	Reason string
	// Output is what belongs into the result's output: messages, the end of
	// a log.
	Output string
}

// Work is one patch in the hands of a kind.
type Work struct {
	Patch patch.Patch
	// Payload is the path of the first verified file, Payloads of all; they
	// can't be written to.
	Payload  string
	Payloads []string
	// Dir is a private folder for logs and temporary files.
	Dir string
	// Product is what Windows lists of the patch's product now, nil when
	// nothing.
	Product *inventory.Package
	// Report shows a line to whoever watches. It may be called from any
	// goroutine.
	Report func(line string)

	runner  run.Runner
	observe func(ctx context.Context, seen func(title string)) (stop func() []string)
}

// NewWork puts a patch with its verified files into the hands of a kind.
func NewWork(runner run.Runner, p patch.Patch, dir string, files []string, report func(line string)) *Work {
	w := &Work{Patch: p, Payloads: files, Dir: dir, Report: report, runner: runner, observe: observe}
	if len(files) > 0 {
		w.Payload = files[0]
	}
	return w
}

// Plan says what the job would change, from the scan that it carries. It
// changes nothing and fetches nothing. Exhausted says that a disk has no room
// for it.
func (in *Installer) Plan(_ context.Context, job install.Job) (deploy.Plan, error) {
	plan, _ := in.plan(job)
	return plan, in.room(job, plan, false)
}
