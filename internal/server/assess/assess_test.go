package assess

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// shelf keeps snapshots in memory, as the server's store does on disk.
type shelf struct {
	mu    sync.Mutex
	all   map[string]*inventory.Snapshot
	loads int
	read  []string // whose snapshots
}

func newShelf() *shelf { return &shelf{all: map[string]*inventory.Snapshot{}} }

func (s *shelf) put(t estate.TenantID, e estate.EndpointID, snap *inventory.Snapshot) Profile {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[string(t)+"/"+string(e)] = snap
	return profileOf(snap)
}

func (s *shelf) Snapshot(_ context.Context, t estate.TenantID, e estate.EndpointID) (Profile, *inventory.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	s.read = append(s.read, string(t)+"/"+string(e))
	snap := s.all[string(t)+"/"+string(e)]
	if snap == nil {
		return Profile{}, nil, fault.New(fault.NotFound, "no snapshot of %s", e)
	}
	return profileOf(snap), snap, nil
}

func profileOf(snap *inventory.Snapshot) Profile {
	sections, err := inventory.Split(*snap)
	if err != nil {
		panic(err)
	}
	return ProfileOf(snap.OS, sections)
}

// shard builds and opens a shard in which each source has one package of its
// name.
func shard(t testing.TB, platform string, version int64, patches ...patch.Patch) *catalog.Shard {
	t.Helper()
	var b bytes.Buffer
	h := catalog.Header{Platform: platform, Version: version, Created: time.Unix(0, 0), Archives: []catalog.Archive{
		{ID: "aaaaaaaaaaaaaaaa", Label: "Debian", Codename: "bookworm"},
		{ID: "bbbbbbbbbbbbbbbb", Label: "Debian-Security", Codename: "bookworm-security", Security: true},
	}}
	if err := catalog.Encode(&b, catalog.Contents{Header: h, Patches: patches}); err != nil {
		t.Fatal(err)
	}
	s, err := catalog.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func update(name, version string, severity patch.Severity) patch.Patch {
	return patch.Patch{
		ID: patch.ID("debian-12:amd64:" + name + ":" + version), Platform: "debian-12-amd64", Product: name, Version: version,
		Classification: patch.Security, Severity: severity, Archives: []string{"bbbbbbbbbbbbbbbb"},
		Items: []patch.Item{
			{Kind: "dpkg", Name: name, Arch: "amd64", Version: version},
			{Kind: "dpkg", Name: name + "-dev", Arch: "amd64", Version: version},
		},
	}
}

func machineWith(host string, pairs ...string) *inventory.Snapshot {
	s := &inventory.Snapshot{OS: inventory.OS{Family: "linux", ID: "debian", Version: "12", Arch: "amd64", Hostname: host}}
	for i := 0; i < len(pairs); i += 2 {
		s.Packages = append(s.Packages, inventory.Package{Kind: "dpkg", Name: pairs[i], Arch: "amd64", Version: pairs[i+1]})
	}
	slices.SortFunc(s.Packages, inventory.ComparePackages)
	return s
}

func report(t testing.TB, x *Index, s *shelf, tenant estate.TenantID, e estate.EndpointID, snap *inventory.Snapshot) {
	t.Helper()
	if err := x.Report(context.Background(), tenant, e, s.put(tenant, e, snap)); err != nil {
		t.Fatal(err)
	}
}

func setCatalog(t testing.TB, x *Index, shards ...*catalog.Shard) {
	t.Helper()
	by := map[string]*catalog.Shard{}
	for _, s := range shards {
		by[s.Header().Platform] = s
	}
	if err := x.SetCatalog(context.Background(), by); err != nil {
		t.Fatal(err)
	}
}

func TestAnswers(t *testing.T) {
	s := newShelf()
	x := New(s)
	setCatalog(t, x, shard(t, "debian-12-amd64", 1, update("bash", "2.0-1", patch.Critical), update("zlib", "3.0-1", patch.Low)))
	held := machineWith("c", "bash", "1.0-1")
	held.Packages[0].Hold = true
	report(t, x, s, "main", "a", machineWith("a", "bash", "1.0-1", "bash-dev", "1.0-1", "zlib", "3.0-1"))
	report(t, x, s, "main", "b", machineWith("b", "bash", "1.0-1", "bash-dev", "1.0-1", "zlib", "3.0-1"))
	report(t, x, s, "main", "c", held)
	report(t, x, s, "main", "d", machineWith("d", "zlib", "2.0-1"))
	report(t, x, s, "main", "e", machineWith("e", "zlib", "3.0-1"))
	arch := machineWith("f", "zlib", "1.0-1")
	arch.OS.ID = "arch"
	report(t, x, s, "main", "f", arch)

	bash, zlib := patch.ID("debian-12:amd64:bash:2.0-1"), patch.ID("debian-12:amd64:zlib:3.0-1")
	same := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	ids := func(in ...estate.EndpointID) []estate.EndpointID { return in }
	same("who lacks bash", x.WhoLacks("main", bash), ids("a", "b", "c"))
	same("who holds bash", x.WhoLacks("main", bash, catalog.Held), ids("c"))
	same("who lacks zlib", x.WhoLacks("main", zlib), ids("d"))
	same("patch counts", x.PatchCounts("main"), []PatchCount{
		{Patch: bash, Product: "bash", Severity: patch.Critical, Security: true, Missing: 2, Held: 1},
		{Patch: zlib, Product: "zlib", Severity: patch.Low, Security: true, Missing: 1},
	})
	same("summary", x.Summary("main"), Summary{
		Machines: 6, Profiles: 5, Level: 1, Uncovered: 1, Patches: 2, Security: 6, Insecure: 4,
		Missing: map[patch.Severity]int{patch.Critical: 5, patch.Important: 0, patch.Moderate: 0, patch.Low: 1, patch.Unknown: 0},
		Worst:   map[patch.Severity]int{patch.Critical: 3, patch.Important: 0, patch.Moderate: 0, patch.Low: 1, patch.Unknown: 0},
	})
	has, err := x.WhoHas("main", "dpkg", "zlib", detect.LT, "3.0-1")
	same("who has an old zlib", has, ids("d", "f"))
	same("error", err, nil)
	same("versions of zlib", x.Versions("main", "dpkg", "zlib"), []Version{{"amd64", "3.0-1", 3}, {"amd64", "2.0-1", 1}, {"amd64", "1.0-1", 1}})
	found, err := x.Findings("main", "a")
	if err != nil || len(found) != 2 || found[0].Package != "bash" || found[1].Package != "bash-dev" {
		t.Errorf("findings of a: %+v, %v", found, err)
	}
	if x.Covered("main", "f") || !x.Covered("main", "e") {
		t.Error("a platform without a shard counts as covered")
	}
	if _, err := x.WhoHas("main", "dpkg", "zlib", "like", "3"); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown comparison: %v", err)
	}
	if _, err := x.Findings("main", "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a machine that never reported: %v", err)
	}
}

