// Package assess answers, for whole fleets at once, what is missing where.
//
// Machines that look alike (same operating system, packages, policy and answers
// to the catalog's tests) share one profile and are assessed once. Per tenant an
// index of compressed bitmaps says which profiles lack a patch and which have
// a package; counters per patch are kept current at each check-in, so that no
// question ever goes through all machines times all patches. A machine that
// reports moves from one profile to another; a new catalog reassesses the
// profiles, not the machines.
//
// Everything is in memory and can be rebuilt from the stored snapshots.
package assess

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unique"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Snapshots gives the last accepted snapshot of a machine together with the
// profile that its stored hashes give, both of one moment; NotFound when there
// is none.
type Snapshots interface {
	Snapshot(ctx context.Context, tenant estate.TenantID, endpoint estate.EndpointID) (Profile, *inventory.Snapshot, error)
}

// Profile is what decides the findings of a machine: its operating system and
// the hashes of its sections packages, policy and answers.
type Profile struct {
	OS       inventory.OS
	Packages string
	Policy   string
	Answers  string // empty for a machine that gave none
}

// ProfileOf takes the profile from the sections' hashes and the decoded
// operating system.
func ProfileOf(os inventory.OS, sections []inventory.Section) Profile {
	p := Profile{OS: os}
	for _, s := range sections {
		switch s.Name {
		case inventory.SectionPackages:
			p.Packages = s.Hash
		case inventory.SectionPolicy:
			p.Policy = s.Hash
		case inventory.SectionAnswers:
			p.Answers = s.Hash
		}
	}
	return p
}

// key is the profile without what does not matter for patches: host names,
// and the texts for people.
type key [sha256.Size]byte

func (p Profile) key() key {
	o := p.OS
	h := sha256.New()
	for _, s := range []string{o.Family, o.ID, o.Version, o.Build, o.Edition, o.ServicePack, o.Arch, p.Packages, p.Policy, p.Answers} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return key(h.Sum(nil))
}

// Index is the fleet-wide index. It is safe for concurrent use. Tenants have
// an index each and share nothing.
type Index struct {
	snapshots Snapshots

	mu      sync.RWMutex // guards the fields below, not what they point to
	tenants map[estate.TenantID]*tenant
	content *content
	// swap serialises SetCatalog.
	swap sync.Mutex
	// rules are of the shards that are being matched.
	rules *memory
}

// content is one catalog. A newer one has a higher generation.
type content struct {
	generation int64
	shards     map[string]*catalog.Shard
	// since is the generation in which a platform's content last changed,
	// version and date apart; hashes keep what is known of the contents.
	since  map[string]int64
	hashes map[string]string
}

// follow compares the shards with those of the catalog before.
func (c *content) follow(before *content) {
	c.since, c.hashes = maps.Clone(before.since), map[string]string{}
	if c.since == nil {
		c.since = map[string]int64{}
	}
	for platform := range before.shards {
		if c.shards[platform] == nil {
			c.since[platform] = c.generation
		}
	}
	for platform, now := range c.shards {
		was := before.shards[platform]
		switch {
		case was == now:
			c.hashes[platform] = before.hashes[platform]
		case was == nil || before.hash(platform) != c.hash(platform):
			c.since[platform] = c.generation
		}
	}
}

// hash is the content hash of a platform's shard, taken once. What can't be
// read is like nothing else; matching will tell.
func (c *content) hash(platform string) string {
	if c.hashes[platform] == "" {
		sum, err := c.shards[platform].ContentHash()
		if err != nil {
			sum = strconv.FormatInt(c.generation, 10)
		}
		if c.hashes == nil {
			c.hashes = map[string]string{}
		}
		c.hashes[platform] = sum
	}
	return c.hashes[platform]
}

// changed is the generation in which the content for the platforms, separated
// by spaces, last changed.
func (c *content) changed(platforms string) int64 {
	var last int64
	for platform := range strings.FieldsSeq(platforms) {
		last = max(last, c.since[platform])
	}
	return last
}

// New returns an empty index without a catalog: machines may report, nothing
// is found missing until SetCatalog.
func New(snapshots Snapshots) *Index {
	return &Index{snapshots: snapshots, tenants: map[estate.TenantID]*tenant{}, content: &content{}, rules: &memory{most: maxKept}}
}

// current returns the catalog that counts now.
func (x *Index) current() *content {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.content
}

// of returns the tenant's index, nil when no machine of it ever reported.
func (x *Index) of(id estate.TenantID) *tenant {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.tenants[id]
}

