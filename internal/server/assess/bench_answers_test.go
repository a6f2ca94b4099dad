package assess

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// The fleet of BenchmarkAnswers: machines of a few models, whose drivers are
// nearly all level, in one of several versions that are.
const (
	ownMachines = 10_000
	ownSets     = 500 // of packages
	ownModels   = 10
	ownDrivers  = 20 // for each model
)

func driverFile(model, n int) string { return fmt.Sprintf(`C:\drivers\m%d-%d.sys`, model, n) }

func isModel(n int) detect.Rule {
	return detect.Rule{WMI: &detect.WMI{Namespace: `root\cimv2`, Query: fmt.Sprintf("SELECT * FROM Win32_BaseBoard WHERE Product = '%d'", n)}}
}

// drivers are the packages of a maker, as ours are: for a model, and installed
// where the driver has a version.
func drivers() (all []patch.Patch) {
	for model := range ownModels {
		for n := range ownDrivers {
			may := isModel(model)
			all = append(all, patch.Patch{
				ID: patch.ID(fmt.Sprintf("sdp:%d-%d", model, n)), Platform: "windows-apps-amd64", Product: fmt.Sprintf("driver %d-%d", model, n), Version: "2.0",
				Classification: patch.Driver, Severity: patch.Important, Applicable: &may,
				Installed: &detect.Rule{FileVersion: &detect.FileVersion{Path: driverFile(model, n), Op: detect.GE, Version: "2.0"}},
				Install:   patch.Manifest{Kind: "exe"}, Evidence: patch.Evidence{Verdict: patch.Vouched},
			})
		}
	}
	return all
}

// owned is a live machine of a model.
type owned struct {
	detect.Facts
	query    string
	versions map[string]string
}

func (o owned) Query(_, wql string) (bool, error) { return wql == o.query, nil }

func (o owned) File(path string) (detect.FileFact, error) {
	v, there := o.versions[path]
	return detect.FileFact{Exists: there, Version: v}, nil
}

// answered is the fleet; snapshots of machines that are alike are kept once.
type answered struct {
	profiles []Profile
	snaps    map[Profile]*inventory.Snapshot
}

func (f *answered) Snapshot(_ context.Context, _ estate.TenantID, e estate.EndpointID) (Profile, *inventory.Snapshot, error) {
	var i int
	if _, err := fmt.Sscanf(string(e), "m%06d", &i); err != nil {
		return Profile{}, nil, err
	}
	p := f.profiles[i]
	return p, f.snaps[p], nil
}

// newAnswered makes the fleet; told says whether the machines have answered.
func newAnswered(b *testing.B, s *catalog.Shard, told bool) *answered {
	b.Helper()
	rnd := rand.New(rand.NewPCG(5, 6))
	f := &answered{snaps: map[Profile]*inventory.Snapshot{}}
	for i := range ownMachines {
		set := i * 7919 % ownSets
		snap := &inventory.Snapshot{OS: inventory.OS{Family: "windows", ID: "windows-11", Version: "23h2", Arch: "amd64"}}
		snap.Packages = []inventory.Package{{Kind: "arp", Name: "set", Version: fmt.Sprint(set), Arch: "amd64"}}
		model := set % ownModels
		live := owned{Facts: snap.Facts(), query: isModel(model).WMI.Query, versions: map[string]string{}}
		for n := range ownDrivers {
			live.versions[driverFile(model, n)] = fmt.Sprintf("2.%d", rnd.IntN(5))
		}
		if rnd.IntN(10) == 0 { // one driver is behind
			live.versions[driverFile(model, rnd.IntN(ownDrivers))] = fmt.Sprintf("1.%d", rnd.IntN(2))
		}
		if told {
			var err error
			if snap.Answers, err = catalog.Ask([]*catalog.Shard{s}, snap, live); err != nil {
				b.Fatal(err)
			}
		}
		sections, err := inventory.Split(*snap)
		if err != nil {
			b.Fatal(err)
		}
		p := ProfileOf(snap.OS, sections)
		f.profiles, f.snaps[p] = append(f.profiles, p), snap
	}
	return f
}

// BenchmarkAnswers holds a fleet whose machines have answered against the same
// fleet silent: how many profiles there are, what they take, and how long a new
// catalog does.
func BenchmarkAnswers(b *testing.B) {
	s := shard(b, "windows-apps-amd64", 1, drivers()...)
	for name, told := range map[string]bool{"silent": false, "answered": true} {
		f := newAnswered(b, s, told)
		before := heap()
		x := New(f)
		next := []map[string]*catalog.Shard{{"windows-apps-amd64": s}, {"windows-apps-amd64": shard(b, "windows-apps-amd64", 2, drivers()[1:]...)}}
		if err := x.SetCatalog(b.Context(), next[0]); err != nil {
			b.Fatal(err)
		}
		for i := range ownMachines {
			if err := x.Report(b.Context(), "main", endpointAt(i), f.profiles[i]); err != nil {
				b.Fatal(err)
			}
		}
		after, sum := heap(), x.Summary("main")
		b.Run(name+"/NewCatalog", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if err := x.SetCatalog(b.Context(), next[(i+1)%2]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(sum.Profiles), "profiles")
			b.ReportMetric(float64(sum.Unsure), "unknown")
			b.ReportMetric(float64(sum.Missing[patch.Important]), "missing")
			b.ReportMetric(after-before, "indexMiB")
		})
		b.Run(name+"/UnchangedReport", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if err := x.Report(b.Context(), "main", endpointAt(i%ownMachines), f.profiles[i%ownMachines]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
