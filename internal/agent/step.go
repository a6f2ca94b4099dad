package agent

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/repo/client"
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
}

// stepLine is one line of the child's standard output: progress, or the reply.
type stepLine struct {
	Progress *install.Progress `json:"progress,omitempty"`
	Reply    *stepReply        `json:"reply,omitempty"`
}

// summary is what the agent keeps in memory of a scan.
type summary struct {
	Root     string              `json:"root"`
	Sections []inventory.Section `json:"sections"` // hashes, no bodies
	Scanned  time.Time           `json:"scanned"`
	BootID   string              `json:"boot_id,omitempty"`
	BootTime time.Time           `json:"boot_time,omitzero"`
	// Platforms are the native and the foreign ones.
	Platforms []string `json:"platforms"`
	RebootDue bool     `json:"reboot_due,omitempty"`
	Packages  int      `json:"packages"`
	Problems  []string `json:"problems,omitempty"`
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
		s, err := keepStock(cfg, b.snap, nil, time.Now())
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
	return p.mayInstall(order.Patches)
}

// haveCatalog makes sure that the agent's catalog is not older than the order.
func haveCatalog(ctx context.Context, cfg Config, c *link.Client, version int64) error {
	s, err := cfg.State.readSummary()
	if err != nil {
		return err
	}
	t, err := c.Repository()
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, cfg.State.syncLock())
	if err != nil {
		return err
	}
	defer unlock()
	have, _ := keptShard(cfg.State, s.Platforms[0]) // none counts as version 0
	if have.Version > 0 && have.Version >= version && fresh(cfg.State, t, time.Now()) == nil {
		return nil
	}
	_, err = syncCatalog(ctx, cfg.State, t, s.Platforms, time.Now())
	if again, _ := keptShard(cfg.State, s.Platforms[0]); again.Version > 0 {
		return nil // what it holds decides; the digest is checked in any case
	}
	return err
}

// fresh refuses (Untrusted) a catalog whose signatures have expired: somebody
// may be keeping newer ones away.
func fresh(d Dir, t client.Transport, now time.Time) error {
	c, err := openRepository(d, t)
	if err != nil {
		return err
	}
	if st := c.Status(); st.Expired(now) {
		return fault.New(fault.Untrusted, "agent: the catalog's signatures expired at %s; nothing is installed from it", st.Expires.UTC().Format(time.RFC3339)).
			WithHint("is the publisher running, and does the server synchronise? 'fettle status' tells")
	}
	return nil
}

// current refuses to begin anything from an expired catalog. What has begun is
// seen to its end all the same.
func current(cfg Config, c *link.Client, step stepName) error {
	if step != stepPlan && step != stepDownload && step != stepInstall {
		return nil
	}
	t, err := c.Repository()
	if err != nil {
		return err
	}
	return fresh(cfg.State, t, time.Now())
}

func (b *bench) planFile() string {
	return filepath.Join(b.dir.work(b.order.Task), "plan-"+strconv.Itoa(b.order.Attempt)+".json")
}

func (b *bench) resultFile() string {
	return filepath.Join(b.dir.work(b.order.Task), "result-"+strconv.Itoa(b.order.Attempt)+".json")
}

func (b *bench) plan(ctx context.Context) (stepReply, error) {
	p, err := b.installer.Plan(ctx, b.job())
	if err != nil {
		return stepReply{}, err
	}
	return stepReply{Plan: &p}, writeJSON(b.planFile(), p)
}

func (b *bench) fetchPlan(ctx context.Context) (stepReply, error) {
	var p deploy.Plan
	err := readJSON(b.planFile(), &p)
	if fault.Is(err, fault.NotFound) {
		p, err = b.installer.Plan(ctx, b.job())
	}
	if err != nil {
		return stepReply{}, err
	}
	return stepReply{}, b.download(ctx, p)
}

// install writes the result to disk before it tells the agent, which may have
// died meanwhile: recover finds it there.
func (b *bench) install(ctx context.Context, tell func(install.Progress)) (stepReply, error) {
	r, err := b.installer.Install(ctx, b.job(), tell)
	if err != nil {
		return stepReply{}, err
	}
	return b.done(ctx, b.snap.State, r)
}