// ensure returns the tenant's index and makes it if need be.
func (x *Index) ensure(id estate.TenantID) *tenant {
	if t := x.of(id); t != nil {
		return t
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.tenants[id]
	if t == nil {
		t = newTenant(id)
		x.tenants[id] = t
	}
	return t
}

// Report tells that the machine's last accepted snapshot has the profile. An
// unchanged profile costs one look-up, a known one a few counters; only a new
// one loads the snapshot and matches it. Snapshots' profile counts: when the
// machine has reported again meanwhile, it is taken as it is now.
func (x *Index) Report(ctx context.Context, id estate.TenantID, endpoint estate.EndpointID, p Profile) error {
	t := x.ensure(id)
	if t.move(endpoint, p.key()) {
		return nil
	}
	p, snap, err := x.snapshots.Snapshot(ctx, id, endpoint)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "assess: the snapshot of %s can't be loaded", endpoint)
	}
	c := x.current()
	result, err := x.assess(c, snap)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "assess: %s can't be matched with the catalog", endpoint)
	}
	t.put(endpoint, p.key(), snap, result)
	if now := x.current(); now != c { // a catalog came in meanwhile
		return x.reassess(ctx, t, now, job{p.key(), []estate.EndpointID{endpoint}})
	}
	return nil
}

// Remove forgets a machine: revoked, or moved to another tenant.
func (x *Index) Remove(id estate.TenantID, endpoint estate.EndpointID) {
	if t := x.of(id); t != nil {
		t.remove(endpoint)
	}
}

// SetCatalog replaces the catalog (shards by platform) and reassesses every
// distinct profile of a platform whose content is new. Answers stay available all the while; Summary tells how
// many machines still wait. On an error (a snapshot or shard that can't be
// read) the rest is reassessed all the same, and the first error is returned;
// calling it again with the same shards takes up what was left.
func (x *Index) SetCatalog(ctx context.Context, shards map[string]*catalog.Shard) error {
	x.swap.Lock()
	defer x.swap.Unlock()
	before := x.current()
	c := &content{generation: before.generation + 1, shards: shards}
	c.follow(before) // only SetCatalog looks at hashes, one at a time
	x.mu.Lock()
	x.content = c
	all := make([]*tenant, 0, len(x.tenants))
	for _, t := range x.tenants {
		all = append(all, t)
	}
	x.mu.Unlock()
	x.rules.only(shards)
	var first error
	for _, t := range all {
		if err := x.refresh(ctx, t, c); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// refresh reassesses the profiles of a tenant that are behind the catalog.
func (x *Index) refresh(ctx context.Context, t *tenant, c *content) error {
	var first error
	for _, j := range t.behind(c) {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(err, fault.Cancelled, "assess: reassessing was stopped")
		}
		if err := x.reassess(ctx, t, c, j); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// reassess brings one profile up to the catalog. A machine whose snapshot has
// moved on to another profile does not speak for this one; its own report is
// on the way.
func (x *Index) reassess(ctx context.Context, t *tenant, c *content, j job) error {
	var last error
	for _, endpoint := range j.endpoints {
		p, snap, err := x.snapshots.Snapshot(ctx, t.id, endpoint)
		if err == nil && p.key() != j.key {
			continue
		}
		var r result
		if err == nil {
			r, err = x.assess(c, snap)
		}
		if err == nil {
			t.replace(j.key, r)
			return nil
		}
		last = fault.Wrap(err, fault.CodeOf(err), "assess: %s can't be reassessed", endpoint)
	}
	return last
}

// result is what a match gave for one profile.
type result struct {
	generation int64
	platforms  string // of the machine, separated by spaces
	covered    bool   // the catalog has a shard for the platform
	findings   []catalog.Finding
}

// assess matches a snapshot with the shards that serve it. Its system counts as
// covered when the native one is there.
func (x *Index) assess(c *content, snap *inventory.Snapshot) (result, error) {
	out := result{generation: c.generation, platforms: unique.Make(strings.Join(snap.Platforms(), " ")).Value()}
	var shards []*catalog.Shard
	for i, platform := range snap.Platforms() {
		if s := c.shards[platform]; s != nil && !slices.Contains(shards, s) {
			x.rules.use(s)
			shards = append(shards, s)
			out.covered = out.covered || i == 0
		}
	}
	if len(shards) == 0 {
		return out, nil
	}
	var err error
	out.findings, err = catalog.Assess(shards, snap, nil)
	return out, err
}
