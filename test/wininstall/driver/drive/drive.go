// Package drive is what the driver does: plan, install or recover one job with
// the installers as the agent has them, with this machine's own inventory.
package drive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/agent/collect/winapps"
	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/install/winpkg/all"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
	"github.com/fettlehq/fettle/test/lab/endtime"
)

// Request is one job.
type Request struct {
	Do          string // plan, install, recover, stock
	Attempt     int
	Operation   deploy.Operation
	Patches     []patch.Patch
	Restored    []patch.Patch
	CodeSigning *catalog.CodeSigning
	Dir         string
	Timeout     time.Duration
	// Payloads are the paths of files by SHA-256, as the agent's store has them.
	Payloads map[string]string
	// Busy holds Windows Installer's mutex, as another installation would, until
	// somebody waits for it, with Stay until the driver ends.
	Busy, Stay bool
	// UpAt are words of a line that end the job's time, a few seconds after it
	// was told: so a test decides when the time is up, not how fast the machine is.
	UpAt string
}

// Reply is what came of it.
type Reply struct {
	Plan   *deploy.Plan
	Result *deploy.Result
	Done   bool
	Code   fault.Code
	Error  string // what people are shown
	Cause  string // what the log is told
	Lines  []string
	Stock  []inventory.Package
}

// Main reads a Request, does it and writes a Reply.
func Main(in io.Reader, out io.Writer) int {
	var req Request
	if err := json.NewDecoder(in).Decode(&req); err != nil {
		fmt.Fprintln(out, err)
		return 2
	}
	reply, err := do(context.Background(), req)
	if err != nil {
		reply.Code, reply.Error, reply.Cause = fault.CodeOf(err), fault.Public(err), err.Error()
	}
	if err := json.NewEncoder(out).Encode(reply); err != nil {
		return 2
	}
	return 0
}

func do(ctx context.Context, req Request) (Reply, error) {
	var r Reply
	snap, err := look(ctx)
	if err != nil {
		return r, err
	}
	if req.Do == "stock" {
		r.Stock = snap.Packages
		return r, nil
	}
	ctx, tell, waited := watch(ctx, req, &r)
	if req.Busy {
		if err := occupy(waited); err != nil {
			return r, err
		}
	}
	in := all.New(run.OS{}, func(ctx context.Context) ([]inventory.Package, error) {
		s, err := look(ctx)
		return s.Packages, err
	})
	job := install.Job{
		Task: "t1", Attempt: max(req.Attempt, 1), Operation: req.Operation, Patches: req.Patches, Restored: req.Restored,
		CodeSigning: req.CodeSigning, Snapshot: &snap, Timeout: req.Timeout, Dir: req.Dir,
		Payload: func(_ context.Context, sum string) (string, error) {
			if p, ok := req.Payloads[sum]; ok {
				return p, nil
			}
			return "", fault.New(fault.Unavailable, "no payload %s", sum)
		},
	}
	switch req.Do {
	case "plan":
		var p deploy.Plan
		p, err = in.Plan(ctx, job)
		r.Plan = &p
	case "install":
		var res deploy.Result
		res, err = in.Install(ctx, job, tell)
		r.Result = &res
	case "recover":
		var res deploy.Result
		res, r.Done, err = in.Recover(ctx, job)
		r.Result = &res
	default:
		err = errors.New("what is " + req.Do)
	}
	return r, err
}

// watch keeps the lines that tell is given, and does what the request wants to
// be done when some line comes: end the context, close waited.
func watch(ctx context.Context, req Request, r *Reply) (_ context.Context, tell func(install.Progress), waited chan struct{}) {
	ctx, end := endtime.Context(ctx)
	waited = make(chan struct{})
	var wait sync.Once
	return ctx, func(p install.Progress) {
		r.Lines = append(r.Lines, p.Line)
		if !req.Stay && strings.HasPrefix(p.Line, "waiting: ") {
			wait.Do(func() { close(waited) })
		}
		if req.UpAt != "" && strings.Contains(p.Line, req.UpAt) {
			time.AfterFunc(3*time.Second, end)
		}
	}, waited
}

// look takes stock of the products alone.
func look(ctx context.Context) (inventory.Snapshot, error) {
	s := inventory.Snapshot{OS: inventory.OS{Family: "windows", ID: "windows-10", Version: "1903", Arch: "amd64"}}
	t, err := collect.Open("/")
	if err != nil {
		return s, err
	}
	if err := winapps.Collector().Collect(ctx, t, &s); err != nil && len(s.Packages) == 0 {
		return s, errors.Join(err, t.Close())
	}
	return s, t.Close()
}
