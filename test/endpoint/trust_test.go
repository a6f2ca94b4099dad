package endpoint

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/test/lab"

	_ "modernc.org/sqlite" // the driver of the server's database
)

// TestTrust1ServerOwned plays an attacker who owns the server: its disk, its
// database and what it tells. Row 1 of docs/threat-model.md; each attack is
// refused by the machine itself, and a person at the command line reads why.
func TestTrust1ServerOwned(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	cases := []lab.Case{plain("lab-a", nil), plain("lab-b", nil)}
	h.offer(cases...)
	h.start()
	t.Cleanup(func() { h.down() })
	guests := h.invite(wish{name: "one", cases: cases}, wish{name: "two", cases: cases}, wish{name: "three", cases: cases})
	h.answers()
	late := map[string]*guest{"three": guests["three"]}
	delete(guests, "three")
	h.enrol(guests)
	h.do("approve", "--all-missing")
	a := &attack{house: h, guests: guests}
	a.changedOrder()
	a.flippedPayload()
	a.flippedShard(late)
	a.rolledBack(late["three"])
}

// attack is a server in the hands of an attacker.
type attack struct {
	*house
	guests map[string]*guest
}

// refused waits for the end of a deployment whose only task the machine must
// refuse with the words.
func (a *attack) refused(id deploy.ID, name string, words ...string) {
	a.t.Helper()
	x := a.reaches(id, deploy.Failed)
	for _, w := range append(words, "refused") {
		if !strings.Contains(x.Reason, w) {
			a.t.Errorf("%s says %q, not %q", name, x.Reason, w)
		}
	}
	if shown := a.do("deployments", string(id)); !strings.Contains(shown, "refused") {
		a.t.Errorf("the command line does not say that the machine refused:\n%s", shown)
	}
	a.unchanged(name)
	a.t.Logf("%s: %s", name, x.Reason)
}

func (a *attack) unchanged(name string) {
	a.t.Helper()
	have := a.guests[name].installed()
	for _, c := range a.guests[name].cases {
		if got := have[c.Package+":all"]; got != "installed "+lab.OldVersion {
			a.t.Errorf("%s has %s %q", name, c.Package, got)
		}
	}
}

// changedOrder changes what tasks order in the server's database while the
// machines are not listening: another record behind the same name (a changed
// argv, a changed hash), and a patch that nobody has signed.
func (a *attack) changedOrder() {
	a.t.Helper()
	for _, g := range a.guests {
		g.run("systemctl", "stop", "fettle-agent")
	}
	one, two := a.begin("--host", "one", "--attempts", "1"), a.begin("--host", "two", "--attempts", "1")
	a.reaches(one, deploy.Planning)
	a.reaches(two, deploy.Planning)
	a.kill()
	db, err := sql.Open("sqlite", filepath.Join(a.data(), "server", "fettle.db"))
	a.must(err)
	defer db.Close()
	for id, change := range map[deploy.ID]string{
		one: `update tasks set doc = json_set(doc, '$.patches[0].digest', ?) where deployment = ?`,
		two: `update tasks set doc = json_set(doc, '$.patches[0].id', ?) where deployment = ?`,
	} {
		res, err := db.ExecContext(a.ctx, change, map[deploy.ID]string{one: strings.Repeat("6", 64), two: "debian-12:amd64:backdoor:6.6.6"}[id], string(id))
		a.must(err)
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			a.t.Fatalf("%d tasks were changed: %v", n, err)
		}
	}
	a.start()
	a.answers()
	for _, g := range a.guests {
		g.run("systemctl", "start", "fettle-agent")
	}
	a.refused(one, "one", "with digest "+strings.Repeat("6", 64))
	a.refused(two, "two", "debian-12:amd64:backdoor:6.6.6", "does not stand in the signed catalog")
}

// flip changes one byte of a file and returns what undoes it, unless the server
// has set the file aside meanwhile.
func (a *attack) flip(path string) func() {
	a.t.Helper()
	good, err := os.ReadFile(path)
	a.must(err)
	info, err := os.Stat(path)
	a.must(err)
	bad := append([]byte(nil), good...)
	bad[len(bad)/2] ^= 1
	a.overwrite(path, bad, info.Mode())
	return func() { a.overwrite(path, good, info.Mode()) }
}

