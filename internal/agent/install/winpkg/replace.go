package winpkg

import (
	"context"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// putBackTime is how long putting back the version before may take, which is
// done even when the order's time is up: the machine must not end without it.
const putBackTime = 15 * time.Minute

// replace plans the installation of a patch, after the removal of what its
// manifest wants removed; or says why that can't be.
func (p *planner) replace(one patch.Patch, rows []inventory.Package) (steps []step, refusal string) {
	last := step{patch: one}
	if one.Install.Replace == "" {
		return []step{last}, ""
	}
	if one.Install.Replace != patch.ReplaceUninstall {
		return nil, "this agent does not know how to make room by " + one.Install.Replace
	}
	going := one
	if one.Install.Kind == "msi" {
		going.Install.UninstallArgv = nil // names the new product; the old one's code is its key
	} else if len(one.Install.UninstallArgv) == 0 || one.Install.UninstallArgv[0] != "{uninstall}" {
		return nil, "the version before it must be uninstalled first, and its signed manifest says no way to do that"
	}
	if why := strangers(rows); why != "" {
		return nil, why
	}
	last.replaces = p.madeRoom(one, rows)
	for _, row := range rows {
		if older(row.Version, version(one)) {
			steps = append(steps, step{patch: going, undo: true, follows: one.ID, older: &row})
			last.replaces = true
		}
	}
	if last.replaces {
		last.follows = one.ID
		i := slices.IndexFunc(p.job.Restored, func(r patch.Patch) bool { return r.ID == one.Install.Restores })
		if i >= 0 && p.barred(p.job.Restored[i], step{patch: p.job.Restored[i]}) == "" {
			last.spare = &p.job.Restored[i]
		}
	}
	return append(steps, last), ""
}

// madeRoom reports that an attempt which was cut off has uninstalled the product
// to install the patch in its place.
func (p *planner) madeRoom(one patch.Patch, rows []inventory.Package) bool {
	if one.Install.Replace != patch.ReplaceUninstall || len(rows) > 0 || p.job.Operation == deploy.Rollback {
		return false
	}
	b, _ := readBegun(p.job) // of any attempt
	return slices.ContainsFunc(b.Steps, func(s begunStep) bool { return s.Patch == one.ID && s.Undo })
}

// listed reports whether Windows still lists what the step is to remove.
func (s *session) listed(l *laid, have []inventory.Package) bool {
	rows := machineRows(list(have), l.patch)
	if l.older == nil {
		return len(rows) > 0
	}
	return slices.ContainsFunc(rows, func(r inventory.Package) bool {
		return r.Name == l.older.Name && r.Arch == l.older.Arch && r.Version == l.older.Version
	})
}

// arrived waits a moment until Windows lists what an installer announced.
func (s *session) arrived(ctx context.Context, p patch.Patch) bool {
	for start := time.Now(); ; {
		have, err := s.in.stock(ctx)
		if err != nil || slices.ContainsFunc(machineRows(list(have), p), func(r inventory.Package) bool { return !older(r.Version, version(p)) }) {
			return true // what can't be seen is for the agent's fresh scan to judge
		}
		if time.Since(start) > settle || !pause(ctx, settlePause) {
			return false
		}
	}
}

// replaced looks at an installation in place of a removed product, and puts the
// version before back when it failed.
func (s *session) replaced(ctx context.Context, l *laid, out Outcome) {
	if out.Meaning == patch.ExitOK && !s.failed[l.patch.ID] && s.in.kinds[l.patch.Install.Kind].Registers() {
		s.idle = slices.DeleteFunc(s.idle, func(i idle) bool { return i.patch.ID == l.patch.ID }) // judged here and now
		if !s.arrived(ctx, l.patch) {
			s.fail(l.step, "its installer ended with exit code "+codeText(out.Code)+", but Windows does not list it: it did nothing")
		}
	}
	if !s.failed[l.patch.ID] {
		return
	}
	if words := s.putBack(ctx, l); words != "" {
		s.res.Failures[len(s.res.Failures)-1].Reason += "; " + words
	}
}

// putBack installs the version before again and says what came of it; "" when
// the product is there after all.
func (s *session) putBack(ctx context.Context, l *laid) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackTime)
	defer cancel()
	if have, err := s.in.stock(ctx); err == nil && len(machineRows(list(have), l.patch)) > 0 {
		return ""
	}
	gone := "the version before it had been uninstalled, and the machine is without " + l.patch.Product + " now: "
	switch {
	case l.back == nil && l.noBack != nil:
		return gone + "it could not be put back: " + fault.Public(l.noBack)
	case l.back == nil:
		return gone + "the catalog has nothing to put back"
	}
	out, err := s.one(ctx, l.back)
	before := l.back.patch.Product + " " + version(l.back.patch)
	switch {
	case err != nil:
		return gone + before + " could not be put back: " + fault.Public(err)
	case out.Meaning != patch.ExitOK && out.Meaning != patch.ExitRebootDue && out.Meaning != patch.ExitRebootBegun:
		return gone + before + " could not be put back: " + out.Reason
	case !s.arrived(ctx, l.back.patch):
		return gone + before + " could not be put back: its installer did nothing"
	}
	s.res.RebootDue = s.res.RebootDue || out.Meaning != patch.ExitOK
	return "the version before it had been uninstalled; " + before + " was put back"
}

// without reports that a product which had to make room is gone and nothing came
// in its place: the notes stay for the next attempt.
func (s *session) without(ctx context.Context, steps []step) bool {
	have, err := s.in.stock(ctx)
	return err == nil && slices.ContainsFunc(steps, func(st step) bool {
		return st.replaces && len(machineRows(list(have), st.patch)) == 0
	})
}
