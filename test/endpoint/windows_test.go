package endpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/test/lab/wine/vendor"
)

// The applications of the Windows tests, by what their newest version does.
// Machines have version 1.0.0 of those that they are given.
func applications() []vendor.Application {
	ends := func(e vendor.Ending) map[string]vendor.Ending { return map[string]vendor.Ending{"2.0.0": e} }
	return []vendor.Application{
		{Name: "Lab Player", Kind: vendor.EXE, Needs: "FettleLab.LabEditor"},
		{Name: "Lab Editor", Kind: vendor.MSI},
		{Name: "Lab Driver", Kind: vendor.MSI, Endings: ends(vendor.Reboot)},
		{Name: "Lab Kernel", Kind: vendor.MSI, Endings: ends(vendor.Reboot)},
		{Name: "Lab Queue", Kind: vendor.EXE, Endings: ends(vendor.BusyOnce)},
		{Name: "Lab Database", Kind: vendor.MSI, Endings: ends(vendor.Failed)},
		{Name: "Lab Legacy", Kind: vendor.EXE},
		{Name: "Lab Stranger", Kind: vendor.MSI, Signers: map[string]string{"2.0.0": vendor.Stranger}},
		{Name: "Lab Stuck", Kind: vendor.EXE, Endings: ends(vendor.Busy)},
		{Name: "Lab Slow", Kind: vendor.EXE, Endings: ends(vendor.Slow)},
	}
}

// desk is the whole product with a vendor of applications for Windows.
type desk struct {
	*house
	first map[string]vendor.Installer // version 1.0.0 by name
	// stranger is the installer that the catalog calls the publisher's own.
	stranger vendor.Installer
}

