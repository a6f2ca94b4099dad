package endpoint

import (
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/test/lab"
)

// TestFleet is the product's main acceptance: three machines without a route
// to any vendor lack real security updates and everything of the lab's
// scenario; a person leads them through approval with the command line.
//
//	one    leaves the reboot and the restarts to its administrator
//	two    is restarted by the deployment
//	three  has the package whose postinst fails
func TestFleet(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{machine: true})
	scenario, err := lab.Scenario(h.ctx)
	h.must(err)
	h.offer(scenario...)
	without := func(names ...string) []lab.Case {
		return slices.DeleteFunc(slices.Clone(scenario), func(c lab.Case) bool { return slices.Contains(names, c.Package) })
	}
	h.start()
	t.Cleanup(h.down)
	began := time.Now()
	guests := h.invite(
		wish{name: "one", cases: without("lab-failing")},
		wish{name: "two", cases: without("lab-failing")},
		wish{name: "three", cases: without("lab-reboot")},
	)
	h.answers()
	h.enrol(guests)
	t.Logf("three machines are enrolled and scanned after %s", time.Since(began).Round(time.Second))

	f := &fleetTest{house: h, guests: guests}
	f.hasNoWayOut()
	f.missingEqualsApt()
	f.approve()
	f.dryRun()
	f.deploy()
	t.Logf("everything is deployed after %s", time.Since(began).Round(time.Second))
	f.report()
	f.nothingLeft()
}

type fleetTest struct {
	*house
	guests map[string]*guest
	// lacked is what `fettle missing` found at first, by machine.
	lacked map[string][]finding
}

// finding is a line of `fettle missing --json`.
type finding struct {
	Hostname string `json:"hostname"`
	catalog.Finding
	Approval string `json:"approval"`
}

func (f *fleetTest) hasNoWayOut() {
	f.t.Helper()
	for name, g := range f.guests {
		if routes := g.run("ip", "route"); strings.Contains(routes, "default") {
			f.t.Errorf("%s has a way out: %s", name, routes)
		}
		if files := g.run("find", "/var/lib/apt/lists", "-type", "f", "-name", "*Packages*"); files != "" {
			f.t.Errorf("%s has indexes of its own: %s", name, files)
		}
	}
}

func (h *house) missing() map[string][]finding {
	h.t.Helper()
	var list []finding
	h.ask(&list, []string{"missing"})
	out := map[string][]finding{}
	for _, x := range list {
		out[x.Hostname] = append(out[x.Hostname], x)
	}
	return out
}

// offered is an update as apt and fettle both name it.
type offered struct {
	Installed, Available string
	Security             bool
}

// missingEqualsApt gives the first machine the very indexes that the publisher
// read and asks apt there.
func (f *fleetTest) missingEqualsApt() {
	f.t.Helper()
	f.lacked = f.missing()
	g := f.guests["one"]
	want, got := f.apt(g), map[string]offered{}
	genuine := 0
	for _, x := range f.lacked["one"] {
		if x.State == catalog.Pinned {
			if x.Package != "lab-pinned" {
				f.t.Errorf("%s is pinned: %s", x.Package, x.Reason)
			}
			continue
		}
		if (x.State == catalog.Held) != (x.Package == "lab-held") {
			f.t.Errorf("%s is %s: %s", x.Package, x.State, x.Reason)
		}
		if x.Reason == "" {
			f.t.Errorf("%s is missing without a reason", x.Package)
		}
		if x.Security && !strings.Contains(x.Package, "lab") {
			genuine++
		}
		got[x.Package+":"+x.Arch] = offered{x.Installed, x.Available, x.Security}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("apt and fettle differ about the machine (-apt +fettle):\n%s", diff)
	}
	f.t.Logf("the machine lacks %d updates, %d of them real security updates", len(got), genuine)
	if genuine == 0 {
		f.t.Error("the fresh root lacks no real security update; is the archive just after a point release?")
	}
}

