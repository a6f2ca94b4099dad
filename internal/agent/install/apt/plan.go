package apt

import (
	"context"
	"fmt"
	"slices"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// spec is one exact package version to ask apt for.
type spec struct {
	name    string
	arch    string // effective: never "all"
	version string
	native  bool
	// repair says that the version is there, but not configured.
	repair bool
}

func (s spec) key() string { return s.name + ":" + s.arch }

// arg is apt-get's way to name an exact version.
func (s spec) arg() string {
	if s.native {
		return s.name + "=" + s.version
	}
	return s.name + ":" + s.arch + "=" + s.version
}

// Plan computes the exact transaction without changing anything. A patch that
// can't be installed (a hold, an unmet dependency, a removal that would be
// needed) is left out with apt's reason, and the others are planned.
func (in *Installer) Plan(ctx context.Context, job install.Job) (deploy.Plan, error) {
	w, err := in.open(ctx, job)
	if err != nil {
		return deploy.Plan{}, err
	}
	plan, _, err := w.plan(ctx)
	return plan, err
}

// candidate is a patch of the job, or several that are builds of one source
// for different architectures: dpkg keeps those level, so they go together.
type candidate struct {
	ids   []patch.ID
	specs []spec
}

func (w *workspace) plan(ctx context.Context) (deploy.Plan, []spec, error) {
	var plan deploy.Plan
	all, err := w.candidates(ctx, &plan)
	if err != nil {
		return plan, nil, err
	}
	specs, out, refused, err := w.solve(ctx, all)
	if err != nil {
		return plan, nil, err
	}
	plan.Refused = append(plan.Refused, refused...)
	if len(specs) == 0 {
		return plan, nil, nil
	}
	plan.Changes = changes(out, specs)
	if plan.Payloads, err = w.payloads(ctx, specs); err != nil {
		return plan, nil, err
	}
	for _, p := range plan.Payloads {
		plan.DownloadBytes += p.Size
	}
	plan.DiskBytes, err = w.diskNeed(ctx, plan)
	return plan, specs, err
}

// candidates sorts out what may not be installed whatever apt says, and puts
// together what belongs together.
func (w *workspace) candidates(ctx context.Context, plan *deploy.Plan) ([]candidate, error) {
	perPatch, names := map[patch.ID][]spec{}, []string(nil)
	for _, p := range w.job.Patches {
		specs, held := wanted(p, w.job.Snapshot)
		reason := ""
		if len(specs) > 0 {
			reason = w.untrusted(p)
		}
		if reason != "" {
			reason = "apt of this machine refused the archive snapshot of " + reason
		} else if held != "" {
			reason = held + " is held by the machine's administrator (apt-mark hold)"
		}
		if reason != "" {
			plan.Refused = append(plan.Refused, deploy.Refusal{Patch: p.ID, Reason: reason})
			continue
		}
		perPatch[p.ID] = specs
		for _, s := range specs {
			names = append(names, s.key())
		}
	}
	choice, err := w.aptChoice(ctx, names)
	if err != nil {
		return nil, err
	}
	var out []candidate
	at := map[string]int{}
	for _, p := range w.job.Patches {
		specs := perPatch[p.ID]
		if len(specs) == 0 {
			continue
		}
		if reason := pinnedAway(specs, choice); reason != "" {
			plan.Refused = append(plan.Refused, deploy.Refusal{Patch: p.ID, Reason: reason})
			continue
		}
		key := p.Vendor + " " + p.Product + " " + p.Version
		i, known := at[key]
		if !known {
			i = len(out)
			at[key], out = i, append(out, candidate{})
		}
		out[i].ids, out[i].specs = append(out[i].ids, p.ID), append(out[i].specs, specs...)
	}
	return out, nil
}

// pinnedAway says which package apt would not bring that far by itself, with
// the machine's preferences over the very same archives.
func pinnedAway(specs []spec, choice map[string]string) string {
	for _, s := range specs {
		if c, ok := choice[s.key()]; ok && !s.repair && vercmp.Dpkg(c, s.version) < 0 {
			return fmt.Sprintf("%s is kept at %s by the machine's apt preferences (apt_preferences(5))", s.name, c)
		}
	}
	return ""
}

// aptChoice returns the version that apt would choose, by name:arch.
func (w *workspace) aptChoice(ctx context.Context, names []string) (map[string]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	res, err := w.aptTool(ctx, "apt-cache", simulateTimeout, nil, append([]string{"policy"}, names...)...)
	if err != nil {
		return nil, err
	}
	return parsePolicy(string(res.Stdout), w.job.Snapshot.OS.Arch), nil
}

func changes(out string, specs []spec) []deploy.Change {
	asked := map[string]bool{}
	for _, s := range specs {
		asked[s.key()] = true
		if s.native {
			asked[s.name+":all"] = true
		}
	}
	list := parseSimulation(out, asked)
	for _, s := range specs {
		if s.repair && !slices.ContainsFunc(list, func(c deploy.Change) bool { return c.Package == s.name }) {
			list = append(list, deploy.Change{Package: s.name, Arch: s.arch, From: s.version, To: s.version, Why: "approved; configured again"})
		}
	}
	return list
}

// wanted returns what the patch brings that the machine has in an older
// version or in a broken state; held names a package that must not change.
func wanted(p patch.Patch, snap *inventory.Snapshot) (specs []spec, held string) {
	for _, it := range p.Items {
		arch := snap.OS.EffectiveArch(it.Arch)
		for _, have := range snap.Find(it.Kind, it.Name) {
			if snap.OS.EffectiveArch(have.Arch) != arch {
				continue
			}
			c := vercmp.Dpkg(have.Version, it.Version)
			if c > 0 || (c == 0 && have.Broken == "") {
				continue
			}
			if have.Hold {
				held = it.Name
			}
			specs = append(specs, spec{name: it.Name, arch: arch, version: it.Version, native: arch == snap.OS.Arch, repair: c == 0})
		}
	}
	return specs, held
}

func argsOf(specs []spec) []string {
	args := make([]string, 0, len(specs))
	for _, s := range specs {
		args = append(args, s.arg())
	}
	slices.Sort(args)
	return slices.Compact(args)
}

// payloads names the transaction's files with the hashes that the vendor's
// signed index gives.
func (w *workspace) payloads(ctx context.Context, specs []spec) ([]patch.Payload, error) {
	args := append([]string{"-o", "Debug::NoLocking=true", "--print-uris", "install"}, argsOf(specs)...)
	res, err := w.aptGet(ctx, simulateTimeout, nil, args...)
	if err != nil {
		return nil, err
	}
	if res.ExitCode != 0 {
		return nil, fault.New(fault.Internal, "apt: the transaction that was just simulated can't be listed: %s", lastError(string(res.Stderr)+"\n"+string(res.Stdout)))
	}
	return parseURIs(string(res.Stdout), w.path("archives"))
}

// diskNeed is what the transaction takes on the disk at its worst moment, with
// the packages' files counted as their vendor declares them: all that grows,
// and the largest package once more, as dpkg lays its new files beside the old
// ones.
func (w *workspace) diskNeed(ctx context.Context, plan deploy.Plan) (int64, error) {
	var args []string
	for _, c := range plan.Changes {
		args = append(args, c.Package+":"+w.effective(c.Arch)+"="+c.To)
	}
	res, err := w.aptTool(ctx, "apt-cache", simulateTimeout, nil, append([]string{"show", "--no-all-versions"}, args...)...)
	if err != nil {
		return 0, err
	}
	sizes := parseSizes(string(res.Stdout))
	have := w.versions(ctx, plan.Changes)
	var grows, largest int64
	for _, c := range plan.Changes {
		size := sizes[c.Package+" "+c.Arch+" "+c.To]
		largest = max(largest, size)
		grows += max(0, size-have[c.Package+":"+w.effective(c.Arch)].size)
	}
	return grows + largest, nil
}

// poolName is the payload's place below the work folder, and its name as the
// vendor knows it.
func poolName(p patch.Payload) string { return fmt.Sprintf("archives/%s", p.Name) }
