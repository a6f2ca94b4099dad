package agent

import (
	"os"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/wire"
)

// twoVersions publishes svc 2.0, as thePatch has it, and the version 1.0 that
// its rollback restores; change alters the newer one.
func (s *server) twoVersions(version int64, change func(*patch.Patch)) []deploy.PatchRef {
	s.t.Helper()
	after := s.thePatch()
	after.Install = patch.Manifest{Kind: "exe", Argv: []string{"{payload}", "/S"}, UninstallArgv: []string{"{uninstall}", "/S"}, Restores: "svc:1.0"}
	before := s.thePatch()
	before.ID, before.Version = "svc:1.0", "1.0"
	before.Items[0].Version = "1.0"
	before.Install = patch.Manifest{Kind: "exe", Argv: []string{"{payload}", "/S"}}
	change(&after)
	return s.publish(version, after, before)[:1]
}

func rollback(task deploy.TaskID, action wire.Action, refs []deploy.PatchRef) wire.Order {
	o := order(task, action, refs)
	o.Operation = deploy.Rollback
	return o
}

// TestRollback takes a patch back: the version before it comes from the signed
// catalog, and only a fresh scan says that it is there again.
func TestRollback(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.twoVersions(1, func(*patch.Patch) {})
	check(t, scripted{root: root}.set("svc", "2.0"))
	d := s.enrolled(root)
	s.agent(d, root)
	s.order(rollback("t", wire.ActPlan, refs))
	plan := s.event("t", isState(deploy.Planned)).Plan
	if plan == nil || len(plan.Changes) != 1 || plan.Changes[0].From != "2.0" || plan.Changes[0].To != "1.0" {
		t.Fatalf("plan %+v", plan)
	}
	s.order(rollback("t", wire.ActInstall, refs))
	s.event("t", isState(deploy.Verifying))
	s.order(rollback("t", wire.ActVerify, refs))
	got := map[patch.ID]bool{}
	for _, v := range s.event("t", isVerdict).Verdicts {
		got[v.Patch] = v.Installed
	}
	if len(got) != 2 || got[refs[0].ID] || !got["svc:1.0"] {
		t.Errorf("verdicts %v", got)
	}
}

// TestRollbackRefused: what the signed catalog does not say how to take back,
// and what the machine's own policy forbids, stays as it is.
func TestRollbackRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*patch.Patch)
		policy  string
		says    string
		refused bool
	}{
		"apt":                  {func(p *patch.Patch) { p.Install.Kind = "apt" }, "", "apt packages have no safe way back", false},
		"told by files":        {func(p *patch.Patch) { p.Items[0].Kind = "file" }, "", "recognised by its files alone", false},
		"no way to uninstall":  {func(p *patch.Patch) { p.Install.UninstallArgv = nil }, "", "says no way to uninstall it", false},
		"unknown version":      {func(p *patch.Patch) { p.Install.Restores = "svc:0.9" }, "", "svc:0.9, which does not stand in the signed catalog", true},
		"another product":      {func(p *patch.Patch) { p.Product = "other" }, "", "no earlier version of it", true},
		"no rollbacks":         {func(*patch.Patch) {}, `{"allow_rollback":false}`, "(allow_rollback)", true},
		"no changes":           {func(*patch.Patch) {}, `{"allow_install":false}`, "(allow_install)", true},
		"restores the refused": {func(*patch.Patch) {}, `{"refuse_patches":["svc:1.*"]}`, "refuses patch svc:1.0", true},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := newServer(t), newMachine(t)
			refs := s.twoVersions(1, tc.change)
			check(t, scripted{root: root}.set("svc", "2.0"))
			d := s.enrolled(root)
			if tc.policy != "" {
				write(t, d.path("policy.json"), tc.policy)
			}
			s.agent(d, root)
			s.order(rollback("t", wire.ActInstall, refs))
			if e := s.event("t", isState(deploy.Failed)); !strings.Contains(e.Reason, tc.says) || e.Refused != tc.refused {
				t.Errorf("refused %v: %q", e.Refused, e.Reason)
			}
			if _, err := os.Stat(d.path("installs.log")); !os.IsNotExist(err) {
				t.Error("something was done")
			}
		})
	}
}

// TestGoneIsNotInstalled: an installer that removes the old version and then
// fails, whatever its exit code says, has not installed the patch. Without an
// installation, a product that is gone needs none.
func TestGoneIsNotInstalled(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	refs := s.twoVersions(1, func(*patch.Patch) {})
	d := s.enrolled(root)
	s.agent(d, root)
	s.order(order("t", wire.ActInstall, refs))
	s.event("t", isState(deploy.Verifying))
	check(t, scripted{root: root}.remove("svc"))
	s.order(order("t", wire.ActVerify, refs))
	if v := s.event("t", isVerdict).Verdicts; v[0].Installed || !strings.Contains(v[0].Reason, "after its installation") {
		t.Errorf("after an installation: %+v", v)
	}
	s.order(order("u", wire.ActVerify, refs))
	if v := s.event("u", isVerdict).Verdicts; !v[0].Installed {
		t.Errorf("without one: %+v", v)
	}
}
