package client_test

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/client"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

func TestFollow(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	c := w.follow(w.open())
	if _, err := c.Target("a"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("before the first refresh: %v", err)
	}
	f := w.publish("catalog/a", "hello")
	changed, err := c.Refresh(t.Context(), w.now)
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	want := []client.Target{{
		Name: "catalog/a", Length: 5, Hashes: map[string]string{"sha256": f.SHA256},
		Custom: []byte(`{"platform":"debian-12"}`), Version: 2,
	}}
	if d := cmp.Diff(want, c.Targets()); d != "" {
		t.Error(d)
	}
	if got := w.download(c, "catalog/a"); got != "hello" {
		t.Errorf("got %q", got)
	}
	if _, err := c.Target("nothing"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	if changed, err = c.Refresh(t.Context(), w.now.Add(time.Hour)); err != nil || changed {
		t.Errorf("changed %v, %v", changed, err)
	}
	s := c.Status()
	if s.Version != 2 || !s.Refreshed.Equal(w.now.Add(time.Hour)) || !s.Expires.Equal(start.Add(48*time.Hour)) {
		t.Errorf("status %+v", s)
	}
	root := s.Roles[repo.Root]
	if root.Threshold != 2 || len(root.Signers) != 3 || len(s.Roles[repo.Timestamp].Signers) != 1 {
		t.Errorf("roles %+v", s.Roles)
	}
}

// A restarted client knows its last good state without any repository.
func TestRestartOffline(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", "one")
	state := t.TempDir()
	c := w.resume(w.open(), state)
	w.refresh(c)
	gone := altered{nil, func(string) (io.ReadCloser, int64, error, bool) {
		return nil, 0, fault.New(fault.Unavailable, "no route"), true
	}}
	c2 := w.resume(gone, state)
	if d := cmp.Diff(c.Status(), c2.Status()); d != "" {
		t.Error(d)
	}
	if _, err := c2.Refresh(t.Context(), w.now); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	if tg, err := c2.Target("a"); err != nil || tg.Length != 3 {
		t.Errorf("%+v, %v", tg, err)
	}
}

// Damage to any stored file costs at most the state, never a refresh, and as
// long as the timestamp is whole a rollback is still noticed.
func TestDamagedState(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", "one")
	old := w.copyRepo()
	w.publish("a", "two")
	state := t.TempDir()
	w.refresh(w.resume(w.open(), state))
	files, err := fs.Glob(os.DirFS(state), "metadata/*")
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range append(files, "client.json") {
		if f == "metadata/1.root.json" {
			continue // the pinned root: TestTrustRow1WrongRoot
		}
		whole, err := os.ReadFile(filepath.Join(state, f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(state, f), whole[:len(whole)/2], 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, ".targets.json") || strings.HasSuffix(f, ".snapshot.json") {
			rolled := *w
			rolled.dir = old
			rolled.refused(rolled.resume(rolled.open(), state), "rolled back")
		}
		c := w.resume(w.open(), state)
		w.refresh(c)
		if got := w.download(c, "a"); got != "two" {
			t.Errorf("%s: got %q", f, got)
		}
	}
}

func TestKeyRotation(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", "one")
	state := t.TempDir()
	live := w.resume(w.open(), state)
	w.refresh(live)
	roots, err := publish.LoadKeys(w.keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, role := range []repo.Role{repo.Timestamp, repo.Snapshot, repo.Targets, repo.Root} {
		var retire []string
		for _, k := range roots {
			if k.Role() == role {
				retire = append(retire, k.ID())
			}
		}
		var fresh []publish.Key
		for range len(retire) {
			k, err := publish.NewKey(role)
			if err != nil {
				t.Fatal(err)
			}
			fresh = append(fresh, k)
		}
		rot := publish.Rotation{Role: role, Add: fresh, Retire: retire}
		if err := w.pub.RotateKey(t.Context(), w.now, rot, roots); err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		for _, c := range []*client.Client{live, w.follow(w.open())} {
			w.refresh(c)
			if got := c.Status().Roles[repo.Root].Version; got != int64(i+2) {
				t.Errorf("root version %d after rotation %d", got, i+1)
			}
			if got := w.download(c, "a"); got != "one" {
				t.Errorf("got %q", got)
			}
		}
		// What the retired key signs later is not believed any more.
		if role == repo.Timestamp {
			genuine := w.read("metadata/timestamp.json")
			w.write("metadata/timestamp.json", forge(w, "metadata/timestamp.json", w.signers(repo.Timestamp), bump))
			w.refused(live, "too few")
			w.write("metadata/timestamp.json", genuine)
		}
	}
	w.publish("a", "two")
	for _, c := range []*client.Client{live, w.follow(w.open()), w.resume(w.open(), state)} {
		w.refresh(c)
		if got := w.download(c, "a"); got != "two" {
			t.Errorf("got %q", got)
		}
	}
	// A root that the old root keys have not signed is refused.
	w.write("metadata/6.root.json", forge(w, "metadata/5.root.json", w.signers(repo.Timestamp), bumpRoot))
	w.refused(live, "root version 6", "too few")
}

// Readers at any moment of publishing, rotating and pruning see a consistent
// repository.
func TestReadersNeverSeeAGap(t *testing.T) {
	w := newWorld(t, publish.Setup{Options: publish.Options{Keep: 50}})
	w.publish("a", "content 0")
	roots, err := publish.LoadKeys(w.keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			live := w.follow(w.open())
			for {
				for _, c := range []*client.Client{live, w.follow(w.open())} {
					if _, err := c.Refresh(t.Context(), w.now); err != nil {
						t.Errorf("a reader was refused: %v", err)
					}
					var b bytes.Buffer
					if err := c.Download(t.Context(), "a", &b); err != nil || !strings.HasPrefix(b.String(), "content") {
						t.Errorf("%q, %v", b.String(), err)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	retire := map[repo.Role]string{}
	for _, k := range roots {
		retire[k.Role()] = k.ID()
	}
	for i := range 30 {
		w.publish("a", "content "+strings.Repeat("x", i))
		role := []repo.Role{repo.Timestamp, repo.Snapshot, repo.Targets}[i%3]
		if i%5 != 0 {
			continue
		}
		k, err := publish.NewKey(role)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.pub.RotateKey(t.Context(), w.now, publish.Rotation{Role: role, Add: []publish.Key{k}, Retire: []string{retire[role]}}, roots); err != nil {
			t.Fatal(err)
		}
		retire[role] = k.ID()
		if _, err := w.pub.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	group.Wait()
}

// An agent runs the same client against its server's copy.
func TestMirror(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("catalog/debian", "deb one")
	w.publish("catalog/windows", "win")
	server := w.follow(w.open())
	mirror := t.TempDir()
	if err := server.Mirror(t.Context(), mirror, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	w.refresh(server)
	debian := func(t client.Target) bool { return t.Name == "catalog/debian" }
	srv := httptest.NewServer(http.FileServer(http.Dir(mirror)))
	defer srv.Close()
	tr, err := client.NewHTTP(srv.URL, srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	agent := w.follow(tr)
	for i, content := range []string{"deb one", "deb two", "deb three", "deb four"} {
		if i > 0 {
			w.publish("catalog/debian", content)
			w.refresh(server)
		}
		if err := server.Mirror(t.Context(), mirror, debian); err != nil {
			t.Fatal(err)
		}
		w.refresh(agent)
		if got := w.download(agent, "catalog/debian"); got != content {
			t.Errorf("got %q, want %q", got, content)
		}
	}
	if err := agent.Download(t.Context(), "catalog/windows", io.Discard); !fault.Is(err, fault.NotFound) {
		t.Errorf("a target that was not chosen: %v", err)
	}
	same := []string{"metadata/timestamp.json", "metadata/1.root.json", "metadata/6.targets.json", "metadata/6.snapshot.json"}
	for _, p := range same {
		got, err := os.ReadFile(filepath.Join(mirror, p))
		if err != nil || !bytes.Equal(got, w.read(p)) {
			t.Errorf("%s is not copied byte for byte: %v", p, err)
		}
	}
	// The current and the previous version stay, older ones go.
	for pattern, want := range map[string]int{"targets/catalog/*": 2, "metadata/*": 6} {
		if got, _ := fs.Glob(os.DirFS(mirror), pattern); len(got) != want {
			t.Errorf("%s: %v", pattern, got)
		}
	}
}

func TestHTTPResumeAndCost(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	body := strings.Repeat("0123456789", 10_000)
	w.publish("big", body)
	var mu sync.Mutex
	var requests []string
	files := http.FileServer(http.Dir(w.dir))
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.URL.Path+r.Header.Get("Range"))
		mu.Unlock()
		files.ServeHTTP(rw, r)
	}))
	defer srv.Close()
	tr, err := client.NewHTTP(srv.URL+"/", srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	c := w.follow(tr)
	w.refresh(c)
	requests = nil
	w.refresh(c)
	if d := cmp.Diff([]string{"/metadata/2.root.json", "/metadata/timestamp.json"}, requests); d != "" {
		t.Errorf("an unchanged repository costs more than it has to: %s", d)
	}
	for part, ranged := range map[string]string{
		body[:40_000]: "bytes=40000-", "other bytes": "bytes=11-", body: "", body + "more": "",
	} {
		requests = nil
		path := filepath.Join(t.TempDir(), "big")
		if err := os.WriteFile(path+".part", []byte(part), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.DownloadFile(t.Context(), "big", path); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != body {
			t.Errorf("wrong bytes after resuming, %v", err)
		}
		if ranged != "" && (len(requests) == 0 || !strings.HasSuffix(requests[0], ranged)) {
			t.Errorf("requests %v, want %s", requests, ranged)
		}
	}
	// A dead server: unavailable, not untrusted.
	srv.Close()
	if _, err := c.Refresh(t.Context(), w.now); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}

func TestHTTPRefusals(t *testing.T) {
	for _, bad := range []string{"", "ftp://x/", "not a url", "http:///path", "file:///etc"} {
		if _, err := client.NewHTTP(bad, http.DefaultClient); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for status, code := range map[int]fault.Code{404: fault.NotFound, 403: fault.Denied, 500: fault.Unavailable, 204: fault.Unavailable} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		tr, err := client.NewHTTP(srv.URL, srv.Client())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tr.Get(t.Context(), "metadata/timestamp.json"); !fault.Is(err, code) {
			t.Errorf("HTTP %d: %v", status, err)
		}
		srv.Close()
	}
}

// A folder transport does not follow links out of the folder.
func TestDirStaysInside(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, w.file("link")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"link", "../" + filepath.Base(w.keys), "metadata"} {
		if body, _, err := w.open().Get(t.Context(), p); err == nil {
			t.Errorf("%s could be opened", p)
			_ = body.Close()
		}
	}
}
