package catalog

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// aptWorld is a private apt: archives in a folder, a status file, no network.
type aptWorld struct {
	t        *testing.T
	dir      string
	contents Contents
	snap     *inventory.Snapshot
}

// TestAgainstApt holds the choice of candidates against apt's own, over random
// archives, installed versions and preferences.
func TestAgainstApt(t *testing.T) {
	for _, tool := range []string{"apt-get", "apt-cache"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: this test compares with apt itself", tool)
		}
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	w := newAptWorld(t, rnd)
	s, _ := encode(t, w.contents)
	pinned := 0
	for range 150 {
		w.preferences(rnd)
		want := w.candidates()
		m := &matcher{shards: []*Shard{s}, snap: w.snap, policy: newPolicy(w.snap.Policy, "amd64")}
		for _, p := range w.snap.Packages {
			got := "(none)"
			offers := m.offers(p, "amd64", Comparer("dpkg"))
			if offers == nil { // nothing newer: no finding, whatever the candidate is
				got = want[p.Name]
				if got != "(none)" && Comparer("dpkg")(got, p.Version) > 0 {
					t.Errorf("%s %s: apt would take %s, the match sees nothing newer", p.Name, p.Version, got)
				}
			} else if at := candidate(offers, p, "amd64", Comparer("dpkg"), m.policy); at >= 0 {
				got = offers[at].version
			}
			if got != want[p.Name] {
				t.Errorf("%s %s: apt takes %s, the match %s, with %+v", p.Name, p.Version, want[p.Name], got, w.snap.Policy)
			}
			if got == p.Version {
				pinned++
			}
		}
		if t.Failed() {
			return
		}
	}
	if pinned == 0 {
		t.Error("no preferences had any effect: the test compares nothing")
	}
}

func newAptWorld(t *testing.T, rnd *rand.Rand) *aptWorld {
	t.Helper()
	w := &aptWorld{t: t, dir: t.TempDir(), contents: Contents{Header: testHeader()}, snap: machine()}
	for _, d := range []string{"lists/partial", "archives/partial", "prefs.d", "sources.d", "conf.d", "log"} {
		w.must(os.MkdirAll(filepath.Join(w.dir, d), 0o755))
	}
	var sources, status strings.Builder
	for i, a := range w.contents.Header.Archives[:4] {
		w.contents.Header.Archives[i].Site = "" // files have none
		w.contents.Header.Archives[i].Indexes = []Index{{Name: "main/binary-amd64/Packages", Component: "main", Arch: "amd64"}}
		w.archive(a, rnd)
		fmt.Fprintf(&sources, "deb [trusted=yes] file:%s/repo %s main\n", w.dir, a.Path)
	}
	for i := range 40 {
		p := inventory.Package{Kind: "dpkg", Name: fmt.Sprintf("pkg%02d", i), Arch: "amd64", Version: versions[rnd.IntN(len(versions)-1)]}
		w.snap.Packages = append(w.snap.Packages, p)
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: %s\nMaintainer: a <a@archive.example>\nDescription: x\n\n", p.Name, p.Version)
	}
	w.write("sources.list", sources.String())
	w.write("status", status.String())
	w.write("prefs", "")
	w.write("apt.conf", fmt.Sprintf(`Dir "%[1]s"; Dir::State "%[1]s"; Dir::State::lists "%[1]s/lists"; Dir::State::status "%[1]s/status";
Dir::Etc "%[1]s"; Dir::Etc::sourcelist "%[1]s/sources.list"; Dir::Etc::sourceparts "%[1]s/sources.d"; Dir::Etc::preferences "%[1]s/prefs";
Dir::Etc::preferencesparts "%[1]s/prefs.d"; Dir::Etc::parts "%[1]s/conf.d"; Dir::Etc::main "%[1]s/none"; Dir::Cache "%[1]s"; Dir::Log "%[1]s/log";
APT::Architecture "amd64"; APT::Architectures "amd64"; APT::Sandbox::User ""; Acquire::Languages "none"; #clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success; #clear DPkg;
`, w.dir))
	w.apt("apt-get", "update")
	return w
}

