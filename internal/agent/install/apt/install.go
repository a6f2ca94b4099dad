package apt

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

// diskMargin is left free on the disk beyond what apt says it needs.
const diskMargin = 64 << 20

// bootMargin is asked of /boot before a kernel comes: its image, and its
// initramfs twice while it is written.
const bootMargin = 160 << 20

// Install makes the transaction. It returns an error when nothing was changed
// (Exhausted for a full disk, Unavailable for a lock that was not released,
// Untrusted for a file that apt refuses), and Cancelled when the time was up
// or ctx ended. What went wrong on the way is in the result's Failures. What
// counts is what dpkg says afterwards, never an exit code alone.
func (in *Installer) Install(ctx context.Context, job install.Job, report func(install.Progress)) (deploy.Result, error) {
	res := deploy.Result{Attempt: job.Attempt, Started: time.Now().UTC()}
	timeout := job.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w, err := in.open(ctx, job)
	if err != nil {
		return res, err
	}
	if err := w.repair(ctx, report, nil); err != nil {
		return res, err
	}
	plan, specs, err := w.plan(ctx)
	if err != nil {
		return res, err
	}
	b := w.begin(ctx, plan, specs, res.Started)
	res.Started, res.Refused = b.Started, b.Refused
	if len(specs) == 0 {
		w.judge(ctx, b, newOutput(0, report), &res)
		res.Ended = time.Now().UTC()
		return res, nil
	}
	if err := w.ready(ctx, plan); err != nil {
		return res, err
	}
	if err := w.keepBegun(b); err != nil {
		return res, err
	}
	return w.transact(ctx, b, specs, res, report)
}

// room checks the disk for the transaction.
func (w *workspace) room(plan deploy.Plan) error {
	needs := map[string]int64{"/usr": plan.DiskBytes + diskMargin, "/var": plan.DiskBytes + diskMargin}
	if slices.ContainsFunc(plan.Changes, func(c deploy.Change) bool { return strings.HasPrefix(c.Package, "linux-image-") && c.From == "" }) {
		needs["/boot"] = bootMargin
	}
	for _, dir := range slices.Sorted(maps.Keys(needs)) {
		free, err := freeBytes(dir)
		if err == nil && free < needs[dir] {
			return fault.New(fault.Exhausted, "%s has %d MiB free, the installation needs %d MiB with a margin; nothing was changed", dir, free>>20, needs[dir]>>20).
				WithHint("free some space on the endpoint; the next attempt goes on by itself")
		}
	}
	return nil
}

// ready checks the disk, before and after it brings what is not here yet, and
// puts every file of the plan into its place.
func (w *workspace) ready(ctx context.Context, plan deploy.Plan) error {
	if err := w.room(plan); err != nil {
		return err
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
	return w.room(plan)
}

// transact runs apt-get, and once more for what a failing package kept back.
func (w *workspace) transact(ctx context.Context, b begun, specs []spec, res deploy.Result, report func(install.Progress)) (deploy.Result, error) {
	log := newOutput(len(b.Changes), report)
	r, err := w.aptGet(ctx, 0, log.line, append([]string{"install"}, argsOf(specs)...)...)
	res.ExitCode = r.ExitCode
	switch {
	case ctx.Err() != nil:
		w.letGo(ctx)
	case (err != nil || r.ExitCode != 0) && log.touched:
		w.finishOthers(ctx, b, specs, log, err != nil)
	}
	w.restoreMarks(ctx, b.Auto)
	res.Output = log.tail()
	w.judge(ctx, b, log, &res)
	res.Ended = time.Now().UTC()
	if len(res.Failures) > 0 && ctx.Err() != nil {
		return res, stopped(ctx, b, log, res)
	}
	w.dropBegun()
	if len(res.Changes) == 0 && !log.touched && (err != nil || r.ExitCode != 0) {
		return res, refusal(err, log)
	}
	report(install.Progress{Percent: 100, Package: log.current})
	return res, nil
}

// refusal is why apt-get did not even begin.
func refusal(err error, log *output) error {
	text := strings.Join(log.errors, "; ")
	code := fault.Unavailable
	switch {
	case err != nil:
		return fault.Wrap(err, fault.CodeOf(err), "apt-get ended before it changed anything")
	case strings.Contains(text, "Hash Sum mismatch"), strings.Contains(text, "unauthenticated"), strings.Contains(text, "unexpected size"):
		code = fault.Untrusted
	case strings.Contains(text, "enough free space"), strings.Contains(text, "No space left"):
		code = fault.Exhausted
	}
	if text == "" {
		text = "it gave no reason"
	}
	return fault.New(code, "apt-get refused to install, nothing was changed: %s", text)
}

// stopped is the error for a transaction that ran out of time.
func stopped(ctx context.Context, b begun, log *output, res deploy.Result) error {
	at := ""
	if log.current != "" {
		at = " at package " + log.current
	}
	return fault.Wrap(ctx.Err(), fault.Cancelled, "the installation was stopped%s before its end: %d of %d packages are done", at, len(res.Changes), len(b.Changes)).
		WithHint("the next attempt repairs what was left half done and goes on")
}

// letGo ends what a stopped apt-get has left behind: dpkg goes on without it,
// by apt's design, and so does a script that hangs. Only a dpkg that this
// installer began is touched. What it leaves half done, the next repair
// finishes.
func (w *workspace) letGo(ctx context.Context) {
	for _, end := range []func(pid int){func(int) {}, askToEnd, kill} {
		pid, path := dpkgHolder()
		if path == "" || !hasEnv(pid, w.mark()) {
			return
		}
		end(pid)
		brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace/4)
		_ = w.waitForLock(brief, func(install.Progress) {}) // still locked: the next step is harder
		cancel()
	}
}

