package endpoint

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/test/endpoint/aptdriver/order"
	"github.com/fettlehq/fettle/test/lab"
)

// plain is a case of a package without peculiarities.
func plain(name string, change func(p *lab.Package)) lab.Case {
	build := func(version string) lab.Package {
		return lab.Package{Name: name, Version: version, Files: map[string]lab.File{"/usr/share/" + name + "/version": lab.Text(version + "\n")}}
	}
	patched := build(lab.NewVersion)
	if change != nil {
		change(&patched)
	}
	return lab.Case{Package: name, Suite: lab.SecuritySuite, Old: []lab.Package{build(lab.OldVersion)}, New: []lab.Package{patched}}
}

// change is a row of a transaction without the reason.
type change struct{ name, arch, from, to string }

func rows(list []deploy.Change) []change {
	out := make([]change, 0, len(list))
	for _, c := range list {
		out = append(out, change{c.Package, c.Arch, c.From, c.To})
	}
	return sorted(out)
}

func sorted(list []change) []change {
	slices.SortFunc(list, func(a, b change) int { return strings.Compare(a.name+":"+a.arch, b.name+":"+b.arch) })
	return list
}

// simulated reads what apt-get -s would install.
func simulated(out string) []change {
	line := regexp.MustCompile(`(?m)^Inst ([^ :]+)(?::\S+)? (?:\[(\S+)\] )?\((\S+) .*\[(\w+)\]\)`)
	var all []change
	for _, m := range line.FindAllStringSubmatch(out, -1) {
		all = append(all, change{m[1], m[4], m[2], m[3]})
	}
	return sorted(all)
}

func refusalOf(list []deploy.Refusal, product string) string {
	for _, r := range list {
		if strings.Contains(string(r.Patch), ":"+product+":") {
			return r.Reason
		}
	}
	return ""
}

func without(list []patch.Patch, product string) []patch.Patch {
	return slices.DeleteFunc(slices.Clone(list), func(p patch.Patch) bool { return p.Product == product })
}

