package apt

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

// begun is kept before anything is changed, for Recover.
type begun struct {
	Attempt int             `json:"attempt"`
	Started time.Time       `json:"started"`
	Changes []deploy.Change `json:"changes"`
	// Auto are packages that were marked as automatically installed; asking
	// apt for an exact version would lose the mark.
	Auto    []string         `json:"auto,omitempty"`
	Refused []deploy.Refusal `json:"refused,omitempty"`
}

// begin describes the transaction. When an earlier Install of the same attempt
// was cut off, what it had begun belongs to it.
func (w *workspace) begin(ctx context.Context, plan deploy.Plan, specs []spec, now time.Time) begun {
	b := begun{Attempt: w.job.Attempt, Started: now, Changes: plan.Changes, Refused: plan.Refused}
	if len(specs) > 0 {
		b.Auto = w.autoMarks(ctx, specs)
	}
	old, ok := w.readBegun()
	if !ok {
		return b
	}
	b.Auto = append(b.Auto, old.Auto...)
	if old.Attempt != b.Attempt {
		return b
	}
	b.Started = old.Started
	all := slices.Clone(old.Changes)
	for _, c := range b.Changes {
		if !slices.ContainsFunc(all, func(o deploy.Change) bool { return o.Package == c.Package && o.Arch == c.Arch }) {
			all = append(all, c)
		}
	}
	b.Changes = all
	return b
}

func (w *workspace) begunPath() string { return filepath.Join(w.job.Dir, "begun.json") }

func (w *workspace) readBegun() (b begun, ok bool) {
	body, err := os.ReadFile(w.begunPath())
	return b, err == nil && json.Unmarshal(body, &b) == nil
}

func (w *workspace) keepBegun(b begun) error {
	body, err := json.Marshal(b)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "apt: keep the transaction")
	}
	if err := atomicfile.Write(w.begunPath(), body, 0o600); err != nil {
		return fault.Wrap(err, diskCode(err), "apt: can't note what is about to be done; nothing was changed")
	}
	return nil
}

func (w *workspace) dropBegun() { _ = os.Remove(w.begunPath()) }

// Recover looks at the machine after the agent was stopped during Install. It
// waits for an apt that still runs, repairs an interrupted dpkg and reports
// whether the transaction is done. When it is not, Install goes on with what
// is left and its result covers the whole; apt installs nothing twice.
func (in *Installer) Recover(ctx context.Context, job install.Job) (deploy.Result, bool, error) {
	dir, err := filepath.Abs(filepath.Join(job.Dir, "apt"))
	if err != nil {
		return deploy.Result{}, false, fault.Wrap(err, fault.Internal, "apt: work folder")
	}
	w := &workspace{in: in, job: job, dir: dir}
	res := deploy.Result{Attempt: job.Attempt, Started: time.Now().UTC()}
	b, ok := w.readBegun()
	if !ok || b.Attempt != job.Attempt {
		return res, false, nil // it had not begun to change anything
	}
	res.Started, res.Refused = b.Started, b.Refused
	silent := func(install.Progress) {}
	log := newOutput(len(b.Changes), silent)
	if err := w.repair(ctx, silent, log.line); err != nil {
		return res, false, err
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
