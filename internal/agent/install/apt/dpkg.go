package apt

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// status is what dpkg says of one package.
type status struct {
	version string
	abbrev  string // "ii", "iF", "iHR", ...: dpkg-query(1), db:Status-Abbrev
	size    int64  // bytes that its files take, as declared
}

func (s status) ok() bool {
	return len(s.abbrev) >= 2 && s.abbrev[1] == 'i' && !strings.HasSuffix(s.abbrev, "R")
}

// word names the state for people.
func (s status) word() string {
	if len(s.abbrev) < 2 {
		return "not installed"
	}
	words := map[byte]string{
		'n': "not installed", 'c': "removed", 'H': "half-installed", 'U': "unpacked, not configured",
		'F': "half-configured", 'W': "waiting for a trigger", 't': "with a trigger pending", 'i': "installed",
	}
	if strings.HasSuffix(s.abbrev, "R") {
		return words[s.abbrev[1]] + ", to be installed again"
	}
	return words[s.abbrev[1]]
}

// versions asks dpkg for the packages of the changes, by name:arch.
func (w *workspace) versions(ctx context.Context, list []deploy.Change) map[string]status {
	argv := []string{"dpkg-query", "-W", "-f", "${Package}\t${Architecture}\t${Version}\t${db:Status-Abbrev}\t${Installed-Size}\n"}
	for _, c := range list {
		argv = append(argv, c.Package)
	}
	if len(list) == 0 {
		return nil
	}
	out := map[string]status{}
	res, err := w.in.runner.Run(context.WithoutCancel(ctx), run.Cmd{Argv: argv, Timeout: simulateTimeout, MaxOutput: 8 << 20})
	if err != nil {
		return out // exit code 1 only says that some are not known
	}
	for line := range strings.Lines(string(res.Stdout)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) == 5 {
			out[f[0]+":"+w.effective(f[1])] = status{version: f[2], abbrev: strings.TrimSpace(f[3]), size: number(f[4]) * 1024}
		}
	}
	return out
}

// dpkg is a dpkg command with the task's conffile policy.
func (w *workspace) dpkg(timeout time.Duration, onLine func(run.Stream, string), args ...string) run.Cmd {
	argv := append([]string{"dpkg"}, conffileOptions(w.job.Conffile)...)
	return run.Cmd{Argv: append(argv, args...), Env: w.env(), Timeout: timeout, OnLine: onLine, Grace: grace}
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
func (w *workspace) repair(ctx context.Context, report func(install.Progress), onLine func(run.Stream, string)) error {
	for {
		if err := w.waitForLock(ctx, report); err != nil {
			return err
		}
		audit, err := w.in.runner.Run(ctx, run.Cmd{Argv: []string{"dpkg", "--audit"}, Timeout: simulateTimeout, MaxOutput: maxOutput})
		if err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "apt: look for an interrupted dpkg")
		}
		if len(audit.Stdout) == 0 && !interruptedDpkg() {
			return nil
		}
		report(install.Progress{Line: "dpkg was interrupted: letting it finish"})
		res, err := w.in.runner.Run(ctx, w.dpkg(repairTimeout, onLine, "--configure", "-a"))
		if err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "apt: repair an interrupted dpkg")
		}
		if !strings.Contains(string(res.Stderr), "lock was locked by another process") {
			return nil
		}
	}
}
