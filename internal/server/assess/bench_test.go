package assess

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// The fleet of the benchmarks: machines come from a few images with about 900
// packages each, and drift apart in patch level and in a few packages.
const (
	fleetMachines = 100_000
	fleetProfiles = 2_000
	fleetImages   = 20
	fleetNames    = 6_000
	fleetPackages = 900
	fleetUpdates  = 400
)

// fleet gives snapshots by endpoint without keeping 100,000 of them.
type fleet struct{ profiles []*inventory.Snapshot }

func newFleet() *fleet {
	rnd := rand.New(rand.NewPCG(1, 2))
	var images [][]int
	for range fleetImages {
		images = append(images, rnd.Perm(fleetNames)[:fleetPackages])
	}
	f := &fleet{}
	for i := range fleetProfiles {
		s := machineWith("")
		level := rnd.IntN(5) // how far it is behind
		for _, n := range images[i%fleetImages] {
			v := "1.0-1"
			if n < fleetUpdates && rnd.IntN(5) >= level {
				v = "1.0-1+deb12u1"
			}
			s.Packages = append(s.Packages, inventory.Package{Kind: "dpkg", Name: fmt.Sprintf("pkg%04d", n), Arch: "amd64", Version: v})
		}
		for range 5 {
			s.Packages = append(s.Packages, inventory.Package{Kind: "dpkg", Name: fmt.Sprintf("extra%04d", rnd.IntN(5000)), Arch: "amd64", Version: "1.0-1"})
		}
		slices.SortFunc(s.Packages, inventory.ComparePackages)
		f.profiles = append(f.profiles, s)
	}
	return f
}

func endpointAt(i int) estate.EndpointID { return estate.EndpointID(fmt.Sprintf("m%06d", i)) }

// profile makes the key of a profile without hashing its 900 packages again.
func (f *fleet) profile(n int) Profile {
	return Profile{OS: f.profiles[n].OS, Packages: fmt.Sprint(n)}
}

func (f *fleet) Snapshot(_ context.Context, _ estate.TenantID, e estate.EndpointID) (Profile, *inventory.Snapshot, error) {
	var i int
	if _, err := fmt.Sscanf(string(e), "m%06d", &i); err != nil {
		return Profile{}, nil, err
	}
	n := profileNumber(i)
	return f.profile(n), f.profiles[n], nil
}

// profileNumber spreads machines over profiles as they arrive: in no order.
func profileNumber(machine int) int { return machine * 7919 % fleetProfiles }

// benchCatalog is a catalog whose updates have the severity.
func benchCatalog(b *testing.B, version int64, severity patch.Severity) map[string]*catalog.Shard {
	b.Helper()
	var all []patch.Patch
	for n := range fleetNames {
		name := fmt.Sprintf("pkg%04d", n)
		all = append(all, update(name, "1.0-1", patch.Unknown))
		if n < fleetUpdates {
			all = append(all, update(name, "1.0-1+deb12u1", severity))
		}
	}
	return map[string]*catalog.Shard{"debian-12-amd64": shard(b, "debian-12-amd64", version, all...)}
}

// loaded is an index with the whole fleet in it.
func loaded(b *testing.B, f *fleet) *Index {
	b.Helper()
	x := New(f)
	if err := x.SetCatalog(b.Context(), benchCatalog(b, 1, patch.Important)); err != nil {
		b.Fatal(err)
	}
	for i := range fleetMachines {
		if err := x.Report(b.Context(), "main", endpointAt(i), f.profile(profileNumber(i))); err != nil {
			b.Fatal(err)
		}
	}
	return x
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// BenchmarkFleet is everything on one loaded index; the first line tells its
// size.
func BenchmarkFleet(b *testing.B) {
	f := newFleet()
	before := heap()
	x := loaded(b, f)
	after := heap()
	patchID := patch.ID("debian-12:amd64:pkg0007:1.0-1+deb12u1")
	b.Run("Summary", func(b *testing.B) {
		for b.Loop() {
			x.Summary("main")
		}
		sum := x.Summary("main")
		b.ReportMetric(float64(sum.Machines), "machines")
		b.ReportMetric(float64(sum.Profiles), "profiles")
		b.ReportMetric(float64(sum.Missing[patch.Important]), "findings")
		b.ReportMetric(after-before, "indexMiB")
	})
	b.Run("PatchCounts", func(b *testing.B) {
		for b.Loop() {
			x.PatchCounts("main")
		}
	})
	b.Run("WhoLacks", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n = len(x.WhoLacks("main", patchID))
		}
		b.ReportMetric(float64(n), "machines")
	})
	b.Run("WhoHas", func(b *testing.B) {
		n := 0
		for b.Loop() {
			got, err := x.WhoHas("main", "dpkg", "pkg0007", detect.LT, "1.0-1+deb12u1")
			if err != nil {
				b.Fatal(err)
			}
			n = len(got)
		}
		b.ReportMetric(float64(n), "machines")
	})
	b.Run("UnchangedReport", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			e := i % fleetMachines
			if err := x.Report(b.Context(), "main", endpointAt(e), f.profile(profileNumber(e))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ChangedReport", func(b *testing.B) { // to another known profile and back
		for i := 0; b.Loop(); i++ {
			e := i / 2 % fleetMachines
			n := (profileNumber(e) + 1 - i%2) % fleetProfiles
			if err := x.Report(b.Context(), "main", endpointAt(e), f.profile(n)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("NewCatalog", func(b *testing.B) { // other content for every machine's platform
		next := []map[string]*catalog.Shard{benchCatalog(b, 2, patch.Critical), benchCatalog(b, 3, patch.Important)}
		for i := 0; b.Loop(); i++ {
			if err := x.SetCatalog(b.Context(), next[i%2]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("NewCatalogOfOtherPlatforms", func(b *testing.B) { // a new version with the same content for them
		if err := x.SetCatalog(b.Context(), benchCatalog(b, 4, patch.Important)); err != nil {
			b.Fatal(err)
		}
		next := []map[string]*catalog.Shard{benchCatalog(b, 5, patch.Important), benchCatalog(b, 6, patch.Important)}
		for i := 0; b.Loop(); i++ {
			if err := x.SetCatalog(b.Context(), next[i%2]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