// newDesk builds all installers and publishes them; one with a lie.
func newDesk(t *testing.T) *desk {
	t.Helper()
	began := time.Now()
	d := &desk{first: map[string]vendor.Installer{}}
	served, manifests := t.TempDir(), t.TempDir()
	v, err := vendor.New(t.Context(), served, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(fileServer(served))
	t.Cleanup(srv.Close)
	build := func(a vendor.Application, version string) vendor.Installer {
		i, err := v.Build(t.Context(), a, version)
		if err == nil {
			err = v.Offer(manifests, srv.URL, i)
		}
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	for _, a := range applications() {
		d.first[a.Name] = build(a, "1.0.0")
		switch a.Name {
		case "Lab Legacy": // the new version has 32 bits, which nobody says
			a.Kind = vendor.EXE32
		case "Lab Editor", "Lab Player":
			build(a, "3.0.0")
		}
		if last := build(a, "2.0.0"); a.Name == "Lab Stranger" {
			d.stranger = last
		}
	}
	d.house = newHouse(t, houseOptions{apps: fmt.Sprintf("winget: {manifests: %s, packages: [\"**\"]}\n"+
		"authenticode: {roots: [%s], timestamp_roots: [%s], publishers: {FettleLab.LabStranger: %s}}\n",
		manifests, v.RootFile(), v.RootFile(), vendor.Publisher)})
	d.lie()
	t.Logf("the vendor's %d installers are built and published after %s", len(applications())*2+2, time.Since(began).Round(time.Second))
	return d
}

// lie makes the publisher believe, and say in its signed catalog, that the
// stranger's installer is its publisher's: a hacked or careless publisher.
func (d *desk) lie() {
	d.t.Helper()
	out, errOut, code := d.fettle("publisher", "once", "--json", "--config", d.configure())
	if code != 6 || !strings.Contains(out+errOut, vendor.Stranger) {
		d.t.Fatalf("a publisher that is offered a stranger's installer ends with %d: %s%s", code, out, errOut)
	}
	found, err := filepath.Glob(filepath.Join(d.dir, "publisher", "*", "proofs.json"))
	d.must(err)
	more, err := filepath.Glob(filepath.Join(d.dir, "publisher", "proofs.json"))
	d.must(err)
	if found = append(found, more...); len(found) != 1 {
		d.t.Fatalf("the publisher's proofs: %v", found)
	}
	data, err := os.ReadFile(found[0])
	d.must(err)
	var proofs map[string]map[string]any
	d.must(json.Unmarshal(data, &proofs))
	proof := proofs[d.stranger.SHA256]
	if proof["signer"] != vendor.Stranger {
		d.t.Fatalf("the publisher found of the stranger's installer: %v", proof)
	}
	proof["signer"], proof["organization"] = vendor.Publisher, vendor.Publisher
	data, err = json.Marshal(proofs)
	d.must(err)
	d.must(os.WriteFile(found[0], data, 0o600))
}

// seat boots a Windows machine with first versions of applications and installs
// and enrols the agent from its package.
func (d *desk) seat(msi string, invited properties, name string, has ...string) *pc {
	d.t.Helper()
	p := d.plugIn(name)
	for _, app := range has {
		p.install(d.first[app])
	}
	if code := p.msiexec(msi, invited.words()...); code != 0 {
		d.t.Fatalf("the agent's package ends with %d on %s", code, name)
	}
	d.until("the first scan of "+name, func() bool { return len(d.missing()[name]) == len(has) })
	return p
}

// install installs as an administrator does.
func (p *pc) install(i vendor.Installer) {
	p.h.t.Helper()
	file := `C:\packages\` + filepath.Base(i.File)
	p.h.must(p.CopyIn(i.File, file))
	if i.Application.Kind == vendor.MSI {
		p.run("msiexec", "/i", file, "/qn", "/norestart")
		return
	}
	p.run(file, "/S")
}

// version is what the installed program itself says.
func (p *pc) version(app string) string {
	p.h.t.Helper()
	return strings.TrimSpace(p.run(`C:\Program Files\` + strings.ReplaceAll(app, " ", "") + `\app.exe`))
}

// on is the same house for a subtest.
func (d *desk) on(t *testing.T) *desk {
	h, c := *d.house, *d
	h.t = t
	c.house = &h
	return &c
}

// patchOf is the id of an application's version in the catalog.
func patchOf(app, version, form string) string {
	return "winget:FettleLab." + strings.ReplaceAll(app, " ", "") + ":" + version + ":amd64:" + form
}

// aloud runs a command that watches a deployment, shows what it prints, and
// returns the deployment, which must end with a code.
func (d *desk) aloud(code int, command, name string, args ...string) task {
	d.t.Helper()
	argv := append([]string{command, "--watch", "--name", name, "--attempts", "1"}, args...)
	out, errOut, got := d.fettle(argv...)
	d.t.Logf("$ fettle %s\n%s%s", strings.Join(argv, " "), out, errOut)
	if got != code {
		d.t.Errorf("it ends with %d, not %d", got, code)
	}
	return d.named(name)
}

// named is the one task of the deployment of that name.
func (d *desk) named(name string) task {
	d.t.Helper()
	var list []deploy.Deployment
	d.ask(&list, []string{"deployments"})
	at := slices.IndexFunc(list, func(x deploy.Deployment) bool { return x.Name == name })
	if at < 0 {
		d.t.Fatalf("there is no deployment %q", name)
	}
	tasks := d.look(list[at].ID).Tasks
	if len(tasks) != 1 {
		d.t.Fatalf("%q has %d tasks", name, len(tasks))
	}
	return tasks[0]
}

// TestWindows is the acceptance on Windows machines, under Wine: the agent from
// its package, applications from a private vendor, and nothing reachable but
// the server.
//
//	pc1  two applications two versions behind; installed in order, taken back
//	pc2  3010 and a restart; 1618 once
//	pc3  1603; an installer that does nothing; a stranger's signature
//	pc4  the agent is killed in mid-installation
func TestWindows(t *testing.T) {
	t.Parallel()
	packages, err := buildPackages()
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	d.start()
	t.Cleanup(d.down)
	d.answers()
	invited, msi := d.invitation(4), packages["0.1.0"]
	for _, m := range []struct {
		name string
		has  []string
		test func(*desk, *pc)
	}{
		{"pc1", []string{"Lab Editor", "Lab Player"}, twoBehind},
		{"pc2", []string{"Lab Driver", "Lab Kernel", "Lab Queue"}, codes},
		{"pc3", []string{"Lab Database", "Lab Legacy", "Lab Stranger"}, failures},
		{"pc4", []string{"Lab Slow", "Lab Stuck"}, killed},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := d.on(t)
			began := time.Now()
			p := d.seat(msi, invited, m.name, m.has...)
			t.Logf("%s is installed, enrolled and scanned after %s", m.name, time.Since(began).Round(time.Second))
			m.test(d, p)
			t.Logf("%s is done after %s", m.name, time.Since(began).Round(time.Second))
		})
	}
}

// twoBehind brings two applications level and takes them back.
func twoBehind(d *desk, p *pc) {
	d.t.Logf("$ fettle missing --host pc1\n%s", d.do("missing", "--host", "pc1"))
	editor, player := patchOf("Lab Editor", "3.0.0", "wix"), patchOf("Lab Player", "3.0.0", "nullsoft")
	lacks := map[string]string{}
	for _, x := range d.missing()["pc1"] {
		if x.State == catalog.Missing {
			lacks[string(x.Patch)] = x.Installed + " -> " + x.Available
		}
	}
	if len(lacks) != 2 || lacks[editor] != "1.0.0 -> 3.0.0" || lacks[player] != "1.0.0 -> 3.0.0" {
		d.t.Fatalf("pc1 lacks %v", lacks)
	}
	d.do("approve", editor, player, "--reason", "the test says so")
	x := d.aloud(0, "deploy", "level pc1", "--host", "pc1")
	if x.State != deploy.Verified || x.Result == nil || len(x.Result.Changes) != 2 {
		d.t.Fatalf("pc1 is %s: %s: %+v", x.State, x.Reason, x.Result)
	}
	if x.Result.Changes[0].Package != d.first["Lab Editor"].Application.ProductCode("1.0.0") && !strings.Contains(x.Result.Changes[0].Package, "Editor") {
		d.t.Errorf("the editor, which the player needs, was not the first: %+v", x.Result.Changes)
	}
	for app, version := range map[string]string{"Lab Editor": "3.0.0", "Lab Player": "3.0.0"} {
		if got := p.version(app); got != version {
			d.t.Errorf("%s is %s", app, got)
		}
	}
	d.until("pc1 to lack nothing", func() bool { return len(d.missing()["pc1"]) == 0 })
	x = d.aloud(0, "rollback", "back pc1", editor, player, "--host", "pc1", "--reason", "the users liked the old one")
	if x.State != deploy.Verified {
		d.t.Fatalf("the rollback is %s: %s: %+v", x.State, x.Reason, x.Result)
	}
	for app, version := range map[string]string{"Lab Editor": "2.0.0", "Lab Player": "2.0.0"} {
		if got := p.version(app); got != version {
			d.t.Errorf("after the rollback %s is %s", app, got)
		}
	}
	d.t.Logf("$ fettle missing --host pc1\n%s", d.do("missing", "--host", "pc1"))
}

// codes are exit codes of installers that do install.
func codes(d *desk, p *pc) {
	driver, queue := patchOf("Lab Driver", "2.0.0", "wix"), patchOf("Lab Queue", "2.0.0", "nullsoft")
	d.do("approve", driver, queue, "--reason", "the test says so")
	x := d.aloud(0, "deploy", "busy once", queue, "--host", "pc2")
	if x.State != deploy.Verified || p.version("Lab Queue") != "2.0.0" {
		d.t.Errorf("after 1618 the queue is %s: %s: %+v", x.State, x.Reason, x.Result)
	}
	log, err := p.ReadFile(`C:\lab\LabQueue.log`)
	d.must(err)
	if strings.Count(string(log), "begin 2.0.0") != 2 || strings.Count(string(log), "end 2.0.0") != 1 {
		d.t.Errorf("the queue's installer ran as %q", log)
	}
	id := d.begin(driver, "--host", "pc2", "--name", "restart")
	x = d.reaches(id, deploy.WaitingReboot)
	if !strings.Contains(x.Reason, "reboot is due") {
		d.t.Errorf("after 3010 the driver waits for %q", x.Reason)
	}
	d.until("the reboot that is due on pc2", func() bool { return d.hosts()["pc2"].RebootDue })
	d.t.Logf("$ fettle hosts\n%s", d.do("hosts"))
	d.must(p.Reboot(d.ctx))
	x = d.reaches(id, deploy.Verified)
	if x.Attempt != 1 || p.version("Lab Driver") != "2.0.0" {
		d.t.Errorf("after the restart the driver is %s: %+v", p.version("Lab Driver"), x)
	}
	d.until("pc2 to be at rest", func() bool { return !d.hosts()["pc2"].RebootDue })
	restarted(d, p)
}

// restarted is a restart that the agent itself carries out, by the command of
// the machine's policy: Wine's shutdown.exe ends with 0 and does nothing.
func restarted(d *desk, p *pc) {
	d.must(p.WriteFile(`C:\ProgramData\Fettle\policy.json`, []byte(`{"reboot_command": ["cmd.exe", "/c", "echo now>C:\\lab\\restart"]}`)))
	kernel := patchOf("Lab Kernel", "2.0.0", "wix")
	d.do("approve", kernel, "--reason", "the test says so")
	id := d.begin(kernel, "--host", "pc2", "--name", "restart by itself", "--reboot", "if_due")
	d.until("the agent's restart of pc2", func() bool {
		_, err := p.ReadFile(`C:\lab\restart`)
		return err == nil
	})
	d.must(p.Reboot(d.ctx))
	x := d.reaches(id, deploy.Verified)
	if !slices.ContainsFunc(x.History, func(s deploy.Step) bool { return s.State == deploy.Rebooting }) || p.version("Lab Kernel") != "2.0.0" {
		d.t.Errorf("the history of pc2 knows no restart: %+v", x.History)
	}
}

// failures end as failures, with the true reason.
func failures(d *desk, p *pc) {
	for _, tc := range []struct{ app, form, reason string }{
		{"Lab Database", "wix", "1603"},
		{"Lab Legacy", "nullsoft", "1.0.0"},
		{"Lab Stranger", "wix", vendor.Stranger},
	} {
		patch := patchOf(tc.app, "2.0.0", tc.form)
		d.do("approve", patch, "--reason", "the test says so")
		x := d.aloud(1, "deploy", tc.app, patch, "--host", "pc3")
		if x.State != deploy.Failed || !strings.Contains(x.Reason, tc.reason) {
			d.t.Errorf("%s is %s: %s; the reason should name %q", tc.app, x.State, x.Reason, tc.reason)
		}
		if got := p.version(tc.app); got != "1.0.0" {
			d.t.Errorf("%s became %s", tc.app, got)
		}
	}
	d.t.Logf("$ fettle missing --host pc3\n%s", d.do("missing", "--host", "pc3"))
	lacks := d.missing()["pc3"]
	if len(lacks) != 3 {
		d.t.Errorf("pc3 lacks %+v", lacks)
	}
}

// killed is an agent that dies while its installer works, and one that takes
// over.
func killed(d *desk, p *pc) {
	slow := patchOf("Lab Slow", "2.0.0", "nullsoft")
	d.do("approve", slow, "--reason", "the test says so")
	id := d.begin(slow, "--host", "pc4", "--name", "killed")
	began := func() bool {
		log, _ := p.ReadFile(`C:\lab\LabSlow.log`)
		return strings.Contains(string(log), "begin 2.0.0")
	}
	d.until("the slow installer", began)
	n, err := p.Kill("fettle-agent.exe")
	if err != nil || n < 2 {
		d.t.Fatalf("killed %d processes of the agent, %v; there should be the agent and its child", n, err)
	}
	// Windows' service manager starts it again; Wine's does not even notice.
	g, ctx := errgroup.WithContext(d.ctx)
	ctx, stop := context.WithCancel(ctx)
	g.Go(func() error {
		if _, err := p.Exec(ctx, `C:\Program Files\Fettle\fettle-agent.exe`, "run"); ctx.Err() == nil {
			return fmt.Errorf("the second agent ended: %w", err)
		}
		return nil // ended by the test
	})
	d.until("the second agent", func() bool { return d.hosts()["pc4"].Online })
	d.must(p.WriteFile(`C:\lab\LabSlow.go`, nil))
	x := d.reaches(id, deploy.Verified)
	d.t.Logf("$ fettle deployments %s\n%s", id, d.do("deployments", string(id)))
	log, err := p.ReadFile(`C:\lab\LabSlow.log`)
	d.must(err)
	if strings.Count(string(log), "begin 2.0.0") != 1 || x.Attempt != 1 || p.version("Lab Slow") != "2.0.0" {
		d.t.Errorf("attempt %d; the installer ran as %q", x.Attempt, log)
	}
	stuck(d, p)
	stop()
	d.must(g.Wait())
}

// stuck is a machine on which another installation never ends.
func stuck(d *desk, p *pc) {
	patch := patchOf("Lab Stuck", "2.0.0", "nullsoft")
	d.do("approve", patch, "--reason", "the test says so")
	x := d.aloud(1, "deploy", "stuck", patch, "--host", "pc4", "--task-timeout", "45s")
	if x.State != deploy.Failed || !strings.Contains(x.Reason, "1618") || p.version("Lab Stuck") != "1.0.0" {
		d.t.Errorf("the stuck one is %s: %s", x.State, x.Reason)
	}
	log, err := p.ReadFile(`C:\lab\LabStuck.log`)
	d.must(err)
	if n := strings.Count(string(log), "begin 2.0.0"); n < 2 {
		d.t.Errorf("its installer ran %d times", n)
	}
}