// TestLookAlikesAreAssessedOnce counts the snapshots that are loaded.
func TestLookAlikesAreAssessedOnce(t *testing.T) {
	s := newShelf()
	x := New(s)
	setCatalog(t, x, shard(t, "debian-12-amd64", 1, update("bash", "2.0-1", patch.Critical)))
	for i := range 50 {
		e := estate.EndpointID(fmt.Sprintf("m%02d", i))
		report(t, x, s, "main", e, machineWith(string(e), "bash", "1.0-1"))
	}
	if s.loads != 1 {
		t.Errorf("50 look-alikes loaded %d snapshots, want 1", s.loads)
	}
	setCatalog(t, x, shard(t, "debian-12-amd64", 2, update("bash", "2.0-1", patch.Critical), update("bash", "3.0-1", patch.Low)))
	if s.loads != 2 {
		t.Errorf("a new catalog loaded %d snapshots, want 1", s.loads-1)
	}
	if got := x.WhoLacks("main", "debian-12:amd64:bash:3.0-1"); len(got) != 50 {
		t.Errorf("%d machines lack the new version, want 50", len(got))
	}
	if got := x.WhoLacks("main", "debian-12:amd64:bash:2.0-1"); len(got) != 0 {
		t.Errorf("%d machines still lack the replaced version", len(got))
	}
}