// apt is what `apt list --upgradable` says on a machine that has been given
// the publisher's indexes; they are taken away again.
func (f *fleetTest) apt(g *guest) map[string]offered {
	f.t.Helper()
	lists, err := filepath.Glob(filepath.Join(f.dir, "publisher", "apt", "state", "lists", "*_dists_*"))
	f.must(err)
	if len(lists) == 0 {
		f.t.Fatal("the publisher has fetched no index through apt")
	}
	for _, path := range lists {
		f.must(g.CopyIn(f.ctx, path, filepath.Join("/var/lib/apt/lists", filepath.Base(path))))
	}
	url, err := f.fleet.Serve(f.ctx, lab.ServerAddr+":8081", fileServer(f.archive.Dir))
	f.must(err)
	const source = "/etc/apt/sources.list.d/lab.sources"
	before := g.run("cat", source)
	f.must(g.WriteFile(f.ctx, source, strings.NewReader(f.archive.Sources(url, lab.KeyPath)), 0o644))
	g.run("apt-get", "update", "-o", "Dir::Etc::sourcelist="+source, "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0")
	said := g.run("env", "LC_ALL=C.UTF-8", "apt", "list", "--upgradable")
	g.run("sh", "-c", "rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin")
	f.must(g.WriteFile(f.ctx, source, strings.NewReader(before), 0o644))
	return upgradable(said)
}

// upgradableLine is "name/suite,suite version arch [upgradable from: old]".
var upgradableLine = regexp.MustCompile(`^([^/\s]+)/(\S+) (\S+) (\S+) \[upgradable from: ([^\]]+)\]`)

func upgradable(text string) map[string]offered {
	out := map[string]offered{}
	for line := range strings.Lines(text) {
		m := upgradableLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		o := offered{Installed: m[5], Available: m[3]}
		for suite := range strings.SplitSeq(m[2], ",") {
			o.Security = o.Security || strings.HasSuffix(suite, "-security")
		}
		name, _, _ := strings.Cut(m[1], ":")
		out[name+":"+m[4]] = o
	}
	return out
}

func (f *fleetTest) approve() {
	f.t.Helper()
	// Before approval there is nothing that may be deployed.
	_, said, code := f.fettle("deploy", "--all")
	if code == 0 || !strings.Contains(said, "awaiting approval") {
		f.t.Errorf("deploying what nobody approved ends with %d: %s", code, said)
	}
	f.do("approve", "--all-missing", "--reason", "the test says so")
	for name, list := range f.missing() {
		for _, x := range list {
			if x.State == catalog.Missing && x.Approval != "approved" {
				f.t.Errorf("%s %s is %s after the approval of everything", name, x.Package, x.Approval)
			}
		}
	}
}

// dryRun compares the plans with what is missing and proves that nothing was
// changed.
func (f *fleetTest) dryRun() {
	f.t.Helper()
	before := map[string]map[string]string{}
	for name, g := range f.guests {
		before[name] = g.installed()
	}
	var d deployed
	f.ask(&d, []string{"deploy", "--all", "--dry-run"})
	for name, g := range f.guests {
		x := d.of(f.t, name)
		if x.State != deploy.Planned || x.Plan == nil {
			f.t.Fatalf("the dry run on %s ended as %s: %s", name, x.State, x.Reason)
		}
		planned := map[string]string{}
		for _, c := range x.Plan.Changes {
			planned[c.Package] = c.To
		}
		for _, m := range f.lacked[name] {
			if to, in := planned[m.Package]; in != (m.State == catalog.Missing) || in && to != m.Available {
				f.t.Errorf("%s: %s is %s; the plan brings %q", name, m.Package, m.State, to)
			}
		}
		if planned["lab-newdep-data"] != lab.NewVersion {
			f.t.Errorf("%s: the plan does not bring the new dependency: %v", name, planned)
		}
		if diff := cmp.Diff(before[name], g.installed()); diff != "" {
			f.t.Errorf("the dry run changed %s:\n%s", name, diff)
		}
	}
}

