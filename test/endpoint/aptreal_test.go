package endpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/test/endpoint/aptdriver/order"
	"github.com/fettlehq/fettle/test/lab"
)

// debianSources are the entries of this machine's apt sources that serve the
// release itself: those that a fresh root has too.
func debianSources(t *testing.T, etc string) {
	t.Helper()
	if out, err := os.ReadFile("/etc/os-release"); err != nil || !strings.Contains(string(out), "VERSION_ID=\"12\"") {
		t.Fatal("this test compares with the apt of a Debian 12 machine: run it on one")
	}
	for _, part := range []string{"sources.list.d", "preferences.d", "trusted.gpg.d", "auth.conf.d"} {
		if err := os.MkdirAll(filepath.Join(etc, part), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(etc, part), os.DirFS(filepath.Join("/etc/apt", part))); err != nil && !os.IsNotExist(err) && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sources.list", "auth.conf"} {
		if data, err := os.ReadFile(filepath.Join("/etc/apt", name)); err == nil {
			if err := os.WriteFile(filepath.Join(etc, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestAptRealUpdates brings a fresh Debian 12 root level with its vendor:
// real indexes and packages, fetched by this machine's apt, installed where no
// vendor can be reached.
func TestAptRealUpdates(t *testing.T) {
	w := &world{t: t, ctx: t.Context()}
	dir := t.TempDir()
	etc := filepath.Join(dir, "etc")
	debianSources(t, etc)
	w.cfg = publisher.Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repo"), Keys: filepath.Join(dir, "keys"),
		Machine: true, AptEtc: etc, Architectures: []string{"amd64"},
	}
	w.must(os.Chmod(filepath.Dir(dir), 0o755))
	w.must(os.Chmod(dir, 0o755))
	w.openPublisher(publisher.Options{})
	w.publish()
	m := w.machine("real", lab.MachineOptions{DiskBytes: 2 << 30})
	patches, findings := w.missing(m.snapshot())
	security := 0
	for _, f := range findings {
		if f.Security {
			security++
		}
		t.Logf("%s %s -> %s (%s, %s)", f.Package, f.Installed, f.Available, f.State, f.Archive)
	}
	if len(patches) == 0 {
		t.Skip("the vendor has published nothing since the root was made: there is nothing to install")
	}
	plan, _ := m.good(m.request(order.Plan, patches))
	t.Logf("plan of %d patches (%d security findings): %d changes, %d refused, %d bytes, %.1f s; again %.1f s", len(patches), security,
		len(plan.Plan.Changes), len(plan.Plan.Refused), plan.Plan.DownloadBytes, plan.Seconds, m.seconds(order.Plan, patches))
	if len(plan.Plan.Refused) != 0 {
		t.Errorf("refused: %+v", plan.Plan.Refused)
	}
	var hashes []string
	for _, p := range plan.Plan.Payloads {
		hashes = append(hashes, p.SHA256)
	}
	w.must(w.pub.Payloads(w.ctx, hashes, nil))
	r, p := m.good(m.request(order.Install, patches))
	t.Logf("installed in %.1f s", r.Seconds)
	if len(r.Result.Failures) != 0 || len(r.Result.Changes) != len(plan.Plan.Changes) {
		t.Errorf("result: %+v\n%s", r.Result, p.text())
	}
	if left := m.run("apt", "-c", "/var/lib/fettle/work/t1/apt/apt.conf", "list", "--upgradable"); strings.TrimSpace(left) != "Listing..." {
		t.Errorf("apt still sees updates: %s", left)
	}
	if _, findings := w.missing(m.snapshot()); len(findings) != 0 {
		t.Errorf("still missing: %+v", findings)
	}
	again, _ := m.good(m.request(order.Install, patches))
	if len(again.Result.Changes) != 0 || len(again.Result.Failures) != 0 {
		t.Errorf("a second installation: %+v", again.Result)
	}
	t.Logf("a second installation, which does nothing, took %.1f s; the work folder holds %s", again.Seconds,
		strings.ReplaceAll(strings.TrimSpace(m.run("sh", "-c", "du -sm /var/lib/fettle/work/t1/apt/* /var/lib/fettle/payloads")), "\n", ", "))
}

// seconds is how long a step takes.
func (m *machine) seconds(step string, patches []patch.Patch) float64 {
	m.w.t.Helper()
	r, _ := m.good(m.request(step, patches))
	return r.Seconds
}