// done looks at what the installation left behind and keeps the result.
func (b *bench) done(ctx context.Context, before inventory.State, r deploy.Result) (stepReply, error) {
	r.Attempt = b.order.Attempt
	if err := aftermath(ctx, b.root, before, b.order.RestartServices, &r); err != nil {
		return stepReply{}, err
	}
	return stepReply{Result: &r, Done: true}, writeJSON(b.resultFile(), r)
}

func (b *bench) recover(ctx context.Context) (stepReply, error) {
	var r deploy.Result
	if err := readJSON(b.resultFile(), &r); err == nil {
		return stepReply{Result: &r, Done: true}, nil
	}
	r, done, err := b.installer.Recover(ctx, b.job())
	if err != nil || !done {
		return stepReply{}, err
	}
	return b.done(ctx, inventory.State{}, r) // what was due before the cut is not known: any due reboot counts
}

// takeStock scans and keeps the sections for later uploads.
func takeStock(ctx context.Context, cfg Config, now time.Time) (*summary, error) {
	snap, problems, err := takeInventory(ctx, cfg.Root)
	if err != nil {
		return nil, err
	}
	return keepStock(cfg, snap, problems, now)
}

// bootDrift is how far the boot time, which the kernel derives from the wall
// clock, may move within one boot without being a change.
const bootDrift = 10 * time.Minute

func keepStock(cfg Config, snap inventory.Snapshot, problems []error, now time.Time) (*summary, error) {
	if old, err := cfg.State.readSummary(); err == nil && old.BootID == snap.State.BootID && old.BootTime.Sub(snap.State.BootTime).Abs() < bootDrift {
		snap.State.BootTime = old.BootTime
	}
	sections, err := inventory.Split(snap)
	if err != nil {
		return nil, err
	}
	s := &summary{
		Root: inventory.Root(sections), Scanned: now.UTC().Truncate(time.Second), BootID: snap.State.BootID,
		BootTime: snap.State.BootTime, RebootDue: snap.State.RebootDue, Packages: len(snap.Packages),
	}
	for _, arch := range append([]string{snap.OS.Arch}, snap.Policy.ForeignArchs...) {
		s.Platforms = append(s.Platforms, snap.OS.PlatformFor(arch))
	}
	for _, p := range problems {
		s.Problems = append(s.Problems, fault.Public(p))
	}
	if err := writeJSON(cfg.State.inventory(), wire.Sections{Root: s.Root, Scanned: s.Scanned, Sections: sections}); err != nil {
		return nil, err
	}
	for _, sec := range sections {
		s.Sections = append(s.Sections, inventory.Section{Name: sec.Name, Hash: sec.Hash})
	}
	return s, writeJSON(cfg.State.summary(), s)
}

func (d Dir) readSummary() (summary, error) {
	var s summary
	err := readJSON(d.summary(), &s)
	if err == nil && len(s.Platforms) == 0 {
		err = fault.New(fault.Invalid, "agent: %s is damaged", d.summary())
	}
	return s, err
}

// follow brings the catalog up to date through the gateway.
func follow(ctx context.Context, cfg Config) (int64, error) {
	unlock, err := lock(ctx, cfg.State.syncLock())
	if err != nil {
		return 0, err
	}
	defer unlock()
	s, err := cfg.State.readSummary()
	if err != nil {
		return 0, err
	}
	id, err := cfg.State.identity()
	if err != nil {
		return 0, err
	}
	c, err := id.connect()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	t, err := c.Repository()
	if err != nil {
		return 0, err
	}
	return syncCatalog(ctx, cfg.State, t, s.Platforms, time.Now())
}

// upload sends the wanted sections of the last scan.
func upload(ctx context.Context, cfg Config, want []inventory.SectionName) error {
	var all wire.Sections
	if err := readJSON(cfg.State.inventory(), &all); err != nil {
		return err
	}
	send := wire.Sections{Root: all.Root, Scanned: all.Scanned}
	for _, s := range all.Sections {
		for _, w := range want {
			if s.Name == w {
				send.Sections = append(send.Sections, s)
			}
		}
	}
	id, err := cfg.State.identity()
	if err != nil {
		return err
	}
	c, err := id.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	return c.PutSections(ctx, send)
}

// removeWork removes a task's private folder once the task has ended.
func (d Dir) removeWork(id deploy.TaskID) error {
	if err := os.RemoveAll(d.work(id)); err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't remove the folder %s", d.work(id))
	}
	return nil
}