// deploy brings all machines level, each in its way.
func (f *fleetTest) deploy() {
	f.t.Helper()
	boots := map[string]string{}
	for name, g := range f.guests {
		id, err := g.BootID(f.ctx)
		f.must(err)
		boots[name] = id
	}
	first := f.begin("--host", "one", "--no-restart", "--name", "by hand")
	d := f.watched("--host", "two", "--host", "three", "--reboot", "if_due", "--attempts", "1", "--name", "by itself")

	two := d.of(f.t, "two")
	f.wantVerified(two)
	if boot, err := f.guests["two"].BootID(f.ctx); err != nil || boot == boots["two"] {
		f.t.Errorf("two was not restarted: %v", err)
	}
	if !slices.ContainsFunc(two.History, func(s deploy.Step) bool { return s.State == deploy.Rebooting }) {
		f.t.Errorf("the history of two knows no restart: %+v", two.History)
	}
	f.wantFailed(d.of(f.t, "three"))
	f.byHand(first, boots["one"])
	for name, g := range f.guests {
		f.wantLevel(name, g)
	}
}

// byHand is the machine whose administrator restarts services and machine.
func (f *fleetTest) byHand(id deploy.ID, boot string) {
	f.t.Helper()
	one := f.reaches(id, deploy.WaitingReboot)
	if !strings.Contains(one.Reason, "reboot is due") {
		f.t.Errorf("one waits for its reboot: %q", one.Reason)
	}
	f.until("the reboot and the restart that are due on one", func() bool {
		x := f.hosts()["one"]
		return x.RebootDue && slices.Contains(x.RestartsDue, "lab-worker.service")
	})
	g := f.guests["one"]
	if now, err := g.BootID(f.ctx); err != nil || now != boot {
		f.t.Errorf("one was restarted though nobody asked for it: %v", err)
	}
	f.must(g.Reboot(f.ctx))
	f.wantVerified(f.reaches(id, deploy.Verified))
	f.until("one to be at rest", func() bool {
		x := f.hosts()["one"]
		return !x.RebootDue && len(x.RestartsDue) == 0
	})
}

func (f *fleetTest) wantVerified(x task) {
	f.t.Helper()
	if x.State != deploy.Verified || x.Result == nil {
		f.t.Errorf("%s is %s: %s", x.Hostname, x.State, x.Reason)
		return
	}
	if len(x.Result.Failures) > 0 || x.Attempt != 1 {
		f.t.Errorf("%s is verified at attempt %d with failures %+v", x.Hostname, x.Attempt, x.Result.Failures)
	}
}

// wantFailed is the machine with the package that can't be configured: the
// reason is what its script said, everything else is installed.
func (f *fleetTest) wantFailed(x task) {
	f.t.Helper()
	const words = "lab-failing: cannot migrate the database: column is missing"
	if x.State != deploy.Failed || !strings.Contains(x.Reason, words) {
		f.t.Fatalf("three is %s: %s", x.State, x.Reason)
	}
	if x.Result == nil || len(x.Result.Failures) != 1 || x.Result.Failures[0].Package != "lab-failing" {
		f.t.Fatalf("three says of its failures: %+v", x.Result)
	}
	// It restarts the service that has the old library mapped.
	if !slices.Contains(x.Result.Restarted, "lab-worker.service") {
		f.t.Errorf("three restarted %v, due are %v", x.Result.Restarted, x.Result.RestartsDue)
	}
}

