// Package apt installs Debian packages with the machine's own apt-get and
// dpkg, without any route to the vendor.
//
// Every byte comes from the agent's payload store: the vendor's InRelease and
// package indexes as the catalog pins them, and the .deb files. They are laid
// out as local archives, and apt-get works on those with its own signature and
// hash checks switched on, in private list and cache folders, so that the
// machine's sources are neither used nor changed. Its keyrings, pins, holds,
// hooks and dpkg options count as they are set up. An archive that this
// machine's keyrings do not vouch for is left out, and with it the patches
// that only it holds.
//
// Only the exact approved versions are asked for, together with the new
// dependencies that they bring (Depends, not Recommends); nothing is ever
// removed or downgraded. Held packages stay, and so do those whose newer
// version the machine's apt preferences keep away, even when a patch for them
// is ordered outright: the administrator of the machine has the last word, and
// the refusal says so.
//
// # When the agent dies
//
// apt-get is a child of the process that calls Install, and it survives that
// process: apt gives dpkg a terminal of its own (Dpkg::Use-Pty), reads it and
// ignores that nobody takes its output any more. So nothing in the agent's
// unit may kill it: KillMode=process in systemd (with the default,
// control-group, a restart of the agent kills dpkg in mid-work), and no
// memory limit that counts dpkg's work as the agent's. Recover waits for an
// apt that still runs, by dpkg's lock, before it looks at the outcome. A dpkg
// whose apt-get was killed goes on too, with SIGHUP ignored; it is waited for
// in the same way. Only when the job's time is up are both ended, the hanging
// script included, and the next attempt lets dpkg finish what is half done.
package apt

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// Timeouts of the steps that only read or repair.
const (
	simulateTimeout = 5 * time.Minute
	updateTimeout   = 10 * time.Minute
	repairTimeout   = 30 * time.Minute
	defaultTimeout  = time.Hour
	// lockTimeout is how long one apt-get waits for another package manager.
	lockTimeout = 30 * time.Minute
	// grace is what apt-get gets to end when it is asked to.
	grace = 20 * time.Second
	// maxOutput bounds what is captured of a command, in bytes.
	maxOutput = 16 << 20
)

// Installer plans and installs with apt-get.
type Installer struct {
	runner run.Runner
}

// New returns an installer that starts apt-get and dpkg through the runner.
func New(runner run.Runner) *Installer { return &Installer{runner: runner} }

// env is what apt-get and the maintainer scripts get: nobody is there to be
// asked. ucf, apt-listchanges and needrestart have switches of their own.
func (w *workspace) env() []string {
	out := []string{
		"TERM=dumb", "DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true",
		"APT_LISTCHANGES_FRONTEND=none", "APT_LISTBUGS_FRONTEND=none",
		"NEEDRESTART_SUSPEND=1", w.mark(),
	}
	if w.job.Conffile == deploy.TakeNew {
		return append(out, "UCF_FORCE_CONFFNEW=1")
	}
	return append(out, "UCF_FORCE_CONFFOLD=1")
}

// mark is the variable by which a process of this task is known.
func (w *workspace) mark() string { return "FETTLE_TASK=" + string(w.job.Task) }

// workspace is one task's private apt.
type workspace struct {
	in  *Installer
	job install.Job
	dir string // absolute
	// refused are archives that this machine's apt does not accept, by id,
	// with its reason.
	refused map[string]string
}

// ready says for which archives and in which boot the workspace was laid out;
// what was written before a power cut is not relied on.
type ready struct {
	Boot     string            `json:"boot"`
	Archives []catalog.Archive `json:"archives"`
	Refused  map[string]string `json:"refused,omitempty"`
}

// open lays out the archives and brings apt's private lists up to date. What
// is there already from an earlier step of the same task is kept.
func (in *Installer) open(ctx context.Context, job install.Job) (*workspace, error) {
	dir, err := filepath.Abs(filepath.Join(job.Dir, "apt"))
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "apt: work folder")
	}
	w := &workspace{in: in, job: job, dir: dir}
	now := ready{Boot: job.Snapshot.State.BootID, Archives: w.sound(w.archives())}
	if was, ok := w.readReady(); ok && was.Boot == now.Boot && reflect.DeepEqual(archiveIDs(was.Archives), archiveIDs(now.Archives)) {
		w.refused = was.Refused
		return w, w.writeConfig() // the order of another attempt may differ
	}
	if err := w.layOut(ctx, now.Archives); err != nil {
		return nil, err
	}
	if err := w.update(ctx, now.Archives); err != nil {
		return nil, err
	}
	now.Refused = w.refused
	body, err := json.Marshal(now)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "apt: keep the work folder's mark")
	}
	if err := os.WriteFile(w.path("ready"), body, 0o600); err != nil {
		return nil, fault.Wrap(err, diskCode(err), "apt: keep the work folder's mark")
	}
	return w, nil
}

func (w *workspace) readReady() (r ready, ok bool) {
	body, err := os.ReadFile(w.path("ready"))
	return r, err == nil && json.Unmarshal(body, &r) == nil
}

func (w *workspace) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// aptGet runs apt-get with the private configuration.
func (w *workspace) aptGet(ctx context.Context, timeout time.Duration, onLine func(run.Stream, string), args ...string) (run.Result, error) {
	return w.aptTool(ctx, "apt-get", timeout, onLine, append([]string{"-q", "-y"}, args...)...)
}

// aptTool runs one of apt's programs with the private configuration.
func (w *workspace) aptTool(ctx context.Context, tool string, timeout time.Duration, onLine func(run.Stream, string), args ...string) (run.Result, error) {
	res, err := w.in.runner.Run(ctx, run.Cmd{
		Argv: append([]string{tool, "-c", w.path("apt.conf")}, args...), Env: w.env(), Timeout: timeout,
		OnLine: onLine, MaxOutput: maxOutput, Grace: grace,
	})
	if err != nil {
		return res, fault.Wrap(err, fault.CodeOf(err), "apt: %s", tool)
	}
	if res.Truncated && onLine == nil {
		return res, fault.New(fault.Internal, "apt: %s wrote more than %d bytes", tool, maxOutput)
	}
	return res, nil
}
