// Package apt installs Debian packages with the machine's own apt-get and
// dpkg, without any route to the vendor.
//
// Every byte comes from the agent's payload store: the vendor's InRelease and
// package indexes as the catalog pins them, and the .deb files. They are laid
// out as local archives, and apt-get works on those with its own signature and
// hash checks switched on, in private list and cache folders, so that the
// machine's sources are neither used nor changed. Its keyrings, pins and holds
// count as they are set up.
//
// Only the exact approved versions are asked for, together with the new
// dependencies that they bring; nothing is ever removed.
package apt

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
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
)

// Installer plans and installs with apt-get.
type Installer struct {
	runner run.Runner
}

// New returns an installer that starts apt-get and dpkg through the runner.
func New(runner run.Runner) *Installer { return &Installer{runner: runner} }

// env is what apt-get and the maintainer scripts get: nobody is there to be
// asked. ucf, apt-listchanges and needrestart have switches of their own.
func env(conffile deploy.Conffile) []string {
	out := []string{
		"DEBIAN_FRONTEND=noninteractive", "DEBCONF_NONINTERACTIVE_SEEN=true",
		"APT_LISTCHANGES_FRONTEND=none", "APT_LISTBUGS_FRONTEND=none",
		"NEEDRESTART_SUSPEND=1",
	}
	if conffile == deploy.TakeNew {
		return append(out, "UCF_FORCE_CONFFNEW=1")
	}
	return append(out, "UCF_FORCE_CONFFOLD=1")
}

// workspace is one task's private apt.
type workspace struct {
	in  *Installer
	job install.Job
	dir string // absolute
}

// open lays out the archives and brings apt's private lists up to date. What
// is there already from an earlier step of the same task is kept.
func (in *Installer) open(ctx context.Context, job install.Job) (*workspace, error) {
	dir, err := filepath.Abs(filepath.Join(job.Dir, "apt"))
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "apt: work folder")
	}
	w := &workspace{in: in, job: job, dir: dir}
	archives := w.archives()
	mark := "v1 " + strings.Join(archiveIDs(archives), " ")
	if was, err := os.ReadFile(w.path("ready")); err == nil && string(was) == mark {
		return w, nil
	}
	if err := w.layOut(ctx, archives); err != nil {
		return nil, err
	}
	if err := w.update(ctx); err != nil {
		return nil, err
	}
	if err := os.WriteFile(w.path("ready"), []byte(mark), 0o600); err != nil {
		return nil, fault.Wrap(err, diskCode(err), "apt: keep the work folder's mark")
	}
	return w, nil
}

func (w *workspace) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// update lets apt-get read the local archives: it verifies InRelease against
// the machine's own keyrings and every index by hash.
func (w *workspace) update(ctx context.Context) error {
	res, err := w.aptGet(ctx, updateTimeout, nil, "update")
	if err != nil {
		return err
	}
	text := string(res.Stdout) + "\n" + string(res.Stderr)
	if problem := updateProblem(text); problem != "" || res.ExitCode != 0 {
		if problem == "" {
			problem = lastError(text)
		}
		return fault.New(fault.Untrusted, "apt refused the archive snapshot: %s", problem).
			WithHint("nothing was changed; the machine's keyring must trust the archive's key, and the catalog must pin what the vendor signed")
	}
	return nil
}

// aptGet runs apt-get with the private configuration.
func (w *workspace) aptGet(ctx context.Context, timeout time.Duration, onLine func(run.Stream, string), args ...string) (run.Result, error) {
	argv := append([]string{"apt-get", "-c", w.path("apt.conf"), "-q", "-y"}, args...)
	res, err := w.in.runner.Run(ctx, run.Cmd{
		Argv: argv, Env: env(w.job.Conffile), Timeout: timeout, OnLine: onLine, MaxOutput: 4 << 20,
		Grace: time.Minute,
	})
	if err != nil {
		return res, fault.Wrap(err, fault.CodeOf(err), "apt: %s", args[0])
	}
	return res, nil
}

// lastError returns apt's own sentence for what went wrong.
func lastError(text string) string {
	last := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "E: "); ok {
			if last != "" && !strings.Contains(last, rest) {
				last += "; "
			} else if last != "" {
				continue
			}
			last += rest
		}
	}
	if last == "" {
		return "apt-get gave no reason"
	}
	return last
}

// updateProblem finds what apt-get update says without failing for it:
// signatures and hashes that it would rather ignore.
func updateProblem(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for _, sign := range []string{"NO_PUBKEY", "BADSIG", "EXPKEYSIG", "is not signed", "Hash Sum mismatch", "couldn't be verified", "were invalid"} {
			if strings.Contains(line, sign) {
				return line
			}
		}
	}
	return ""
}