func TestTenantsAreApart(t *testing.T) {
	s := newShelf()
	x := New(s)
	setCatalog(t, x, shard(t, "debian-12-amd64", 1, update("bash", "2.0-1", patch.Critical)))
	report(t, x, s, "ours", "a", machineWith("a", "bash", "1.0-1"))
	report(t, x, s, "theirs", "a", machineWith("a", "bash", "2.0-1"))
	report(t, x, s, "theirs", "b", machineWith("b", "bash", "1.0-1"))
	if got := x.WhoLacks("ours", "debian-12:amd64:bash:2.0-1"); !slices.Equal(got, []estate.EndpointID{"a"}) {
		t.Errorf("ours: %v", got)
	}
	if got := x.WhoLacks("theirs", "debian-12:amd64:bash:2.0-1"); !slices.Equal(got, []estate.EndpointID{"b"}) {
		t.Errorf("theirs: %v", got)
	}
	x.Remove("ours", "b") // not theirs to remove
	if got := x.Summary("theirs").Machines; got != 2 {
		t.Errorf("theirs has %d machines", got)
	}
	if got := x.Summary("nobody"); got.Machines != 0 {
		t.Errorf("a tenant without machines: %+v", got)
	}
}

// TestAgainstRecount plays random reports, removals and catalogs, and holds
// every answer against a match of each machine by itself.
func TestAgainstRecount(t *testing.T) {
	names := []string{"bash", "zlib", "curl", "vim"}
	rapid.Check(t, func(rt *rapid.T) {
		s := newShelf()
		x := New(s)
		now := map[estate.EndpointID]*inventory.Snapshot{}
		var c *catalog.Shard
		rt.Repeat(map[string]func(*rapid.T){
			"report": func(rt *rapid.T) {
				e := estate.EndpointID(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(rt, "endpoint"))
				var pairs []string
				for _, n := range names {
					if v := rapid.SampledFrom([]string{"", "1.0-1", "2.0-1", "3.0-1"}).Draw(rt, n); v != "" {
						pairs = append(pairs, n, v)
					}
				}
				now[e] = machineWith(string(e), pairs...)
				report(t, x, s, "main", e, now[e])
			},
			"remove": func(rt *rapid.T) {
				e := estate.EndpointID(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "endpoint"))
				delete(now, e)
				x.Remove("main", e)
			},
			"catalog": func(rt *rapid.T) {
				var all []patch.Patch
				for _, n := range names {
					if v := rapid.SampledFrom([]string{"", "2.0-1", "3.0-1"}).Draw(rt, n); v != "" {
						all = append(all, update(n, v, patch.Moderate))
					}
				}
				c = shard(t, "debian-12-amd64", 1, all...)
				setCatalog(t, x, c)
			},
			"sweep": func(*rapid.T) {
				if main := x.of("main"); main != nil {
					main.mu.Lock()
					main.sweep()
					main.mu.Unlock()
				}
			},
			"": func(rt *rapid.T) { recount(rt, x, now, c) },
		})
	})
}

func recount(t *rapid.T, x *Index, now map[estate.EndpointID]*inventory.Snapshot, c *catalog.Shard) {
	lacks := map[patch.ID][]estate.EndpointID{}
	has := map[string][]estate.EndpointID{}
	total := 0
	for e, snap := range now {
		for _, p := range snap.Packages {
			has[p.Name+" "+p.Version] = append(has[p.Name+" "+p.Version], e)
		}
		var want []catalog.Finding
		if c != nil {
			var err error
			if want, err = catalog.Assess([]*catalog.Shard{c}, snap, nil); err != nil {
				t.Fatal(err)
			}
		}
		got, err := x.Findings("main", e)
		if err != nil || len(got) != len(want) || (len(want) > 0 && !cmp.Equal(want, got)) {
			t.Fatalf("findings of %s: %v\n%s", e, err, cmp.Diff(want, got))
		}
		total += len(want)
		for _, f := range want {
			lacks[f.Patch] = append(lacks[f.Patch], e)
		}
	}
	counts := x.PatchCounts("main")
	if len(counts) != len(lacks) {
		t.Fatalf("%d patches are lacking, want %d: %+v", len(counts), len(lacks), counts)
	}
	for _, n := range counts {
		want := lacks[n.Patch]
		slices.Sort(want)
		want = slices.Compact(want)
		if n.Missing != len(want) || !slices.Equal(x.WhoLacks("main", n.Patch), want) {
			t.Fatalf("%s: %d machines %v, want %v", n.Patch, n.Missing, x.WhoLacks("main", n.Patch), want)
		}
	}
	for _, name := range []string{"bash", "zlib", "curl", "vim"} {
		for _, v := range []string{"1.0-1", "2.0-1", "3.0-1"} {
			got, err := x.WhoHas("main", "dpkg", name, detect.EQ, v)
			want := has[name+" "+v]
			slices.Sort(want)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("who has %s %s: %v %v, want %v", name, v, got, err, want)
			}
		}
	}
	sum := x.Summary("main")
	if sum.Machines != len(now) || sum.Pending != 0 || sum.Missing[patch.Moderate] != total {
		t.Fatalf("summary %+v, want %d machines, %d findings", sum, len(now), total)
	}
}

