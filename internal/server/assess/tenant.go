package assess

import (
	"cmp"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// tenant is the index of one tenant.
//
// Machines and profiles have internal numbers. Bitmaps over profiles stand
// behind patches and packages, a bitmap over machines behind each profile.
type tenant struct {
	id estate.TenantID

	mu       sync.RWMutex
	numbers  map[estate.EndpointID]uint32
	machines []machine // by number
	free     []uint32  // numbers of removed machines

	profiles map[key]*profile
	byNumber map[uint32]*profile
	places   places
	alive    *roaring.Bitmap // numbers of profiles that have machines
	dead     *roaring.Bitmap // numbers whose bits are still to be swept

	findings findingPool
	patches  map[patch.ID]*lack
	items    map[product][]*item
	total    tally
}

type machine struct {
	endpoint estate.EndpointID
	profile  *profile
}

// profile is one distinct state of machines.
type profile struct {
	key        key
	number     uint32
	machines   *roaring.Bitmap
	generation int64
	platforms  string
	covered    bool
	findings   []*entry
	lacks      []lacking // distinct patches
	tally      tally     // of one machine
}

// lacking is one patch that a profile's machines lack.
type lacking struct {
	patch *lack
	state catalog.FindingState
}

// lack is one patch with the profiles that lack it.
type lack struct {
	id       patch.ID
	product  string
	security bool
	severity patch.Severity // worst on any machine since the catalog came
	profiles [states]*roaring.Bitmap
	machines [states]int
}

// product names a package of any version.
type product struct{ kind, name string }

// item is one version of a package with the profiles that have it.
type item struct {
	arch, version string
	profiles      *roaring.Bitmap
}

// sweepAfter is how many dead profiles are collected before their bits are
// cleared from all bitmaps in one go.
const sweepAfter = 4096

func newTenant(id estate.TenantID) *tenant {
	return &tenant{
		id: id, numbers: map[estate.EndpointID]uint32{}, profiles: map[key]*profile{}, byNumber: map[uint32]*profile{},
		places: places{open: map[uint64]*block{}}, alive: roaring.New(), dead: roaring.New(),
		findings: findingPool{}, patches: map[patch.ID]*lack{}, items: map[product][]*item{},
	}
}

// move puts the machine under a known profile; false when there is none.
func (t *tenant) move(endpoint estate.EndpointID, k key) bool {
	t.mu.RLock()
	n, known := t.numbers[endpoint]
	same := known && t.machines[n].profile.key == k
	t.mu.RUnlock()
	if same {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.profiles[k]
	if p == nil {
		return false
	}
	t.assign(endpoint, p)
	return true
}

// put puts the machine under a profile that was just assessed.
func (t *tenant) put(endpoint estate.EndpointID, k key, snap *inventory.Snapshot, r result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.profiles[k]
	if p == nil {
		p = &profile{key: k, machines: roaring.New(), number: t.places.take(family(snap))}
		t.profiles[k], t.byNumber[p.number] = p, p
		t.alive.Add(p.number)
		t.stock(p, snap)
		t.fill(p, r)
	}
	t.assign(endpoint, p)
}

// stock notes which packages the profile has.
func (t *tenant) stock(p *profile, snap *inventory.Snapshot) {
	for _, q := range snap.Packages {
		name := product{q.Kind, q.Name}
		all := t.items[name]
		i := slices.IndexFunc(all, func(it *item) bool { return it.version == q.Version && it.arch == q.Arch })
		if i < 0 {
			i = len(all)
			all = append(all, &item{arch: q.Arch, version: q.Version, profiles: roaring.New()})
			t.items[name] = all
		}
		all[i].profiles.Add(p.number)
	}
}

// fill gives the profile the outcome of a match. It has no machines in any
// counter at that moment.
func (t *tenant) fill(p *profile, r result) {
	p.generation, p.covered, p.platforms = r.generation, r.covered, r.platforms
	p.tally = newTally(r)
	worst := map[patch.ID]catalog.FindingState{}
	for _, f := range r.findings {
		p.findings = append(p.findings, t.findings.add(f))
		if s, twice := worst[f.Patch]; !twice || rank(f.State) < rank(s) {
			worst[f.Patch] = f.State
		}
	}
	for _, f := range r.findings {
		l := t.lackOf(f)
		if state, first := worst[f.Patch]; first {
			delete(worst, f.Patch)
			p.lacks = append(p.lacks, lacking{l, state})
			l.bits(state).Add(p.number)
		}
	}
}

// lackOf returns the patch's entry, with the worst word of all findings.
func (t *tenant) lackOf(f catalog.Finding) *lack {
	l := t.patches[f.Patch]
	if l == nil {
		l = &lack{id: f.Patch, product: f.Product}
		t.patches[f.Patch] = l
	}
	l.security = l.security || f.Security
	if f.Severity.Rank() > l.severity.Rank() {
		l.severity = f.Severity
	}
	return l
}

// empty takes the outcome of a match away again; the profile must not count.
func (t *tenant) empty(p *profile) {
	for _, e := range p.findings {
		t.findings.drop(e)
	}
	for _, l := range p.lacks {
		l.patch.bits(l.state).Remove(p.number)
		if l.patch.unused() {
			delete(t.patches, l.patch.id)
		}
	}
	p.findings, p.lacks = nil, nil
}

// assign moves a machine to the profile and keeps all counters right.
func (t *tenant) assign(endpoint estate.EndpointID, p *profile) {
	n, known := t.numbers[endpoint]
	if known {
		if t.machines[n].profile == p {
			return
		}
		t.leave(n)
	} else {
		n = t.number()
		t.numbers[endpoint] = n
	}
	t.machines[n] = machine{endpoint, p}
	p.machines.Add(n)
	t.count(p, +1)
}

func (t *tenant) number() uint32 {
	if last := len(t.free) - 1; last >= 0 {
		n := t.free[last]
		t.free = t.free[:last]
		return n
	}
	t.machines = append(t.machines, machine{})
	return uint32(len(t.machines) - 1)
}

// leave takes the machine out of its profile, which ends with its last one.
func (t *tenant) leave(n uint32) {
	p := t.machines[n].profile
	t.count(p, -1)
	p.machines.Remove(n)
	if !p.machines.IsEmpty() {
		return
	}
	t.empty(p)
	delete(t.profiles, p.key)
	delete(t.byNumber, p.number)
	t.alive.Remove(p.number)
	t.dead.Add(p.number)
	if t.dead.GetCardinality() >= sweepAfter {
		t.sweep()
	}
}

// sweep clears the bits of dead profiles and gives their numbers free.
func (t *tenant) sweep() {
	for name, all := range t.items {
		all = slices.DeleteFunc(all, func(it *item) bool {
			it.profiles.AndNot(t.dead)
			it.profiles.RunOptimize()
			return it.profiles.IsEmpty()
		})
		if t.items[name] = all; len(all) == 0 {
			delete(t.items, name)
		}
	}
	t.places.giveBack(t.dead)
	t.dead.Clear()
}

// count adds n machines of the profile to every counter.
func (t *tenant) count(p *profile, n int) {
	t.total.add(p.tally, n)
	for _, l := range p.lacks {
		l.patch.machines[rank(l.state)] += n
	}
}

func (t *tenant) remove(endpoint estate.EndpointID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, known := t.numbers[endpoint]
	if !known {
		return
	}
	t.leave(n)
	delete(t.numbers, endpoint)
	t.machines[n] = machine{}
	t.free = append(t.free, n)
}

// job is a profile to reassess, with a few of its machines.
type job struct {
	key       key
	endpoints []estate.EndpointID
}

// witnesses is how many machines of a profile are asked for its snapshot.
const witnesses = 8

// behind lists the profiles that were assessed against other content than the
// catalog has for their platforms. The others are up to it as they are.
func (t *tenant) behind(c *content) []job {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := map[string]int64{}
	var out []job
	for _, p := range t.profiles {
		if p.generation >= c.generation {
			continue
		}
		last, known := changed[p.platforms]
		if !known {
			last = c.changed(p.platforms)
			changed[p.platforms] = last
		}
		if p.generation >= last {
			p.generation = c.generation
			continue
		}
		j := job{key: p.key}
		for it := p.machines.Iterator(); it.HasNext() && len(j.endpoints) < witnesses; {
			j.endpoints = append(j.endpoints, t.machines[it.Next()].endpoint)
		}
		out = append(out, j)
	}
	slices.SortFunc(out, func(a, b job) int { return cmp.Compare(a.endpoints[0], b.endpoints[0]) })
	return out
}

// replace gives a profile, if it still is there, a newer outcome.
func (t *tenant) replace(k key, r result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.profiles[k]
	if p == nil || p.generation >= r.generation {
		return
	}
	n := int(p.machines.GetCardinality())
	t.count(p, -n)
	t.empty(p)
	t.fill(p, r)
	t.count(p, +n)
}