// TestAptPlan holds the plan against what apt itself would do with the archive
// as one of its sources.
func TestAptPlan(t *testing.T) {
	cases, err := lab.Scenario(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unmet := plain("lab-unmet", func(p *lab.Package) { p.Depends = []string{"lab-nowhere (>= 2)"} })
	rival := plain("lab-rival", func(p *lab.Package) { p.Conflicts = []string{"lab-worker"} })
	w := newWorld(t, append(cases, unmet, rival)...)
	m := w.machine("plan", lab.MachineOptions{})
	w.release()
	before := m.prints("/etc/apt", "/var/lib/apt", "/var/lib/dpkg", "/var/cache/apt")
	patches, _ := w.missing(m.snapshot())
	patches = append(patches, w.newest("lab-pinned")...)
	r, _ := m.good(m.request(order.Plan, patches))
	if after := m.prints("/etc/apt", "/var/lib/apt", "/var/lib/dpkg", "/var/cache/apt"); after != before {
		t.Errorf("planning changed the machine (-before +after):\n%s", cmp.Diff(before, after))
	}
	m.run("apt-get", "update")
	want := simulated(m.run("apt-get", "-s", "-o", "APT::Get::Upgrade-Allow-New=true", "upgrade"))
	if diff := cmp.Diff(want, rows(r.Plan.Changes), cmp.AllowUnexported(change{})); diff != "" || len(want) < 9 {
		t.Errorf("the plan is not what apt would do (-apt +plan):\n%s", diff)
	}
	for product, reason := range map[string]string{
		"lab-held":   "lab-held is held by the machine's administrator (apt-mark hold)",
		"lab-pinned": "lab-pinned is kept at 1.0-1 by the machine's apt preferences",
		"lab-unmet":  "Depends: lab-nowhere (>= 2) but it is not installable",
		"lab-rival":  "it would remove lab-worker",
	} {
		if got := refusalOf(r.Plan.Refused, product); !strings.Contains(got, reason) {
			t.Errorf("%s: refused for %q, want %q", product, got, reason)
		}
	}
	for _, p := range r.Plan.Refused {
		if !slices.ContainsFunc([]string{"lab-held", "lab-pinned", "lab-unmet", "lab-rival"}, func(s string) bool { return strings.Contains(string(p.Patch), ":"+s+":") }) {
			t.Errorf("refused too: %+v", p)
		}
	}
	for _, c := range r.Plan.Changes {
		if want := map[bool]string{true: "new dependency", false: "approved"}[c.Package == "lab-newdep-data"]; c.Why != want {
			t.Errorf("%s is in the plan as %q, want %q", c.Package, c.Why, want)
		}
	}
	if len(r.Plan.Payloads) != len(r.Plan.Changes) || r.Plan.DownloadBytes <= 0 || r.Plan.DiskBytes <= 0 {
		t.Errorf("plan: %d payloads, %d bytes to fetch, %d on disk", len(r.Plan.Payloads), r.Plan.DownloadBytes, r.Plan.DiskBytes)
	}
	t.Run("one architecture of two", func(t *testing.T) {
		r, _ := m.good(m.request(order.Plan, w.newest("lab-multi")[:1]))
		want := simulated(m.run("apt-get", "-s", "install", "lab-multi="+lab.NewVersion))
		if diff := cmp.Diff(want, rows(r.Plan.Changes), cmp.AllowUnexported(change{})); diff != "" || len(want) != 2 {
			t.Errorf("(-apt +plan):\n%s", diff)
		}
	})
}

// TestAptInstall installs everything that the scenario offers.
func TestAptInstall(t *testing.T) {
	cases, err := lab.Scenario(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, cases...)
	keep, replace := w.machine("keep", lab.MachineOptions{}), w.machine("replace", lab.MachineOptions{})
	w.release()
	t.Run("keep conffiles", func(t *testing.T) { testInstall(t, keep, deploy.KeepOld, "colour = green\n") })
	t.Run("replace conffiles", func(t *testing.T) { testInstall(t, replace, deploy.TakeNew, "colour = blue\nsize = large\n") })
}

func testInstall(t *testing.T, m *machine, policy deploy.Conffile, conffile string) {
	w := m.w
	m.run("apt-get", "update")
	m.run("apt-mark", "auto", "lab-service", "liblab1", "lab-multi:i386")
	marks := strings.Fields(m.run("apt-mark", "showauto"))
	before := m.prints("/etc/apt", "/var/lib/apt/lists")
	patches, _ := w.missing(m.snapshot())
	req := m.request(order.Plan, patches)
	req.Conffile = policy
	plan, _ := m.good(req)
	w.stage(append(patches, w.newest("lab-newdep-data")...))
	req.Step = order.Install
	r, progress := m.good(req)

	if after := m.prints("/etc/apt", "/var/lib/apt/lists"); after != before {
		t.Errorf("apt's own configuration or lists changed:\n%s", cmp.Diff(before, after))
	}
	failing := change{"lab-failing", "all", lab.OldVersion, lab.NewVersion}
	want := slices.DeleteFunc(rows(plan.Plan.Changes), func(c change) bool { return c == failing })
	if diff := cmp.Diff(want, rows(r.Result.Changes), cmp.AllowUnexported(change{})); diff != "" {
		t.Errorf("changes (-planned +result):\n%s", diff)
	}
	if f := r.Result.Failures; len(f) != 1 || f[0].Package != "lab-failing" || f[0].Version != lab.NewVersion ||
		!strings.Contains(f[0].Reason, "lab-failing: cannot migrate the database: column is missing") || !strings.Contains(f[0].Reason, "exit status 3") {
		t.Errorf("failures: %+v", f)
	}
	have := m.versions()
	for _, c := range w.cases {
		for _, p := range c.New {
			arch := p.Arch
			if arch == "" {
				arch = "all"
			}
			want := map[bool]string{true: "installed " + lab.NewVersion, false: "installed " + lab.OldVersion}[c.Installs]
			if c.Fails != "" {
				want = "half-configured " + lab.NewVersion
			}
			if got := have[p.Name+":"+arch]; got != want {
				t.Errorf("dpkg: %s:%s is %q, want %q", p.Name, arch, got, want)
			}
		}
	}
	after := strings.Fields(m.run("apt-mark", "showauto"))
	if diff := cmp.Diff(slices.Sorted(slices.Values(append(marks, "lab-newdep-data"))), slices.Sorted(slices.Values(after))); diff != "" {
		t.Errorf("packages marked as automatically installed:\n%s", diff)
	}
	if got := m.run("cat", "/etc/lab-conffile.conf"); got != conffile {
		t.Errorf("the changed conffile is now %q, want %q", got, conffile)
	}
	if got := m.run("cat", "/run/lab-service.version"); got != lab.NewVersion+"\n" {
		t.Errorf("the service runs %q", got)
	}
	if got := m.run("stat", "-c", "%a", "/var/lib/apt/extended_states", "/var/lib/dpkg/status", "/usr/share/lab-newdep-data", "/run/lab-service.version", "/run/reboot-required", "/var/log/dpkg.log"); got != "644\n644\n755\n644\n644\n644\n" {
		t.Errorf("the agent's umask shows in what was installed: %q", got)
	}
	state := m.snapshot().State
	if !state.RebootDue || !slices.Contains(state.RestartsDue, "lab-worker.service") {
		t.Errorf("a look at the machine afterwards: %+v", state)
	}
	for i, p := range progress {
		if i > 0 && p.Percent < progress[i-1].Percent {
			t.Errorf("progress fell from %d to %d at %q", progress[i-1].Percent, p.Percent, p.Line)
		}
	}
	if last := progress[len(progress)-1]; last.Percent != 100 {
		t.Errorf("progress ended with %+v", last)
	}
	testAgain(t, m, req, patches)
}

// testAgain repeats an installation: only what failed is tried again.
func testAgain(t *testing.T, m *machine, req order.Request, patches []patch.Patch) {
	log := m.run("cat", "/var/log/dpkg.log")
	req.Attempt, req.Patches = 2, without(patches, "lab-failing")
	r, _ := m.good(req)
	if len(r.Result.Changes) != 0 || len(r.Result.Failures) != 0 || m.run("cat", "/var/log/dpkg.log") != log {
		// A broken package is tried by dpkg's repair: that may add to the log.
		rest, _ := strings.CutPrefix(m.run("cat", "/var/log/dpkg.log"), log)
		for line := range strings.Lines(rest) {
			if !strings.Contains(line, "lab-failing") && !strings.Contains(line, " startup ") {
				t.Errorf("a second installation did %q", line)
			}
		}
		if len(r.Result.Changes) != 0 || len(r.Result.Failures) != 0 {
			t.Errorf("a second installation: %+v", r.Result)
		}
	}
	req.Attempt, req.Patches = 3, patches
	r, _ = m.good(req)
	if f := r.Result.Failures; len(r.Result.Changes) != 0 || len(f) != 1 || !strings.Contains(f[0].Reason, "column is missing") {
		t.Errorf("the failing one tried again: %+v", r.Result)
	}
}

// TestAptSuperseded installs the approved version although the vendor's
// archive has moved on and does not hold it any more.
func TestAptSuperseded(t *testing.T) {
	const newer = "1.0-1+deb12u2"
	w := newWorld(t, plain("lab-moved", nil), plain("lab-other", nil))
	m := w.machine("moved", lab.MachineOptions{})
	w.release()
	approved := w.newest("lab-moved", "lab-other")
	w.stage(approved)
	old := filepath.Join(w.archive.Dir, "pool", lab.SecuritySuite, "lab-moved", "lab-moved_"+lab.NewVersion+"_all.deb")
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	w.must(w.archive.Add(w.ctx, lab.SecuritySuite, lab.Package{Name: "lab-moved", Version: newer}))
	w.must(w.archive.Publish(w.ctx))
	w.publish()
	approved = w.newest("lab-moved", "lab-other") // as the catalog of today has them
	r, _ := m.good(m.request(order.Install, approved))
	if have := m.versions(); have["lab-moved:all"] != "installed "+lab.NewVersion || have["lab-other:all"] != "installed "+lab.NewVersion {
		t.Errorf("installed: %v, result %+v", have, r.Result)
	}
	later := w.patches("lab-moved", newer)
	w.stage(later)
	req := m.request(order.Install, later)
	req.Task, req.Dir = "t2", "/var/lib/fettle/work/t2"
	if r, _ := m.good(req); m.versions()["lab-moved:all"] != "installed "+newer {
		t.Errorf("the newer version: %+v", r.Result)
	}
}
