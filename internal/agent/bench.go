package agent

import (
	"cmp"
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

// bench is what a child process works with on one order.
type bench struct {
	dir        Dir
	root       string
	order      wire.Order
	snap       inventory.Snapshot
	shards     *shardSet
	patches    []patch.Patch // in the order in which to work on them
	restored   []patch.Patch // what a rollback puts back
	spare      []patch.Patch // what is put back when a replacement fails
	installer  Installer
	store      *link.Store
	link       *link.Client
	sizes      map[string]int64 // of payloads by hash
	onProgress func(percent int, text string)
}

func (b *bench) Close() { b.shards.Close() }

// setUp takes stock, finds the order's patches in the signed catalog and picks
// the installer.
func setUp(ctx context.Context, cfg Config, order wire.Order, c *link.Client, looking bool) (*bench, error) {
	snap, _, err := takeInventory(ctx, cfg.Root)
	if err != nil {
		return nil, err
	}
	b := &bench{dir: cfg.State, root: cfg.Root, order: order, snap: snap, link: c, sizes: map[string]int64{}}
	if b.shards, err = openVerified(cfg.State, &snap); err != nil {
		return nil, err
	}
	if err = b.resolve(cfg, looking); err == nil {
		b.store, err = link.OpenStore(cfg.State.payloads())
	}
	if err == nil {
		err = os.MkdirAll(cfg.State.work(order.Task), 0o700)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	b.learnSizes()
	return b, nil
}

// resolve finds what the order means in the signed catalog, and who does it.
// Who only looks needs no installer: the machine is asked, not changed.
func (b *bench) resolve(cfg Config, looking bool) (err error) {
	if b.patches, err = lookUp(b.shards, b.order.Patches, looking); err != nil {
		return err
	}
	if b.order.Operation == deploy.Rollback {
		b.patches = reversed(b.patches)
		if b.restored, err = restored(b.shards, b.patches); err != nil && !looking {
			return err
		}
		if err := mayRestore(cfg, b.restored); err != nil && !looking {
			return err
		}
	}
	if !looking {
		if b.order.Operation != deploy.Rollback {
			b.spare = spares(cfg, b.shards, b.patches)
		}
		b.installer, err = pick(cfg.Installers, b.patches, slices.Concat(b.restored, b.spare))
		return err
	}
	return nil
}

// mayRestore asks the machine's policy about what a rollback would put back.
func mayRestore(cfg Config, patches []patch.Patch) error {
	p, err := loadPolicy(cfg.PolicyFile)
	if err != nil {
		return err
	}
	for _, one := range patches {
		if err := p.refuses(one.ID); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) learnSizes() {
	for _, p := range slices.Concat(b.patches, b.restored, b.spare) {
		for _, it := range p.Items {
			b.sizes[it.Payload.SHA256] = it.Payload.Size
		}
	}
	for _, a := range b.archives() {
		b.sizes[a.InRelease.SHA256] = a.InRelease.Size
		for _, i := range a.Indexes {
			b.sizes[i.Blob.SHA256] = i.Blob.Size
		}
	}
	// What comes along with them stands in the plan alone.
	var p deploy.Plan
	if readJSON(b.planFile(), &p) == nil {
		for _, x := range p.Payloads {
			b.sizes[x.SHA256] = x.Size
		}
	}
}

func (b *bench) archives() []catalog.Archive {
	var out []catalog.Archive
	for _, s := range b.shards.list {
		out = append(out, s.Header().Archives...)
	}
	return out
}

// codeSigning joins what the shards say about whose signatures count.
func (b *bench) codeSigning() *catalog.CodeSigning {
	var out *catalog.CodeSigning
	for _, s := range b.shards.list {
		if h := s.Header().CodeSigning; h != nil {
			out = cmp.Or(out, &catalog.CodeSigning{})
			out.Roots = append(out.Roots, h.Roots...)
			out.TimestampRoots = append(out.TimestampRoots, h.TimestampRoots...)
		}
	}
	return out
}

func (b *bench) job() install.Job {
	o := b.order
	return install.Job{
		Task: o.Task, Attempt: o.Attempt, Operation: o.Operation, Patches: b.patches, Restored: slices.Concat(b.restored, b.spare),
		CodeSigning: b.codeSigning(), Archives: b.archives(), Snapshot: &b.snap,
		Conffile: cmp.Or(o.Conffile, deploy.KeepOld), Payload: b.payload,
		Timeout: time.Duration(min(max(o.Timeout, 0), 86400)) * time.Second, Dir: b.dir.work(o.Task),
	}
}

func (b *bench) payload(ctx context.Context, sum string) (string, error) {
	size, known := b.sizes[sum]
	if !known {
		size = -1
	}
	return b.store.Fetch(ctx, b.link, sum, size, nil)
}

// download brings every payload of the plan onto the machine.
func (b *bench) download(ctx context.Context, plan deploy.Plan) error {
	var total, done int64
	for _, p := range plan.Payloads {
		total += p.Size
	}
	for _, p := range plan.Payloads {
		before := done
		_, err := b.store.Fetch(ctx, b.link, p.SHA256, p.Size, func(n int64) {
			b.tell(int((before+n)*100/max(total, 1)), path.Base(p.Name))
		})
		if err != nil && p.Name != "" {
			return fault.Wrap(err, fault.CodeOf(err), "file %s", path.Base(p.Name))
		}
		if err != nil {
			return err
		}
		done += p.Size
	}
	return nil
}

func (b *bench) tell(percent int, text string) {
	if b.onProgress != nil {
		b.onProgress(min(max(percent, 0), 100), text)
	}
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

// install writes the result to disk, if it can, before it tells the agent, which
// may have died meanwhile: recover finds it there.
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
		// What was done is done: the result must not be lost over it.
		r.Output += "\nhow the machine is after it could not be learned: " + fault.Public(err) + "\n"
	}
	if err := writeJSON(b.resultFile(), r); err != nil {
		// The file is for an agent that dies before it has heard: what was done
		// is not to be called a failure for want of space.
		r.Output += "\nthe result could not be written down on this machine: " + fault.Public(err) + "\n"
	}
	return stepReply{Result: &r, Done: true}, nil
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
