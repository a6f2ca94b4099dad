package apt

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// dpkgLock is the lock that every front end of dpkg takes.
const dpkgLock = "/var/lib/dpkg/lock-frontend"

// status is what dpkg says of one package.
type status struct {
	version string
	abbrev  string // "ii ", "iF ", ...: dpkg-query(1), db:Status-Abbrev
}

func (s status) ok() bool {
	return len(s.abbrev) >= 2 && s.abbrev[1] == 'i' && !strings.HasSuffix(s.abbrev, "R")
}

// word names the state for people.
func (s status) word() string {
	if len(s.abbrev) < 2 {
		return "not installed"
	}
	words := map[byte]string{'n': "not installed", 'c': "removed", 'H': "half-installed", 'U': "unpacked, not configured",
		'F': "half-configured", 'W': "waiting for a trigger", 't': "with a trigger pending", 'i': "installed"}
	return words[s.abbrev[1]]
}

// versions asks dpkg for the packages of the changes, by name:arch.
func (w *workspace) versions(ctx context.Context, list []deploy.Change) map[string]status {
	argv := []string{"dpkg-query", "-W", "-f", "${Package}\t${Architecture}\t${Version}\t${db:Status-Abbrev}\n"}
	for _, c := range list {
		argv = append(argv, c.Package)
	}
	out := map[string]status{}
	res, err := w.in.runner.Run(context.WithoutCancel(ctx), run.Cmd{Argv: argv, Timeout: simulateTimeout, MaxOutput: 8 << 20})
	if err != nil {
		return out // exit code 1 only says that some are not known
	}
	for line := range strings.Lines(string(res.Stdout)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) == 4 {
			out[f[0]+":"+w.effective(f[1])] = status{version: f[2], abbrev: strings.TrimSpace(f[3])}
		}
	}
	return out
}

// dpkg is a dpkg command with the task's conffile policy.
func (w *workspace) dpkg(timeout time.Duration, onLine func(run.Stream, string), args ...string) run.Cmd {
	argv := []string{"dpkg", "--force-confdef", "--force-confold"}
	if w.job.Conffile == deploy.TakeNew {
		argv = []string{"dpkg", "--force-confnew"}
	}
	return run.Cmd{Argv: append(argv, args...), Env: env(w.job.Conffile), Timeout: timeout, OnLine: onLine, Grace: time.Minute}
}

// interruptedDpkg reports whether dpkg was stopped in mid-work: its journal
// folder holds numbered files (dpkg --audit looks there too).
func interruptedDpkg() bool {
	entries, err := os.ReadDir("/var/lib/dpkg/updates")
	if err != nil {
		return false
	}
	for _, e := range entries {
		if strings.Trim(e.Name(), "0123456789") == "" {
			return true
		}
	}
	return false
}

// repair lets dpkg finish what was interrupted. Packages that fail again are
// not this step's failure: the transaction meets and names them.
func (w *workspace) repair(ctx context.Context) (string, error) {
	audit, err := w.in.runner.Run(ctx, run.Cmd{Argv: []string{"dpkg", "--audit"}, Timeout: simulateTimeout})
	if err != nil {
		return "", fault.Wrap(err, fault.CodeOf(err), "apt: look for an interrupted dpkg")
	}
	if len(audit.Stdout) == 0 && !interruptedDpkg() {
		return "", nil
	}
	res, err := w.in.runner.Run(ctx, w.dpkg(repairTimeout, nil, "--configure", "-a"))
	if err != nil {
		return "", fault.Wrap(err, fault.CodeOf(err), "apt: repair an interrupted dpkg")
	}
	return string(res.Stdout) + string(res.Stderr), nil
}

// Recover looks at the machine after the agent was stopped during Install. It
// waits for an apt that still runs, repairs an interrupted dpkg and reports
// whether the transaction is done. When it is not, Install goes on with what
// is left; apt installs nothing twice.
func (in *Installer) Recover(ctx context.Context, job install.Job) (deploy.Result, bool, error) {
	w := &workspace{in: in, job: job}
	res := deploy.Result{Attempt: job.Attempt, Started: time.Now().UTC()}
	var b begun
	body, err := os.ReadFile(w.begunPath())
	if err != nil || json.Unmarshal(body, &b) != nil {
		return res, false, nil // it had not begun to change anything
	}
	res.Started, res.Refused = b.Started, b.Refused
	if err := w.waitForLock(ctx, func(install.Progress) {}); err != nil {
		return res, false, err
	}
	out, err := w.repair(ctx)
	if err != nil {
		return res, false, err
	}
	log := newOutput(len(b.Changes), func(install.Progress) {})
	for line := range strings.Lines(out) {
		log.line(run.Stdout, strings.TrimRight(line, "\n"))
	}
	w.restoreMarks(ctx, b.Auto)
	w.judge(ctx, b, log, &res)
	res.Output, res.Ended = log.tail(), time.Now().UTC()
	if len(res.Failures) > 0 {
		return res, false, nil
	}
	w.dropBegun()
	return res, true, nil
}

// waitForLock waits until no other package manager holds dpkg's lock and says
// meanwhile who does.
func (w *workspace) waitForLock(ctx context.Context, report func(install.Progress)) error {
	deadline := time.Now().Add(lockTimeout)
	for {
		pid, locked := lockHolder(dpkgLock)
		if !locked {
			return nil
		}
		holder := "process " + pid + processName(pid)
		if time.Now().After(deadline) {
			return fault.New(fault.Unavailable, "dpkg is locked by %s for more than %s; nothing was changed", holder, lockTimeout).
				WithHint("see what that process does; the next attempt goes on by itself")
		}
		report(install.Progress{Line: "waiting for dpkg's lock, held by " + holder})
		select {
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), fault.Cancelled, "apt: stopped while waiting for dpkg's lock, held by %s", holder)
		case <-time.After(2 * time.Second):
		}
	}
}

func processName(pid string) string {
	comm, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return ""
	}
	return " (" + strings.TrimSpace(string(comm)) + ")"
}