// A new catalog looks again at the machines whose platform's content is new,
// and at no others: every publication gives all shards a new version.
func TestOnlyNewContentIsMatchedAgain(t *testing.T) {
	s := newShelf()
	x := New(s)
	other := func(version int64, patches ...patch.Patch) *catalog.Shard {
		return shard(t, "arch-12-amd64", version, patches...)
	}
	debian := func(version int64, patches ...patch.Patch) *catalog.Shard {
		return shard(t, "debian-12-amd64", version, patches...)
	}
	bash := update("bash", "2.0-1", patch.Low)
	setCatalog(t, x, debian(1, bash), other(1))
	arch := machineWith("b", "bash", "1.0-1")
	arch.OS.ID = "arch"
	foreign := machineWith("c", "bash", "1.1-1")
	foreign.Policy.ForeignArchs = []string{"i386"}
	report(t, x, s, "main", "a", machineWith("a", "bash", "1.0-1"))
	report(t, x, s, "main", "b", arch)
	report(t, x, s, "main", "c", foreign)
	for _, step := range []struct {
		name   string
		shards []*catalog.Shard
		again  []string // machines whose snapshots are read
		lack   []estate.EndpointID
	}{
		{"a new version of the same", []*catalog.Shard{debian(2, bash), other(2)}, nil, []estate.EndpointID{"a", "c"}},
		{"another platform's patch", []*catalog.Shard{debian(3, bash), other(3, bash)}, []string{"main/b"}, []estate.EndpointID{"a", "b", "c"}},
		{"a slice for a foreign architecture", []*catalog.Shard{debian(4, bash), other(4, bash), shard(t, "debian-12-i386", 4)}, []string{"main/c"}, []estate.EndpointID{"a", "b", "c"}},
		{"a patch taken back", []*catalog.Shard{debian(5), other(5, bash), shard(t, "debian-12-i386", 5)}, []string{"main/a", "main/c"}, []estate.EndpointID{"b"}},
		{"a platform dropped", []*catalog.Shard{debian(6), shard(t, "debian-12-i386", 6)}, []string{"main/b"}, nil},
		{"nothing new", []*catalog.Shard{debian(7), shard(t, "debian-12-i386", 7)}, nil, nil},
	} {
		s.read = nil
		setCatalog(t, x, step.shards...)
		slices.Sort(s.read)
		if !slices.Equal(s.read, step.again) {
			t.Errorf("%s: matched again: %v, want %v", step.name, s.read, step.again)
		}
		if got := x.WhoLacks("main", bash.ID); !slices.Equal(got, step.lack) {
			t.Errorf("%s: %v lack it, want %v", step.name, got, step.lack)
		}
		if sum := x.Summary("main"); sum.Pending != 0 {
			t.Errorf("%s: %d machines pending", step.name, sum.Pending)
		}
	}
}

