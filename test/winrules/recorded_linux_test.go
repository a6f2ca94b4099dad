package winrules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/inventory/recorded"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// asked are a record's facts with one answer to every question about the model
// and its devices, which no record holds.
type asked struct {
	detect.Facts
	found bool
}

func (a asked) Query(string, string) (bool, error) { return a.found, nil }

// mayApply says how many of the 1,465 real packages a machine of that build
// and architecture may need, as far as its record tells: what HP had for it in
// March 2021 (the rules ask for builds, not whether it is a server), and Dell's
// one, which asks for the model alone. Any other machine needs that one at most.
var mayApply = map[string]int{
	"6.1.7601 386": 633, "6.1.7601 amd64": 743, "6.3.9600 amd64": 350,
	"10.0.14393 amd64": 903, "10.0.17134 amd64": 896, "10.0.17763 amd64": 489,
}

// TestRecordedMachines evaluates all rules of the real packages against every
// recorded machine: the record alone excludes what is for other releases and
// architectures and proves nothing; a model that no package names excludes all.
func TestRecordedMachines(t *testing.T) {
	rules := realRules(t)
	paths, err := filepath.Glob(filepath.Join(feedtest.Path(t, "inventory-samples"), "*systeminfo*.txt"))
	if err != nil || len(paths) != 45 {
		t.Fatalf("%d recorded machines, %v", len(paths), err)
	}
	seen := map[string]bool{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := recorded.Systeminfo(raw)
		if err != nil {
			t.Fatal(err)
		}
		kind := s.OS.Build + " " + s.OS.Arch
		want, known := mayApply[kind]
		if !known {
			want = 1
		}
		seen[kind] = seen[kind] || known
		if got := undecided(t, filepath.Base(path), &s, rules); got != want {
			t.Errorf("%s (%s): %d packages may apply, want %d", filepath.Base(path), kind, got, want)
		}
	}
	for kind := range mayApply {
		if !seen[kind] {
			t.Errorf("no machine is %s", kind)
		}
	}
}

// undecided counts the packages that the record does not exclude.
func undecided(t *testing.T, name string, s *inventory.Snapshot, rules []Rule) (n int) {
	t.Helper()
	for _, r := range rules {
		v := detect.Eval(r.Rule, s.Facts())
		if v.Value == detect.True {
			t.Errorf("%s: %s is true of the record alone: %v", name, r.Name, v.Evidence)
		}
		if !strings.HasSuffix(r.Name, " applies") {
			continue
		}
		if v.Value == detect.Undetermined {
			n++
		}
		if other := detect.Eval(r.Rule, asked{s.Facts(), false}); other.Value != detect.False {
			t.Errorf("%s: %s is %s of a model that no package names: %s", name, r.Name, other.Value, other.Reason())
		}
	}
	return n
}