// overwrite writes into the file itself, whoever has it open, and makes none
// where there is none any more.
func (a *attack) overwrite(path string, data []byte, mode fs.FileMode) {
	a.t.Helper()
	err := os.Chmod(path, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	a.must(err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	a.must(err)
	_, err = f.WriteAt(data, 0)
	a.must(err)
	a.must(f.Chmod(mode))
	a.must(f.Close())
}

// flippedPayload lets one machine install, so that the payloads are staged,
// and changes a byte of each before the next machine gets them. The server has
// just started: its patrol, which reads a payload every minute, would else find
// the damage now and then before the machine does.
func (a *attack) flippedPayload() {
	a.t.Helper()
	d := a.watched("--host", "one")
	if x := d.of(a.t, "one"); x.State != deploy.Verified {
		a.t.Fatalf("one is %s: %s", x.State, x.Reason)
	}
	a.restart()
	var undo []func()
	for _, p := range d.Tasks[0].Plan.Payloads {
		if strings.HasSuffix(p.Name, ".deb") {
			undo = append(undo, a.flip(a.blob(p.SHA256)))
		}
	}
	if len(undo) != 2 {
		a.t.Fatalf("%d payloads are packages", len(undo))
	}
	a.refused(a.begin("--host", "two", "--attempts", "1"), "two", "another hash")
	for _, f := range undo {
		f()
	}
	// More than one attempt: the server may just be setting a payload aside.
	if x := a.watched(tries("two")...).of(a.t, "two"); x.State != deploy.Verified {
		a.t.Errorf("with the vendor's bytes two is %s: %s", x.State, x.Reason)
	}
}

// blob finds a payload in the server's store.
func (a *attack) blob(sum string) string {
	a.t.Helper()
	found := ""
	err := filepath.WalkDir(filepath.Join(a.data(), "server", "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.Contains(e.Name(), sum[2:]) {
			found = path
		}
		return err
	})
	a.must(err)
	if found == "" {
		a.t.Fatalf("the server does not hold %s", sum)
	}
	return found
}

// served is the copy of the repository that machines are served.
func (a *attack) served() string { return filepath.Join(a.data(), "server", "mirror", "repository") }

// problem waits until the command line shows a machine's problem with the
// words.
func (a *attack) problem(name string, words ...string) {
	a.t.Helper()
	last := ""
	a.until(name+" to say "+strings.Join(words, ", "), func() bool {
		x := a.hosts()[name]
		if x.Problem == last {
			return false
		}
		last = x.Problem
		a.t.Logf("%s: %s", name, last)
		for _, w := range words {
			if !strings.Contains(last, w) {
				return false
			}
		}
		return true
	})
	if out, _, code := a.fettle("doctor"); code != 1 || !strings.Contains(out, words[0]) {
		a.t.Errorf("doctor ends with %d and says\n%s", code, out)
	}
}

// recovers asks the machine for a scan until it has no problem left.
func (a *attack) recovers(name string) {
	a.t.Helper()
	a.do("hosts", "scan", name)
	a.until(name+" to be well", func() bool {
		x := a.hosts()[name]
		return x.Problem == "" && x.Health != catalog.UnknownHealth
	})
}

// flippedShard changes a byte of the catalog that a new machine is served,
// then of the metadata that signs it.
func (a *attack) flippedShard(late map[string]*guest) {
	a.t.Helper()
	shards, err := filepath.Glob(filepath.Join(a.served(), "targets", "catalog", "*debian-12-amd64.shard.zst"))
	a.must(err)
	if len(shards) != 1 {
		a.t.Fatalf("the server holds the shards %v", shards)
	}
	undo := a.flip(shards[0])
	a.admit(late)
	a.problem("three", "catalog", "refused")
	undo()
	undo = a.flip(filepath.Join(a.served(), "metadata", "timestamp.json"))
	a.do("hosts", "scan", "three")
	a.problem("three", "timestamp", "refused")
	undo()
	a.recovers("three")
}

// rolledBack serves an older copy of the signed repository to a machine that
// has seen a newer one, and puts it where the server looks for news.
func (a *attack) rolledBack(g *guest) {
	a.t.Helper()
	old := filepath.Join(a.dir, "old")
	a.must(os.CopyFS(filepath.Join(old, "served"), os.DirFS(a.served())))
	a.must(os.CopyFS(filepath.Join(old, "repository"), os.DirFS(a.repository())))
	a.publish(plain("lab-c", nil), "2")
	a.do("hosts", "scan", "three")
	a.until("three to have the new catalog", func() bool { return g.catalog() == 2 })

	// The server's own view: its source is rolled back.
	a.must(os.CopyFS(filepath.Join(old, "newest"), os.DirFS(a.repository())))
	a.swap(a.repository(), filepath.Join(old, "repository"))
	_, said, code := a.fettle("sync")
	if code == 0 || !strings.Contains(said, "rolled back") {
		a.t.Errorf("a rolled-back source is answered with %d: %s", code, said)
	}
	if out := a.do("status"); !strings.Contains(out, "PROBLEM") || !strings.Contains(out, "version 2") {
		a.t.Errorf("after a refused source the status is\n%s", out)
	}
	a.t.Log("the server: ", strings.TrimSpace(said))
	a.swap(a.repository(), filepath.Join(old, "newest"))

	// The machine's view: the server announces version 3 and serves version 1.
	g.run("systemctl", "stop", "fettle-agent")
	a.publish(plain("lab-d", nil), "3")
	a.swap(a.served(), filepath.Join(old, "served"))
	g.run("systemctl", "start", "fettle-agent")
	a.problem("three", "catalog", "rolled back")
	if now := g.catalog(); now != 2 {
		a.t.Errorf("after a refused catalog three uses version %d", now)
	}
}

// catalog is the version that the machine uses.
func (g *guest) catalog() int64 {
	g.h.t.Helper()
	var st struct{ Catalog int64 }
	decode(g.h.t, g.run("fettle-agent", "status", "--json"), &st)
	return st.Catalog
}

// publish lets the vendor bring out something; fettle up publishes it when it
// starts and takes it up as the version.
func (a *attack) publish(c lab.Case, version string) {
	a.t.Helper()
	a.offer(c)
	a.restart()
	a.until("catalog "+version, func() bool {
		out, _, _ := a.fettle("status")
		return strings.Contains(out, "version "+version+",")
	})
}

func (h *house) restart() {
	h.t.Helper()
	h.kill()
	h.start()
	h.answers()
}

// swap makes the folder hold what another holds; the folder itself stays.
func (a *attack) swap(dir, with string) {
	a.t.Helper()
	entries, err := os.ReadDir(dir)
	a.must(err)
	for _, e := range entries {
		a.must(os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	a.must(os.CopyFS(dir, os.DirFS(with)))
}

// TestTrust3Expired serves a catalog past its date: row 3 of
// docs/threat-model.md. Server and machine say so, and doctor finds it.
func TestTrust3Expired(t *testing.T) {
	t.Parallel()
	const life = 25 * time.Second
	h := newHouse(t, houseOptions{expiry: "expiry: {timestamp: " + life.String() + "}\n"})
	cases := []lab.Case{plain("lab-a", nil)}
	h.offer(cases...)
	guests := h.invite(wish{name: "one", cases: cases})
	h.start()
	t.Cleanup(h.down)
	h.answers()
	a := &attack{house: h, guests: guests}
	a.until("the end of the catalog's life", func() bool {
		out, _, _ := h.fettle("doctor")
		return strings.Contains(out, "expired")
	})
	a.admit(guests)
	a.problem("one", "expired")
	// The publisher signs anew; the machine takes it up. A machine that is slower than the catalog's life is given the next one.
	a.until("one to be well", func() bool {
		if _, said, code := h.fettle("sync"); code != 0 {
			t.Fatalf("fettle sync ends with %d: %s", code, said)
		}
		a.do("hosts", "scan", "one")
		x := a.hosts()["one"]
		return x.Problem == "" && x.Health != catalog.UnknownHealth
	})
}
