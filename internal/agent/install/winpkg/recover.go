package winpkg

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
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// begun is kept before anything is changed, for Recover.
type begun struct {
	Attempt int         `json:"attempt"`
	Started time.Time   `json:"started"`
	Steps   []begunStep `json:"steps"`
	// Before is what Windows listed.
	Before []inventory.Package `json:"before"`
}

type begunStep struct {
	Patch   patch.ID `json:"patch"`
	Undo    bool     `json:"undo,omitempty"`
	Follows patch.ID `json:"follows,omitempty"`
}

func begunPath(job install.Job) string { return filepath.Join(job.Dir, "begun.json") }

func readBegun(job install.Job) (b begun, ok bool) {
	body, err := os.ReadFile(begunPath(job))
	return b, err == nil && json.Unmarshal(body, &b) == nil && b.Attempt == job.Attempt
}

func dropBegun(job install.Job) { _ = os.Remove(begunPath(job)) }

// begin notes what is about to be done. When an earlier Install of the same
// attempt was cut off, what it changed belongs to this one.
func (s *session) begin(ctx context.Context, steps []step) error {
	have, err := s.in.stock(ctx)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "winpkg: can't read what is installed; nothing was changed")
	}
	s.begun = begun{Attempt: s.job.Attempt, Started: s.res.Started, Before: have}
	if old, ok := readBegun(s.job); ok {
		s.begun.Started, s.begun.Before = old.Started, old.Before
		s.res.Started = old.Started
	}
	for _, st := range steps {
		if st.replaces { // also when an attempt before this one has made the room
			s.begun.Steps = append(s.begun.Steps, begunStep{st.patch.ID, true, st.follows})
		}
		s.begun.Steps = append(s.begun.Steps, begunStep{st.patch.ID, st.undo, st.follows})
	}
	body, err := json.Marshal(s.begun)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "winpkg: keep what is about to be done")
	}
	if err := atomicfile.Write(begunPath(s.job), body, 0o600); err != nil {
		return fault.Wrap(err, diskCode(err), "winpkg: can't note what is about to be done; nothing was changed")
	}
	return nil
}

// Recover looks at the machine after an Install that was cut off. It waits for
// installers that still run, then asks Windows what it lists. Done means that
// nothing of the job is left to do; else Install may go on with what is left,
// and its result covers the whole. An installation that Windows Installer has
// suspended is rolled back by Windows Installer itself when the next one begins.
func (in *Installer) Recover(ctx context.Context, job install.Job) (deploy.Result, bool, error) {
	res := deploy.Result{Attempt: job.Attempt, Started: time.Now().UTC()}
	b, ok := readBegun(job)
	if !ok {
		return res, false, nil // it had not begun to change anything
	}
	res.Started = b.Started
	timeout := job.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for still := stillRuns(job.Dir); still != ""; still = stillRuns(job.Dir) {
		if !pause(ctx, settlePause) {
			return res, false, fault.New(fault.Unavailable, "an installer that was begun before the agent was stopped still runs: %s", still).
				WithHint("see on the machine what it waits for")
		}
	}
	have, err := in.stock(ctx)
	if err != nil {
		return res, false, fault.Wrap(err, fault.CodeOf(err), "winpkg: can't read what is installed")
	}
	job.Snapshot = with(job.Snapshot, have)
	plan, left := in.plan(job)
	s := &session{in: in, job: job, begun: b, res: res}
	s.res.Changes = s.changes(have)
	s.res.Refused, s.res.Ended = plan.Refused, time.Now().UTC()
	if len(left) > 0 {
		return s.res, false, nil
	}
	s.res.Output = suspended()
	dropBegun(job)
	return s.res, true, nil
}

// with returns the snapshot with the products as Windows lists them now.
func with(snap *inventory.Snapshot, products []inventory.Package) *inventory.Snapshot {
	out := *snap
	out.Packages = list(products).Packages
	for _, p := range snap.Packages {
		told := p.Kind == inventory.KindProduct || slices.ContainsFunc(products, func(o inventory.Package) bool { return o.Kind == p.Kind })
		if !told {
			out.Packages = append(out.Packages, p)
		}
	}
	out.Packages = list(out.Packages).Packages
	return &out
}
