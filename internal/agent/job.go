package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/agent/link"
	"github.com/fettlehq/fettle/internal/agent/probe"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

// openVerified opens the machine's shards and proves that each is, byte for
// byte, what the repository's keys have signed.
func openVerified(d Dir, snap *inventory.Snapshot) (*shardSet, error) {
	c, err := openRepository(d, nil)
	if err != nil {
		return nil, err
	}
	set, err := openShards(ScanOptions{State: d}, *snap)
	if err != nil {
		return nil, err
	}
	for i, s := range set.list {
		platform := s.Header().Platform
		target, err := c.Target(shardTarget(platform))
		if err == nil {
			var want shardInfo
			if want, err = parseShardInfo(target, platform); err == nil {
				err = checkFile(set.files[i], want)
			}
		}
		if err != nil {
			set.Close()
			return nil, err
		}
	}
	return set, nil
}

func checkFile(f *os.File, want shardInfo) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, maxShardFile)); err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't read the catalog")
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		return fault.New(fault.Untrusted, "agent: the stored catalog for %s is refused: its SHA-256 is %s where %s is signed for", want.Platform, got, want.SHA256).
			WithHint("the agent fetches it again; check the disk if this returns")
	}
	return nil
}

// lookUp returns the ordered patches from the signed catalog, in an order of
// installation. A patch that does not stand there, or stands there with other
// content than the server means, is refused: the server chooses among signed
// patches and can do nothing else. With anyDigest the record of today counts,
// for looking only: a catalog may have learned a new severity since.
func lookUp(set *shardSet, refs []deploy.PatchRef, anyDigest bool) ([]patch.Patch, error) {
	var out []patch.Patch
	for _, ref := range refs {
		p, digest, err := find(set, ref.ID)
		switch {
		case fault.Is(err, fault.NotFound):
			return nil, fault.Wrap(err, fault.Untrusted, "refused: patch %s does not stand in the signed catalog (version %d) of this machine", ref.ID, set.list[0].Header().Version)
		case err != nil:
			return nil, err
		case digest != ref.Digest && !anyDigest:
			return nil, fault.New(fault.Untrusted, "refused: the server means patch %s with digest %s, the signed catalog holds it with %s", ref.ID, ref.Digest, digest)
		}
		out = append(out, p)
	}
	ids, err := catalog.Order(out)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b patch.Patch) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
	return out, nil
}

func find(set *shardSet, id patch.ID) (p patch.Patch, digest string, err error) {
	for _, s := range set.list {
		if p, digest, err = s.Patch(id); !fault.Is(err, fault.NotFound) {
			return p, digest, err
		}
	}
	return p, digest, err
}

// bench is what a child process works with on one order.
type bench struct {
	dir        Dir
	root       string
	order      wire.Order
	snap       inventory.Snapshot
	shards     *shardSet
	patches    []patch.Patch
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
	if b.patches, err = lookUp(b.shards, order.Patches, looking); err == nil {
		b.installer, err = pick(cfg.Installers, b.patches)
	}
	if err == nil {
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

// pick returns the one installer of all the patches.
func pick(installers map[string]Installer, patches []patch.Patch) (Installer, error) {
	if len(patches) == 0 {
		return nil, fault.New(fault.Invalid, "the order names no patch")
	}
	kind := patches[0].Install.Kind
	for _, p := range patches {
		if p.Install.Kind != kind {
			return nil, fault.New(fault.Unsupported, "the order mixes patches of the kinds %s and %s", kind, p.Install.Kind)
		}
	}
	if in := installers[kind]; in != nil {
		return in, nil
	}
	return nil, fault.New(fault.Unsupported, "this agent has no installer for patches of the kind %q", kind)
}

func (b *bench) learnSizes() {
	for _, p := range b.patches {
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
}

func (b *bench) archives() []catalog.Archive {
	var out []catalog.Archive
	for _, s := range b.shards.list {
		out = append(out, s.Header().Archives...)
	}
	return out
}

func (b *bench) job() install.Job {
	o := b.order
	j := install.Job{
		Task: o.Task, Attempt: o.Attempt, Patches: b.patches, Archives: b.archives(), Snapshot: &b.snap,
		Conffile: o.Conffile, Payload: b.payload, Timeout: time.Duration(min(max(o.Timeout, 0), 86400)) * time.Second,
		Dir: b.dir.work(o.Task),
	}
	if j.Conffile == "" {
		j.Conffile = deploy.KeepOld
	}
	return j
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

// verdicts answers ActVerify: per patch, whether a fresh look at the machine
// shows it installed, and the reason in words.
func (b *bench) verdicts(ctx context.Context, root string) []deploy.PatchVerdict {
	facts := probe.New(ctx, root, &b.snap)
	out := make([]deploy.PatchVerdict, 0, len(b.patches))
	for _, p := range b.patches {
		applicable, installed := p.Rules()
		v := detect.Eval(installed, facts)
		d := deploy.PatchVerdict{Patch: p.ID, Installed: v.Value == detect.True, Reason: v.Reason()}
		if a := detect.Eval(applicable, facts); a.Value == detect.False {
			d.Installed, d.Reason = true, "nothing of it is on this machine any more"
		} else if reason := undone(p, &b.snap); reason != "" {
			d.Installed, d.Reason = false, reason
		}
		if d.Reason == "" {
			d.Reason = "installed: " + string(v.Value)
		}
		out = append(out, d)
	}
	return out
}

// undone says which package of the patch is installed only half: the version
// alone would call it installed.
func undone(p patch.Patch, snap *inventory.Snapshot) string {
	for _, it := range p.Items {
		for _, have := range snap.Find(it.Kind, it.Name) {
			if have.Broken != "" && snap.OS.EffectiveArch(have.Arch) == snap.OS.EffectiveArch(it.Arch) {
				return "package " + have.Name + " " + have.Version + " is " + have.Broken
			}
		}
	}
	return ""
}
