package apt

import (
	"context"
	"fmt"
	"slices"
	"strings"

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

func (w *workspace) plan(ctx context.Context) (deploy.Plan, []spec, error) {
	var plan deploy.Plan
	perPatch := map[patch.ID][]spec{}
	var ids []patch.ID
	for _, p := range w.job.Patches {
		specs, held := wanted(p, w.job.Snapshot)
		if held != "" {
			plan.Refused = append(plan.Refused, deploy.Refusal{Patch: p.ID, Reason: held + " is held by the machine's administrator (apt-mark hold)"})
			continue
		}
		if len(specs) > 0 {
			perPatch[p.ID] = specs
			ids = append(ids, p.ID)
		}
	}
	specs, out, refused, err := w.solve(ctx, ids, perPatch)
	if err != nil {
		return plan, nil, err
	}
	plan.Refused = append(plan.Refused, refused...)
	if len(specs) == 0 {
		return plan, nil, nil
	}
	plan.Changes = changes(out, specs)
	plan.DiskBytes = parseDisk(out)
	plan.Payloads, err = w.payloads(ctx, specs)
	if err != nil {
		return plan, nil, err
	}
	for _, p := range plan.Payloads {
		plan.DownloadBytes += p.Size
	}
	return plan, specs, nil
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

// solve finds the largest set of the patches that apt can install together:
// all of them, or those that can be added one after the other.
func (w *workspace) solve(ctx context.Context, ids []patch.ID, per map[patch.ID][]spec) (specs []spec, out string, refused []deploy.Refusal, err error) {
	for _, id := range ids {
		specs = append(specs, per[id]...)
	}
	if len(specs) == 0 {
		return nil, "", nil, nil
	}
	out, problem, err := w.simulate(ctx, specs)
	if err != nil || problem == "" {
		return specs, out, nil, err
	}
	specs, out = nil, ""
	for _, id := range ids {
		try := append(slices.Clone(specs), per[id]...)
		tried, problem, err := w.simulate(ctx, try)
		if err != nil {
			return nil, "", nil, err
		}
		if problem != "" {
			refused = append(refused, deploy.Refusal{Patch: id, Reason: problem})
			continue
		}
		specs, out = try, tried
	}
	return specs, out, refused, nil
}

// simulate runs apt-get -s. problem is apt's reason when it can't be done.
func (w *workspace) simulate(ctx context.Context, specs []spec) (out, problem string, err error) {
	// The lock is not needed to simulate; another package manager may work.
	args := append([]string{"-s", "-o", "Debug::NoLocking=true", "install"}, argsOf(specs)...)
	res, err := w.aptGet(ctx, simulateTimeout, nil, args...)
	if err != nil {
		return "", "", err
	}
	if res.ExitCode != 0 {
		return "", unmet(string(res.Stdout)) + lastError(string(res.Stderr)+"\n"+string(res.Stdout)), nil
	}
	return string(res.Stdout), "", nil
}

// unmet collects the lines in which apt says whose dependency is missing.
func unmet(out string) string {
	_, rest, found := strings.Cut(out, "The following packages have unmet dependencies:")
	if !found {
		return ""
	}
	var parts []string
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, " ") {
			if len(parts) > 0 {
				break
			}
			continue
		}
		parts = append(parts, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(parts, ", ") + "; "
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
	args := append([]string{"-q", "-o", "Debug::NoLocking=true", "--print-uris", "install"}, argsOf(specs)...)
	res, err := w.aptGet(ctx, simulateTimeout, nil, args...)
	if err != nil {
		return nil, err
	}
	if res.ExitCode != 0 {
		return nil, fault.New(fault.Internal, "apt: the transaction that was just simulated can't be listed: %s", lastError(string(res.Stderr)))
	}
	return parseURIs(string(res.Stdout), w.path("archives"))
}

// poolName is the payload's place below the work folder, and its name as the
// vendor knows it.
func poolName(p patch.Payload) string { return fmt.Sprintf("archives/%s", p.Name) }
