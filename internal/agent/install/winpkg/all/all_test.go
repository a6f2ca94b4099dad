package all

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

func TestKinds(t *testing.T) {
	if d := cmp.Diff([]string{"cab", "exe", "msi", "msp", "msu", "wua"}, Kinds()); d != "" {
		t.Error(d)
	}
	in := New(run.OS{}, func(context.Context) ([]inventory.Package, error) { return nil, nil })
	for _, kind := range Kinds() {
		job := install.Job{Patches: []patch.Patch{{ID: "x", Install: patch.Manifest{Kind: kind, Scope: "user"}}}, Snapshot: &inventory.Snapshot{}}
		if plan, err := in.Plan(t.Context(), job); err != nil || len(plan.Refused) != 1 || len(plan.Changes) > 0 {
			t.Errorf("%s: %v %+v", kind, err, plan)
		}
	}
}
