package catalog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/patch"
)

// A package whose installation stopped half-way looks level by its version; it
// is told with its state, and the machine is not called healthy.
func TestHalfInstalledIsToldOf(t *testing.T) {
	s, _ := encode(t, Contents{Header: testHeader(), Patches: []patch.Patch{
		debPatch("zlib", "1.0-1", []string{release}, "zlib1g"),
		debPatch("zlib", "1.0-1+deb12u1", []string{security}, "zlib1g"),
	}})
	for _, tc := range []struct {
		name, version, broken string
		want                  []string
		reason                string
		health                Health
	}{
		{"whole", "1.0-1+deb12u1", "", nil, "", Healthy},
		{"failing postinst", "1.0-1+deb12u1", "half-configured", []string{"zlib1g 1.0-1+deb12u1 -> 1.0-1+deb12u1 broken security"}, "zlib1g 1.0-1+deb12u1 is half-configured", Vulnerable},
		{"work that dpkg does by itself", "1.0-1+deb12u1", "triggers-pending", nil, "", Healthy},
		{"half installed, and a newer one", "1.0-1", "unpacked", []string{"zlib1g 1.0-1 -> 1.0-1+deb12u1 missing security"}, "what is installed is unpacked", Vulnerable},
		{"not of this catalog", "1.1-1", "half-installed", nil, "", Healthy},
	} {
		t.Run(tc.name, func(t *testing.T) {
			snap := machine("zlib1g", tc.version)
			snap.Packages[0].Broken = tc.broken
			got, err := Assess([]*Shard{s}, snap, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, lines(got)); d != "" {
				t.Error(d)
			}
			tally, health := Count(got)
			if health != tc.health {
				t.Errorf("the machine is %s", health)
			}
			if tc.reason != "" && !strings.Contains(got[0].Reason, tc.reason) {
				t.Errorf("the reason is %q", got[0].Reason)
			}
			if broken := len(got) == 1 && got[0].State == Broken; (tally.Problem() == "installed only half: zlib1g") != broken || broken && got[0].Lacks() {
				t.Errorf("%+v: %s", tally, tally.Problem())
			}
		})
	}
	if got := (Tally{Broken: []string{"a", "b", "c", "d", "e"}}).Problem(); got != "5 packages are installed only half: a, b, c and 2 more" {
		t.Error(got)
	}
}