// archive writes one suite with random versions and adds the same to the
// catalog.
func (w *aptWorld) archive(a Archive, rnd *rand.Rand) {
	var index strings.Builder
	for i := range 40 {
		if rnd.IntN(4) == 0 {
			continue
		}
		name, v := fmt.Sprintf("pkg%02d", i), versions[rnd.IntN(len(versions)-1)]
		deb := fmt.Sprintf("%x", sha256.Sum256([]byte(name+v)))
		fmt.Fprintf(&index, "Package: %s\nArchitecture: amd64\nVersion: %s\nMaintainer: a <a@archive.example>\nFilename: pool/%s_%s.deb\nSize: 1\nSHA256: %s\nDescription: x\n\n", name, v, name, v, deb)
		w.contents.Patches = append(w.contents.Patches, debPatch(name, v, []string{a.ID}, name))
	}
	merged := map[string]patch.Patch{}
	for _, p := range w.contents.Patches {
		w.must(mergePatch(merged, p))
	}
	w.contents.Patches = values(merged)
	packages := filepath.Join("repo/dists", a.Path, "main/binary-amd64/Packages")
	w.write(packages, index.String())
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	w.write(filepath.Join("repo/dists", a.Path, "Release"), fmt.Sprintf(
		"Origin: %s\nLabel: %s\nSuite: %s\nCodename: %s\nVersion: %s\nDate: %s\nArchitectures: amd64\nComponents: main\nNotAutomatic: %s\nButAutomaticUpgrades: %s\nSHA256:\n %x %d main/binary-amd64/Packages\n",
		a.Origin, a.Label, a.Suite, a.Codename, a.Version, a.Date.Format("Mon, 02 Jan 2006 15:04:05 UTC"), yes(a.NotAutomatic), yes(a.ButAutomaticUpgrades),
		sha256.Sum256([]byte(index.String())), index.Len()))
}

// preferences draws pins and writes them where apt reads them.
func (w *aptWorld) preferences(rnd *rand.Rand) {
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	w.snap.Policy = inventory.Policy{}
	if rnd.IntN(4) == 0 {
		w.snap.Policy.DefaultRelease = pick("bookworm", "oldstable-backports", "/BOOKWORM/", "bookworm*", "12.12", "experimental")
	}
	for range rnd.IntN(5) {
		p := inventory.Pin{Type: pick("release", "release", "version", "origin"), Priority: []int{-1, 1, 50, 100, 101, 400, 500, 600, 990, 999, 1000, 1001}[rnd.IntN(12)]}
		for range 1 + rnd.IntN(2) {
			p.Packages = append(p.Packages, pick("pkg0?", "pkg*", "/^pkg[12]/", "/PKG3/", "pkg[!0-2]*", "src:pkg1*", "pkg01", "pkg02:amd64", "pkg*:i386", "nothing"))
		}
		if rnd.IntN(3) == 0 {
			p.Packages = []string{"*"}
		}
		switch p.Type {
		case "version":
			p.Value = pick("1.0*", "1.0-1", "1.?-1", "*deb12u1", "2:*", "/deb12/")
		case "release":
			p.Value = pick("a=oldstable", "n=bookworm-*", "l=Debian-Security", "o=Debian, l=Debian", "a=now", "v=12*", "c=main", "bookworm", "*", "a=/SECURITY$/", "n=rc-buggy", "l=Debian Backports")
		case "origin":
			p.Value = pick(`""`, "archive.example")
		}
		w.snap.Policy.Pins = append(w.snap.Policy.Pins, p)
	}
	var b strings.Builder
	for _, p := range w.snap.Policy.Pins {
		fmt.Fprintf(&b, "Package: %s\nPin: %s %s\nPin-Priority: %d\n\n", strings.Join(p.Packages, " "), p.Type, p.Value, p.Priority)
	}
	w.write("prefs", b.String())
}

// candidates asks apt.
func (w *aptWorld) candidates() map[string]string {
	args := []string{"policy"}
	if r := w.snap.Policy.DefaultRelease; r != "" {
		args = append(args, "-o", "APT::Default-Release="+r)
	}
	for _, p := range w.snap.Packages {
		args = append(args, p.Name)
	}
	out := map[string]string{}
	found := regexp.MustCompile(`(?m)^(pkg\d+):\n.*\n  Candidate: (.*)$`).FindAllStringSubmatch(w.apt("apt-cache", args...), -1)
	for _, m := range found {
		out[m[1]] = m[2]
	}
	if len(out) != len(w.snap.Packages) {
		w.t.Fatalf("apt names %d candidates, want %d", len(out), len(w.snap.Packages))
	}
	return out
}

func (w *aptWorld) apt(name string, args ...string) string {
	w.t.Helper()
	c := exec.CommandContext(w.t.Context(), name, args...)
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "APT_CONFIG=" + filepath.Join(w.dir, "apt.conf")}
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", name, args, err, errs.String())
	}
	return string(out)
}

func (w *aptWorld) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(text), 0o644))
}

func (w *aptWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
