package apt

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// diskMargin is left free on the disk beyond what apt says it needs.
const diskMargin = 64 << 20

// begun is kept before anything is changed, for Recover.
type begun struct {
	Started time.Time       `json:"started"`
	Changes []deploy.Change `json:"changes"`
	// Auto are packages that were marked as automatically installed; asking
	// apt for an exact version would lose the mark.
	Auto    []string         `json:"auto,omitempty"`
	Refused []deploy.Refusal `json:"refused,omitempty"`
}

// Install makes the transaction. It returns an error when nothing was changed
// (Exhausted for a full disk, Unavailable for a lock that was not released);
// what went wrong on the way is in the result's Failures. What counts is what
// dpkg says afterwards, never an exit code alone.
func (in *Installer) Install(ctx context.Context, job install.Job, report func(install.Progress)) (deploy.Result, error) {
	res := deploy.Result{Attempt: job.Attempt, Started: time.Now().UTC()}
	w, err := in.open(ctx, job)
	if err != nil {
		return res, err
	}
	if err := w.waitForLock(ctx, report); err != nil {
		return res, err
	}
	if _, err := w.repair(ctx); err != nil {
		return res, err
	}
	plan, specs, err := w.plan(ctx)
	if err != nil {
		return res, err
	}
	res.Refused = plan.Refused
	if len(specs) == 0 {
		res.Ended = time.Now().UTC()
		return res, nil
	}
	if err := w.ready(ctx, plan); err != nil {
		return res, err
	}
	b := begun{Started: res.Started, Changes: plan.Changes, Refused: plan.Refused, Auto: w.autoMarks(ctx, specs)}
	if err := w.keepBegun(b); err != nil {
		return res, err
	}
	return w.transact(ctx, b, specs, res, report)
}

// ready checks the disk and puts every file of the plan into its place.
func (w *workspace) ready(ctx context.Context, plan deploy.Plan) error {
	need := plan.DiskBytes + diskMargin
	for _, dir := range []string{"/usr", "/var"} {
		free, err := freeBytes(dir)
		if err == nil && free < need {
			return fault.New(fault.Exhausted, "%s has %d MiB free, the installation needs %d MiB with a margin; nothing was changed", dir, free>>20, need>>20).
				WithHint("free some space on the endpoint; the next attempt goes on by itself")
		}
	}
	root, err := os.OpenRoot(w.dir)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "apt: open the work folder")
	}
	defer root.Close()
	for _, p := range plan.Payloads {
		from, err := w.job.Payload(ctx, p.SHA256)
		if err != nil {
			return fault.Wrap(err, fault.CodeOf(err), "apt: payload %s", filepath.Base(p.Name))
		}
		name := poolName(p)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fault.Wrap(err, diskCode(err), "apt: make a folder for %s", name)
		}
		if err := root.Symlink(from, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return fault.Wrap(err, diskCode(err), "apt: place %s", name)
		}
	}
	return nil
}

// transact runs apt-get, and once more for what a failing package kept back.
func (w *workspace) transact(ctx context.Context, b begun, specs []spec, res deploy.Result, report func(install.Progress)) (deploy.Result, error) {
	timeout := w.job.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	log := newOutput(len(b.Changes), report)
	r, err := w.aptGet(ctx, timeout, log.line, append([]string{"install"}, argsOf(specs)...)...)
	res.ExitCode = r.ExitCode
	if err == nil && r.ExitCode != 0 {
		w.finishOthers(ctx, b, specs, log)
	}
	w.restoreMarks(ctx, b.Auto)
	res.Output = log.tail()
	w.judge(ctx, b, log, &res)
	res.Ended = time.Now().UTC()
	if err != nil {
		return res, w.interrupted(err, res)
	}
	w.dropBegun()
	return res, nil
}

func (w *workspace) interrupted(err error, res deploy.Result) error {
	if len(res.Failures) == 0 {
		return nil // everything is at its version although apt was stopped
	}
	return fault.Wrap(err, fault.CodeOf(err), "apt: the installation was stopped before its end; %d packages are not done", len(res.Failures))
}

// finishOthers configures what a failing package left behind it and installs
// the packages that apt did not reach.
func (w *workspace) finishOthers(ctx context.Context, b begun, specs []spec, log *output) {
	_, _ = w.in.runner.Run(ctx, w.dpkg(repairTimeout, log.line, "--configure", "-a"))
	have := w.versions(ctx, b.Changes)
	var rest []spec
	for _, s := range specs {
		st := have[s.key()]
		if st.version != s.version && log.reasons[s.name] == "" {
			rest = append(rest, s)
		}
	}
	if len(rest) > 0 && len(rest) < len(specs) {
		_, _ = w.aptGet(ctx, defaultTimeout, log.line, append([]string{"install"}, argsOf(rest)...)...)
	}
}

// judge asks dpkg what is installed and sorts the plan's changes into done and
// failed.
func (w *workspace) judge(ctx context.Context, b begun, log *output, res *deploy.Result) {
	have := w.versions(ctx, b.Changes)
	for _, c := range b.Changes {
		st := have[c.Package+":"+w.effective(c.Arch)]
		if st.version == c.To && st.ok() {
			res.Changes = append(res.Changes, c)
			continue
		}
		reason := log.reasons[c.Package]
		switch {
		case reason != "":
		case st.version == c.To:
			reason = "dpkg left it " + st.word()
		case log.general != "":
			reason = log.general
		default:
			reason = "dpkg still has version " + orNone(st.version)
		}
		res.Failures = append(res.Failures, deploy.ItemError{Package: c.Package, Version: c.To, Reason: reason})
	}
}

func orNone(v string) string {
	if v == "" {
		return "none"
	}
	return v
}

func (w *workspace) effective(arch string) string { return w.job.Snapshot.OS.EffectiveArch(arch) }

func (w *workspace) keepBegun(b begun) error {
	body, err := json.Marshal(b)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "apt: keep the transaction")
	}
	f, err := os.OpenFile(w.begunPath(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(body)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fault.Wrap(err, diskCode(err), "apt: keep the transaction")
	}
	return nil
}

func (w *workspace) begunPath() string { return filepath.Join(w.job.Dir, "begun.json") }

func (w *workspace) dropBegun() { _ = os.Remove(w.begunPath()) }

// autoMarks returns which of the packages are marked as automatically
// installed.
func (w *workspace) autoMarks(ctx context.Context, specs []spec) []string {
	argv := []string{"apt-mark", "showauto"}
	for _, s := range specs {
		argv = append(argv, s.key())
	}
	res, err := w.in.runner.Run(ctx, run.Cmd{Argv: argv, Timeout: simulateTimeout})
	if err != nil || res.ExitCode != 0 {
		return nil
	}
	return strings.Fields(string(res.Stdout))
}

func (w *workspace) restoreMarks(ctx context.Context, auto []string) {
	if len(auto) == 0 {
		return
	}
	_, _ = w.in.runner.Run(context.WithoutCancel(ctx), run.Cmd{Argv: append([]string{"apt-mark", "auto"}, auto...), Timeout: simulateTimeout})
}