// finishOthers configures what a failing package left behind it and installs
// the packages that apt did not reach.
func (w *workspace) finishOthers(ctx context.Context, b begun, specs []spec, log *output, died bool) {
	if left := w.undone(ctx, b, log); len(left) == 0 && !died {
		return
	}
	if err := w.repair(ctx, log.report, log.line); err != nil {
		log.errors = append(log.errors, fault.Public(err))
		return
	}
	left := w.undone(ctx, b, log)
	var rest []spec
	for _, s := range specs {
		if left[s.key()] {
			rest = append(rest, s)
		}
	}
	if len(rest) > 0 {
		_, _ = w.aptGet(ctx, 0, log.line, append([]string{"install"}, argsOf(rest)...)...) // dpkg says what came of it
	}
}

// undone names, as name:arch, the changes that are not made and for which no
// package's own failure is the reason.
func (w *workspace) undone(ctx context.Context, b begun, log *output) map[string]bool {
	out := map[string]bool{}
	have := w.versions(ctx, b.Changes)
	for _, c := range b.Changes {
		key := c.Package + ":" + w.effective(c.Arch)
		if st := have[key]; (st.version != c.To || !st.ok()) && log.reason(c.Package, key) == "" {
			out[key] = true
		}
	}
	return out
}

// judge asks dpkg what is installed and sorts the plan's changes into done and
// failed.
func (w *workspace) judge(ctx context.Context, b begun, log *output, res *deploy.Result) {
	have := w.versions(ctx, b.Changes)
	for _, c := range b.Changes {
		key := c.Package + ":" + w.effective(c.Arch)
		st := have[key]
		if st.version == c.To && st.ok() {
			res.Changes = append(res.Changes, c)
			continue
		}
		reason := log.reason(c.Package, key)
		switch {
		case reason != "":
		case log.full != "":
			reason = log.full
		case st.version == c.To:
			reason = "dpkg left it " + st.word()
		case len(log.errors) > 0:
			reason = strings.Join(log.errors, "; ")
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

// autoMarks returns which of the packages are marked as automatically
// installed.
func (w *workspace) autoMarks(ctx context.Context, specs []spec) []string {
	args := []string{"showauto"}
	for _, s := range specs {
		args = append(args, s.key())
	}
	res, err := w.aptTool(ctx, "apt-mark", simulateTimeout, nil, args...)
	if err != nil || res.ExitCode != 0 {
		return nil
	}
	return strings.Fields(string(res.Stdout))
}

func (w *workspace) restoreMarks(ctx context.Context, auto []string) {
	if len(auto) > 0 {
		_, _ = w.aptTool(context.WithoutCancel(ctx), "apt-mark", simulateTimeout, nil, append([]string{"auto"}, auto...)...)
	}
}
