package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wire"
)

// stepName names what a child process does.
type stepName string

// The steps.
const (
	stepScan     stepName = "scan"     // take the inventory, keep it as sections
	stepUpload   stepName = "upload"   // send the sections that the server wants
	stepSync     stepName = "sync"     // follow the signed repository
	stepPlan     stepName = "plan"     // simulate
	stepDownload stepName = "download" // bring the plan's payloads here
	stepInstall  stepName = "install"
	stepRecover  stepName = "recover" // after a crash: what came of it
	stepVerify   stepName = "verify"
)

// stepRequest is what the child reads from standard input.
type stepRequest struct {
	Step  stepName                `json:"step"`
	Order *wire.Order             `json:"order,omitempty"`
	Want  []inventory.SectionName `json:"want,omitempty"`
}

// stepReply is the child's last line. Only what belongs to the step is set.
type stepReply struct {
	Summary  *summary              `json:"summary,omitempty"`
	Catalog  int64                 `json:"catalog,omitempty"`
	Plan     *deploy.Plan          `json:"plan,omitempty"`
	Result   *deploy.Result        `json:"result,omitempty"`
	Done     bool                  `json:"done,omitempty"`
	Verdicts []deploy.PatchVerdict `json:"verdicts,omitempty"`
	Fault    *fault.Error          `json:"fault,omitempty"`
	// Damaged is the SHA-256 of the payload that the server sent wrong bytes
	// of, with a Fault that tells so.
	Damaged string `json:"damaged,omitempty"`
}

// stepLine is one line of the child's standard output: progress, or the reply.
type stepLine struct {
	Progress *install.Progress `json:"progress,omitempty"`
	Reply    *stepReply        `json:"reply,omitempty"`
}

// Step is the child process: it reads one request, does it and writes lines.
// The returned error is about the pipes alone; what went wrong with the work
// stands in the reply.
func Step(ctx context.Context, cfg Config, in io.Reader, out io.Writer) error {
	var req stepRequest
	if err := json.NewDecoder(io.LimitReader(in, maxStateFile)).Decode(&req); err != nil {
		return fault.Wrap(err, fault.Invalid, "agent: a step needs a request on standard input")
	}
	enc := json.NewEncoder(out)
	var mu sync.Mutex
	reply, err := doStep(ctx, cfg, req, func(p install.Progress) {
		mu.Lock()
		defer mu.Unlock()
		_ = enc.Encode(stepLine{Progress: &p}) // the parent may be gone: the work goes on
	})
	if err != nil {
		reply.Fault = public(err)
		if d, ok := errors.AsType[link.Damaged](err); ok {
			reply.Damaged = d.SHA256
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return enc.Encode(stepLine{Reply: &reply})
}

// public keeps what may be shown; private causes go to the log of the parent
// as part of the message when there is no fault at all.
func public(err error) *fault.Error {
	e := fault.New(fault.CodeOf(err), "%s", fault.Public(err))
	if e.Code == fault.Internal {
		e.Message = err.Error() // the reader is this machine's own agent
	}
	e.Hint = fault.HintOf(err)
	return e
}

func doStep(ctx context.Context, cfg Config, req stepRequest, tell func(install.Progress)) (stepReply, error) {
	switch req.Step {
	case stepScan:
		s, err := takeStock(ctx, cfg, time.Now())
		return stepReply{Summary: s}, err
	case stepSync:
		v, err := follow(ctx, cfg)
		return stepReply{Catalog: v}, err
	case stepUpload:
		return stepReply{}, upload(ctx, cfg, req.Want)
	}
	if req.Order == nil {
		return stepReply{}, fault.New(fault.Internal, "agent: step %q needs an order", req.Step)
	}
	unlock, err := lock(ctx, cfg.State.stepLock())
	if err != nil {
		return stepReply{}, err
	}
	defer unlock()
	return workOn(ctx, cfg, req, tell)
}

// workOn does a step of an order. Only one such step runs at a time, and one
// that outlived its agent is waited for.
func workOn(ctx context.Context, cfg Config, req stepRequest, tell func(install.Progress)) (stepReply, error) {
	order := *req.Order
	if err := allowed(cfg, req.Step, order); err != nil {
		return stepReply{}, err
	}
	var c *link.Client
	id, err := cfg.State.identity()
	if err == nil {
		c, err = id.connect()
	}
	if err != nil {
		return stepReply{}, err
	}
	defer c.Close()
	if err := haveCatalog(ctx, cfg, c, order.Catalog); err != nil {
		return stepReply{}, err
	}
	if err := current(cfg, c, req.Step); err != nil {
		return stepReply{}, err
	}
	b, err := setUp(ctx, cfg, order, c, req.Step == stepVerify)
	if err != nil {
		return stepReply{}, err
	}
	defer b.Close()
	b.onProgress = func(percent int, text string) { tell(install.Progress{Percent: percent, Line: text}) }
	switch req.Step {
	case stepPlan:
		return b.plan(ctx)
	case stepDownload:
		return b.fetchPlan(ctx)
	case stepInstall:
		return b.install(ctx, tell)
	case stepRecover:
		return b.recover(ctx)
	case stepVerify:
		s, err := keepStock(ctx, cfg, b.snap, nil, time.Now())
		return stepReply{Verdicts: b.verdicts(ctx, cfg.Root), Summary: s}, err
	}
	return stepReply{}, fault.New(fault.Internal, "agent: unknown step %q", req.Step)
}

// allowed asks the machine's own policy before anything is changed or fetched.
func allowed(cfg Config, step stepName, order wire.Order) error {
	if step != stepPlan && step != stepDownload && step != stepInstall {
		return nil
	}
	p, err := loadPolicy(cfg.PolicyFile)
	if err != nil {
		return err
	}
	return p.may(order.Operation, order.Patches)
}