// wantLevel compares the machine by dpkg with what it lacked at first.
func (f *fleetTest) wantLevel(name string, g *guest) {
	f.t.Helper()
	have := g.installed()
	for _, x := range f.lacked[name] {
		want := "installed " + x.Available
		switch {
		case x.State != catalog.Missing:
			want = "installed " + x.Installed
		case x.Package == "lab-failing":
			continue // half installed: dpkg alone decides what it is called
		}
		if got := have[x.Package+":"+x.Arch]; got != want {
			if all := have[x.Package+":all"]; all != want {
				f.t.Errorf("%s: dpkg says of %s %q and %q, want %q", name, x.Package, got, all, want)
			}
		}
	}
	if have["lab-newdep-data:all"] != "installed "+lab.NewVersion {
		f.t.Errorf("%s: the new dependency is %q", name, have["lab-newdep-data:all"])
	}
	if running := strings.TrimSpace(g.run("cat", "/run/lab-service.version")); running != lab.NewVersion {
		f.t.Errorf("%s: the service runs %s", name, running)
	}
	if conf := g.run("cat", "/etc/lab-conffile.conf"); conf != "colour = green\n" {
		f.t.Errorf("%s: the administrator's configuration became %q", name, conf)
	}
	if again := g.twice(); len(again) > 0 {
		f.t.Errorf("%s: dpkg unpacked more than once: %v", name, again)
	}
}

// report reads the report of tasks as CSV: every patch of every machine with
// its times.
func (f *fleetTest) report() {
	f.t.Helper()
	file := filepath.Join(f.dir, "tasks.csv")
	f.do("report", "tasks", "--format", "csv", "-o", file)
	text, err := os.Open(file)
	f.must(err)
	defer text.Close()
	lines, err := csv.NewReader(text).ReadAll()
	f.must(err)
	column := map[string]int{}
	for i, name := range lines[0] {
		column[strings.ToLower(name)] = i
	}
	cell := func(row []string, name string) string {
		i, ok := column[name]
		if !ok {
			f.t.Fatalf("the report has no column %q: %v", name, lines[0])
		}
		return row[i]
	}
	told := map[string]string{}
	for _, row := range lines[1:] {
		if cell(row, "dry_run") != "" {
			continue
		}
		told[cell(row, "hostname")+" "+cell(row, "patch")] = cell(row, "result")
		for _, at := range []string{"created", "started", "ended"} {
			if _, err := time.Parse(time.RFC3339, cell(row, at)); err != nil {
				f.t.Errorf("report: %s of %v: %v", at, row, err)
			}
		}
	}
	want := map[string]string{}
	for name, list := range f.lacked {
		for _, x := range list {
			if x.State != catalog.Missing {
				continue
			}
			want[name+" "+string(x.Patch)] = "installed"
			// On three the task failed, but its last scan proved the others.
			if x.Package == "lab-failing" {
				want[name+" "+string(x.Patch)] = "failed"
			}
		}
	}
	if diff := cmp.Diff(want, told); diff != "" {
		f.t.Errorf("the report of tasks (-want +got):\n%s", diff)
	}
}

// nothingLeft deploys once more: nothing is to be done but what failed, and
// held and pinned packages are told of.
func (f *fleetTest) nothingLeft() {
	f.t.Helper()
	for _, name := range []string{"one", "two"} {
		f.until("the server to have heard of the last scan of "+name, func() bool {
			return !slices.ContainsFunc(f.missing()[name], func(x finding) bool { return x.State == catalog.Missing })
		})
		_, said, code := f.fettle("deploy", "--host", name)
		if code == 0 || !strings.Contains(said, "nothing to do") {
			f.t.Errorf("a second deployment on %s ends with %d: %s", name, code, said)
		}
	}
	left := map[string][]string{}
	for name, list := range f.missing() {
		for _, x := range list {
			left[name] = append(left[name], fmt.Sprintf("%s %s", x.Package, x.State))
		}
		slices.Sort(left[name])
	}
	kept := []string{"lab-held held", "lab-pinned pinned"}
	// The new version of lab-failing stands on three, half installed: apt does
	// not offer it again, and Fettle says what is wrong.
	want := map[string][]string{"one": kept, "two": kept, "three": append([]string{"lab-failing broken"}, kept...)}
	if diff := cmp.Diff(want, left); diff != "" {
		f.t.Errorf("what is still missing (-want +got):\n%s", diff)
	}
	for name := range maps.Keys(f.guests) {
		problem := map[string]string{"three": "installed only half: lab-failing"}[name]
		if x := f.hosts()[name]; x.Problem != problem {
			f.t.Errorf("%s has the problem %q, want %q", name, x.Problem, problem)
		}
	}
}
