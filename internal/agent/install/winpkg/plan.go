package winpkg

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// step is one call of an installer.
type step struct {
	patch patch.Patch
	undo  bool // uninstall it
	// follows is, for a step that restores what was before, the patch whose
	// removal must have succeeded.
	follows patch.ID
	// older is, for a step that makes room for a newer version, the product
	// that is uninstalled.
	older *inventory.Package
	// replaces marks the installation that comes in its place; spare is what
	// is put back when it fails, nil for nothing.
	replaces bool
	spare    *patch.Patch
}

// needs reports whether the step reads the patch's payload.
func (s step) needs() bool { return !s.undo || uses(s.patch.Install.UninstallArgv, "{payload}") }

func uses(argv []string, word string) bool {
	return slices.ContainsFunc(argv, func(a string) bool { return strings.Contains(a, word) })
}

// plan turns the job into steps.
func (in *Installer) plan(job install.Job) (deploy.Plan, []step) {
	p := planner{in: in, job: job, facts: job.Snapshot.Facts()}
	for _, one := range job.Patches {
		prepare := p.bring
		if job.Operation == deploy.Rollback {
			prepare = p.takeBack
		}
		if reason := prepare(one); reason != "" {
			p.plan.Refused = append(p.plan.Refused, deploy.Refusal{Patch: one.ID, Reason: reason})
		}
	}
	for _, s := range p.steps {
		var files []patch.Payload
		if s.needs() {
			files = payloads(s.patch)
		}
		if s.spare != nil {
			files = append(files, payloads(*s.spare)...)
		}
		for _, pay := range files {
			if !slices.ContainsFunc(p.plan.Payloads, func(o patch.Payload) bool { return o.SHA256 == pay.SHA256 }) {
				p.plan.Payloads = append(p.plan.Payloads, pay)
				p.plan.DownloadBytes += pay.Size
			}
		}
	}
	for _, s := range p.steps {
		if !s.undo {
			for _, pay := range payloads(s.patch) {
				p.plan.DiskBytes += diskFactor * pay.Size
			}
		}
	}
	return p.plan, p.steps
}

type planner struct {
	in    *Installer
	job   install.Job
	facts detect.Facts
	plan  deploy.Plan
	steps []step
}

// bring plans an installation, or says why it can't be.
func (p *planner) bring(one patch.Patch) (refusal string) {
	if why := p.barred(one, step{patch: one}); why != "" {
		return why
	}
	applicable, installed := one.Rules()
	rows := machineRows(p.job.Snapshot, one)
	if why := agentItself(rows); why != "" {
		return why
	}
	if a := detect.Eval(applicable, p.facts); a.Value == detect.False && !p.madeRoom(one, rows) {
		if user := userRow(p.job.Snapshot, one); user != nil && len(rows) == 0 {
			return "only " + strings.TrimPrefix(user.Scope, "user:") + " has it; what a user has installed for himself is left to him"
		}
		return "it does not apply to this machine: " + cmp.Or(a.Reason(), "nothing of it is installed")
	}
	verdict := detect.Eval(installed, p.facts).Value
	want := version(one)
	if verdict == detect.True || len(rows) > 0 && want != "" && p.in.kinds[one.Install.Kind].Registers() && !lower(rows, want, verdict) {
		return ""
	}
	replaced, why := p.replace(one, rows)
	if why != "" {
		return why
	}
	c := deploy.Change{Package: one.Product, Arch: arch(one), To: want, Why: "approved"}
	if len(rows) > 0 {
		c.Package, c.Arch, c.From = title(rows[0]), cmp.Or(rows[0].Arch, c.Arch), rows[0].Version
	}
	p.plan.Changes = append(p.plan.Changes, c)
	p.steps = append(p.steps, replaced...)
	return ""
}

// lower reports whether the patch brings one of the rows forward. One that has
// the very version is installed again only when the patch's own rule says that
// it is not whole.
func lower(rows []inventory.Package, want string, verdict detect.Value) bool {
	broken := verdict == detect.False
	return slices.ContainsFunc(rows, func(r inventory.Package) bool { return older(r.Version, want) || broken && !older(want, r.Version) })
}

