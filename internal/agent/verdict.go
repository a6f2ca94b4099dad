package agent

import (
	"context"
	"slices"

	"github.com/fettlehq/fettle/internal/agent/probe"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// verdicts answers ActVerify: per patch, whether a fresh look at the machine
// shows it installed, and the reason in words. After a rollback the patches
// that were put back are told too.
func (b *bench) verdicts(ctx context.Context, root string) []deploy.PatchVerdict {
	facts := probe.New(ctx, root, &b.snap)
	out := make([]deploy.PatchVerdict, 0, len(b.patches)+len(b.restored))
	for _, p := range b.patches {
		if b.order.Operation == deploy.Rollback {
			out = append(out, takenBack(p, facts))
			continue
		}
		v := verdict(p, facts, &b.snap)
		if v.Installed && b.workedOn(p) && gone(p, facts) {
			v.Installed, v.Reason = false, "nothing of it is on this machine after its installation"
		}
		out = append(out, v)
	}
	for _, p := range b.restored {
		out = append(out, putBack(p, facts, &b.snap))
	}
	return out
}

// workedOn reports whether this attempt ran the patch's own installer. (A
// package manager that removes what it was to install says so itself.)
func (b *bench) workedOn(p patch.Patch) bool {
	var r deploy.Result
	if p.Install.Kind == "apt" || readJSON(b.resultFile(), &r) != nil {
		return false
	}
	return !slices.ContainsFunc(r.Refused, func(left deploy.Refusal) bool { return left.Patch == p.ID })
}

// gone reports that the machine has nothing that the patch is for.
func gone(p patch.Patch, facts detect.Facts) bool {
	applicable, _ := p.Rules()
	return detect.Eval(applicable, facts).Value == detect.False
}

// putBack says whether the patch before one that was taken back is there
// again. Unlike verdict it wants to see it: a product that is gone altogether
// was not put back.
func putBack(p patch.Patch, facts detect.Facts, snap *inventory.Snapshot) deploy.PatchVerdict {
	_, installed := p.Rules()
	v := detect.Eval(detect.Rule{All: []detect.Rule{installed, p.There()}}, facts)
	d := deploy.PatchVerdict{Patch: p.ID, Installed: v.Value == detect.True, Reason: v.Reason()}
	if reason := undone(p, snap); reason != "" {
		d.Installed, d.Reason = false, reason
	}
	if d.Reason == "" {
		d.Reason = "installed: " + string(v.Value)
	}
	return d
}

// verdict says whether a patch is installed. What is on the machine no more
// needs no patch either.
func verdict(p patch.Patch, facts detect.Facts, snap *inventory.Snapshot) deploy.PatchVerdict {
	applicable, installed := p.Rules()
	v := detect.Eval(installed, facts)
	d := deploy.PatchVerdict{Patch: p.ID, Installed: v.Value == detect.True, Reason: v.Reason()}
	if a := detect.Eval(applicable, facts); a.Value == detect.False {
		d.Installed, d.Reason = true, "nothing of it is on this machine any more"
	} else if reason := undone(p, snap); reason != "" {
		d.Installed, d.Reason = false, reason
	}
	if d.Reason == "" {
		d.Reason = "installed: " + string(v.Value)
	}
	return d
}

// takenBack says whether a patch is still installed after its rollback. Where
// the machine does not tell, it counts as installed: success is proven.
func takenBack(p patch.Patch, facts detect.Facts) deploy.PatchVerdict {
	applicable, installed := p.Rules()
	v := detect.Eval(installed, facts)
	d := deploy.PatchVerdict{Patch: p.ID, Installed: v.Value != detect.False, Reason: v.Reason()}
	if detect.Eval(applicable, facts).Value == detect.False {
		d.Installed, d.Reason = false, "nothing of it is on this machine any more"
	}
	if d.Reason == "" {
		d.Reason = "installed: " + string(v.Value)
	}
	return d
}

// undone says which package of the patch is installed only half: the version
// alone would call it installed.
func undone(p patch.Patch, snap *inventory.Snapshot) string {
	for _, it := range p.Items {
		for _, have := range snap.Find(it.Kind, it.Name) {
			if have.Broken != "" && snap.OS.EffectiveArch(have.Arch) == snap.OS.EffectiveArch(it.Arch) {
				return "package " + have.Name + " " + have.Version + " is " + have.Broken
			}
		}
	}
	return ""
}