// TestUnreadableSnapshot checks that one machine whose snapshot can't be read
// does not keep the others from the new catalog.
func TestUnreadableSnapshot(t *testing.T) {
	s := newShelf()
	x := New(s)
	setCatalog(t, x, shard(t, "debian-12-amd64", 1))
	report(t, x, s, "main", "a", machineWith("a", "bash", "1.0-1"))
	report(t, x, s, "main", "b", machineWith("b", "bash", "1.1-1"))
	delete(s.all, "main/a")
	c := map[string]*catalog.Shard{"debian-12-amd64": shard(t, "debian-12-amd64", 2, update("bash", "2.0-1", patch.Low))}
	if err := x.SetCatalog(context.Background(), c); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want NotFound", err)
	}
	if got := x.WhoLacks("main", "debian-12:amd64:bash:2.0-1"); !slices.Equal(got, []estate.EndpointID{"b"}) {
		t.Errorf("who lacks: %v", got)
	}
	if got := x.Summary("main").Pending; got != 1 {
		t.Errorf("%d machines pending, want 1", got)
	}
	stop, cancel := context.WithCancel(context.Background())
	cancel()
	if err := x.SetCatalog(stop, c); !fault.Is(err, fault.Cancelled) {
		t.Errorf("a stopped server: %v", err)
	}
}

// TestConcurrently reports, asks and changes the catalog at once; in the end
// the counters must be right.
func TestConcurrently(t *testing.T) {
	s := newShelf()
	x := New(s)
	shards := []*catalog.Shard{
		shard(t, "debian-12-amd64", 1, update("bash", "2.0-1", patch.Low)),
		shard(t, "debian-12-amd64", 2, update("bash", "3.0-1", patch.Low)),
	}
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 200 {
				e := estate.EndpointID(fmt.Sprintf("m%d-%d", w, i%10))
				snap := machineWith(string(e), "bash", fmt.Sprintf("1.%d-1", i%7))
				if err := x.Report(t.Context(), "main", e, s.put("main", e, snap)); err != nil {
					t.Error(err)
				}
				x.WhoLacks("main", "debian-12:amd64:bash:2.0-1")
				x.PatchCounts("main")
			}
		})
	}
	all.Go(func() {
		for i := range 20 {
			setCatalog(t, x, shards[i%2])
			x.Summary("main")
		}
	})
	all.Wait()
	setCatalog(t, x, shards[0])
	sum := x.Summary("main")
	if got := x.WhoLacks("main", "debian-12:amd64:bash:2.0-1"); len(got) != 40 || sum.Machines != 40 || sum.Pending != 0 || sum.Missing[patch.Low] != 40 {
		t.Errorf("%d machines lack the patch, summary %+v", len(got), sum)
	}
}

// TestCountersAgreeWithHealth: whatever machines lack, the counters say what
// catalog.Count says of each of them.
func TestCountersAgreeWithHealth(t *testing.T) {
	finding := rapid.Custom(func(t *rapid.T) catalog.Finding {
		return catalog.Finding{
			Patch: "p", Security: rapid.Bool().Draw(t, "security"), Bulletin: rapid.Bool().Draw(t, "bulletin"), Exploited: rapid.Bool().Draw(t, "exploited"),
			Severity: rapid.SampledFrom([]patch.Severity{patch.Critical, patch.Low, patch.Unknown}).Draw(t, "severity"),
			State: rapid.SampledFrom([]catalog.FindingState{
				catalog.Missing, catalog.Held, catalog.Pinned, catalog.UserOnly, catalog.Broken, catalog.Unsure,
			}).Draw(t, "state"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		r := result{covered: rapid.Bool().Draw(t, "covered"), findings: rapid.SliceOfN(finding, 0, 5).Draw(t, "findings")}
		got := newTally(r)
		want, health := catalog.Count(r.findings)
		missing := 0
		for _, n := range got.missing {
			missing += n
		}
		if missing != want.Missing || got.security != want.Security || got.exploited != want.Exploited || got.bulletins != want.Bulletins || got.userOnly != want.UserOnly {
			t.Fatalf("counters %+v, health counts %+v", got, want)
		}
		if got.insecure != min(want.Security+want.UserSecurity, 1) || got.level == 1 && health.Where(r.covered) != catalog.Healthy {
			t.Fatalf("counters %+v of a machine that is %s", got, health)
		}
	})
}

func TestEveryStateHasARank(t *testing.T) {
	seen := map[int]catalog.FindingState{}
	for _, s := range []catalog.FindingState{catalog.Missing, catalog.Held, catalog.Broken, catalog.Unsure, catalog.Pinned, catalog.UserOnly} {
		if other, taken := seen[rank(s)]; taken || rank(s) >= states {
			t.Errorf("%s ranks like %s", s, other)
		}
		seen[rank(s)] = s
	}
}