// takeBack plans a rollback, or says why it can't be.
func (p *planner) takeBack(one patch.Patch) (refusal string) {
	undo := step{patch: one, undo: true}
	if why := p.barred(one, undo); why != "" {
		return why
	}
	var before *patch.Patch
	if id := one.Install.Restores; id != "" {
		i := slices.IndexFunc(p.job.Restored, func(r patch.Patch) bool { return r.ID == id })
		if i < 0 {
			return "the version before it (" + string(id) + ") does not stand in this machine's catalog"
		}
		before = &p.job.Restored[i]
		if why := p.barred(*before, step{patch: *before}); why != "" {
			return "the version before it can't be installed: " + why
		}
	}
	rows := machineRows(p.job.Snapshot, one)
	if why := agentItself(rows); why != "" {
		return why
	}
	want := version(one)
	if i := slices.IndexFunc(rows, func(r inventory.Package) bool { return want != "" && older(want, r.Version) }); i >= 0 {
		return "the machine has version " + rows[i].Version + " by now, so " + want + " can't be taken back"
	}
	c := deploy.Change{Package: one.Product, Arch: arch(one), Why: "rolled back"}
	i := slices.IndexFunc(rows, func(r inventory.Package) bool { return want == "" || r.Version == "" || !older(r.Version, want) })
	there := i >= 0
	if there {
		c.Package, c.Arch, c.From = title(rows[i]), cmp.Or(rows[i].Arch, c.Arch), rows[i].Version
	} else if len(rows) == 0 && !p.in.kinds[one.Install.Kind].Registers() {
		// Updates that Windows lists nowhere: their own rule tells.
		_, installed := one.Rules()
		there = detect.Eval(installed, p.facts).Value != detect.False
		c.From = want
	}
	if there {
		p.steps = append(p.steps, undo)
	}
	if before != nil && (there || len(rows) == 0) {
		c.To = version(*before)
		p.steps = append(p.steps, step{patch: *before, follows: one.ID})
	}
	if there || c.To != "" {
		p.plan.Changes = append(p.plan.Changes, c)
	}
	return ""
}

// barred says what keeps a patch away whatever the machine has.
func (p *planner) barred(one patch.Patch, s step) string {
	kind := p.in.kinds[one.Install.Kind]
	switch {
	case kind == nil:
		return "this agent has no installer for patches of the kind " + one.Install.Kind
	case one.Install.Scope == "user":
		return "it is installed for single users, which the agent of the whole machine does not do"
	case one.Install.Stray() != "":
		return "its manifest " + one.Install.Stray() + ", so nothing of it is run"
	case s.undo && len(one.Install.UninstallArgv) == 0 && one.Install.Kind != "msi":
		return "its signed manifest says no way to uninstall it"
	case !s.needs():
		return ""
	case kind.Extension() != "" && len(payloads(one)) == 0:
		return "it names no file to install"
	}
	for _, pay := range payloads(one) {
		if pay.Signer == "" {
			return "it does not say who must have signed " + base(pay.Name) + ", so nothing of it is run"
		}
		if p.job.CodeSigning == nil || len(p.job.CodeSigning.Roots) == 0 {
			return "the catalog trusts no certificates for signed programs, so nothing of it is run"
		}
	}
	return ""
}

// payloads lists the patch's files, each once.
func payloads(p patch.Patch) []patch.Payload {
	var out []patch.Payload
	for _, it := range p.Items {
		if it.Payload.SHA256 != "" && !slices.ContainsFunc(out, func(o patch.Payload) bool { return o.SHA256 == it.Payload.SHA256 }) {
			out = append(out, it.Payload)
		}
	}
	return out
}

// version is what Windows lists once the patch is installed.
func version(p patch.Patch) string {
	if len(p.Items) > 0 && p.Items[0].Version != "" {
		return p.Items[0].Version
	}
	return p.Version
}

func arch(p patch.Patch) string {
	if len(p.Items) > 0 {
		return p.Items[0].Arch
	}
	return ""
}
