package apt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

// rules stands for apt's solver over packages p0, p1, ...: some can't be
// installed at all, some need another one beside them.
type rules struct {
	bad   map[string]bool
	needs map[string]string
	calls int
}

func (r *rules) Run(_ context.Context, cmd run.Cmd) (run.Result, error) {
	r.calls++
	asked := map[string]bool{}
	for _, arg := range cmd.Argv {
		if name, _, ok := strings.Cut(arg, "=1"); ok {
			asked[name] = true
		}
	}
	for name := range asked {
		if need := r.needs[name]; r.bad[name] || (need != "" && !asked[need]) {
			return run.Result{ExitCode: 100, Stderr: []byte("E: " + name + " is impossible\n")}, nil
		}
	}
	return run.Result{Stdout: []byte(fmt.Sprint(len(asked)))}, nil
}

func TestSolveRefusesOnlyWhatIsImpossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "patches")
		r := &rules{bad: map[string]bool{}, needs: map[string]string{}}
		var all []candidate
		for i := range n {
			name := fmt.Sprintf("p%d", i)
			if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
				r.bad[name] = true
			} else if i > 0 && rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
				r.needs[name] = fmt.Sprintf("p%d", rapid.IntRange(0, i-1).Draw(t, "need"))
			}
			all = append(all, candidate{ids: []patch.ID{patch.ID(name)}, specs: []spec{{name: name, version: "1", native: true}}})
		}
		var possible func(name string) bool
		possible = func(name string) bool {
			return !r.bad[name] && (r.needs[name] == "" || possible(r.needs[name]))
		}
		var want []string
		for i := range n {
			if name := fmt.Sprintf("p%d", i); !possible(name) {
				want = append(want, name)
			}
		}
		all = rapid.Permutation(all).Draw(t, "order")
		w := &workspace{in: New(r), dir: "/w", job: install.Job{}}
		specs, out, refused, err := w.solve(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range refused {
			got = append(got, string(x.Patch))
			if !strings.Contains(x.Reason, "is impossible") {
				t.Errorf("%s was refused for %q", x.Patch, x.Reason)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("refused (-want +got):\n%s", diff)
		}
		if len(specs) != n-len(want) || (len(specs) > 0 && out != fmt.Sprint(len(specs))) {
			t.Errorf("%d specs with the simulation of %q, want %d", len(specs), out, n-len(want))
		}
	})
}

func TestSolveIsCheapWhenOneFails(t *testing.T) {
	r := &rules{bad: map[string]bool{"p77": true}}
	var all []candidate
	for i := range 100 {
		all = append(all, candidate{ids: []patch.ID{"x"}, specs: []spec{{name: fmt.Sprintf("p%d", i), version: "1", native: true}}})
	}
	w := &workspace{in: New(r), dir: "/w"}
	if _, _, refused, err := w.solve(t.Context(), all); err != nil || len(refused) != 1 || r.calls > 20 {
		t.Errorf("%d simulations, refused %+v, %v", r.calls, refused, err)
	}
}

func TestWanted(t *testing.T) {
	pkg := func(name, arch, version string) inventory.Package {
		return inventory.Package{Kind: "dpkg", Name: name, Arch: arch, Version: version}
	}
	held, broken := pkg("held", "amd64", "1"), pkg("broken", "amd64", "2")
	held.Hold, broken.Broken = true, "half-configured"
	snap := &inventory.Snapshot{
		OS: inventory.OS{Arch: "amd64"},
		Packages: []inventory.Package{
			pkg("all", "all", "1"), broken, held, pkg("multi", "amd64", "1"), pkg("multi", "i386", "1"), pkg("newer", "amd64", "3"), pkg("same", "amd64", "2"),
		},
	}
	slices.SortFunc(snap.Packages, inventory.ComparePackages)
	item := func(name, arch string) patch.Item {
		return patch.Item{Kind: "dpkg", Name: name, Arch: arch, Version: "2"}
	}
	for _, tc := range []struct {
		item  patch.Item
		want  []string
		held  string
		again bool
	}{
		{item: item("all", "all"), want: []string{"all=2"}},
		{item: item("all", "amd64"), want: []string{"all=2"}},
		{item: item("multi", "amd64"), want: []string{"multi=2"}},
		{item: item("multi", "i386"), want: []string{"multi:i386=2"}},
		{item: item("multi", "arm64")},
		{item: item("newer", "amd64")},
		{item: item("same", "amd64")},
		{item: item("absent", "amd64")},
		{item: item("broken", "amd64"), want: []string{"broken=2"}, again: true},
		{item: item("held", "amd64"), want: []string{"held=2"}, held: "held"},
	} {
		specs, held := wanted(patch.Patch{Items: []patch.Item{tc.item}}, snap)
		if diff := cmp.Diff(tc.want, argsOrNil(specs)); diff != "" || held != tc.held || (len(specs) > 0 && specs[0].repair != tc.again) {
			t.Errorf("%s:%s: specs %+v, held %q", tc.item.Name, tc.item.Arch, specs, held)
		}
	}
}

func argsOrNil(specs []spec) []string {
	if len(specs) == 0 {
		return nil
	}
	return argsOf(specs)
}

func TestConffileOptionsUndoEachOther(t *testing.T) {
	keep, replace := strings.Join(conffileOptions(deploy.KeepOld), " "), strings.Join(conffileOptions(deploy.TakeNew), " ")
	if keep != "--force-confdef --force-confold --no-force-confnew" || replace != "--force-confnew --no-force-confold --no-force-confdef" {
		t.Errorf("%q, %q", keep, replace)
	}
	if conffileOptions("")[1] != "--force-confold" {
		t.Error("without a word from the server, files must be kept")
	}
}

func TestStatus(t *testing.T) {
	for abbrev, word := range map[string]string{
		"ii": "installed", "hi": "installed", "iF": "half-configured", "iHR": "half-installed, to be installed again",
		"iU": "unpacked, not configured", "it": "with a trigger pending", "": "not installed",
	} {
		s := status{abbrev: abbrev}
		if s.word() != word || s.ok() != (word == "installed") {
			t.Errorf("%q: %q, ok %v", abbrev, s.word(), s.ok())
		}
	}
}
