package winget

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget/wingettest"
)

// site serves a folder on loopback and counts the answers that had a body.
type site struct {
	*httptest.Server
	dir string
	mu  sync.Mutex
	got map[string]int // by path and status
}

func serve(t *testing.T, dir string) *site {
	t.Helper()
	s := &site{dir: dir, got: map[string]int{}}
	files := http.FileServer(http.Dir(dir))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := httptest.NewRecorder()
		files.ServeHTTP(seen, r)
		s.mu.Lock()
		s.got[r.URL.Path+" "+http.StatusText(seen.Code)]++
		s.mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) count(status string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for k, v := range s.got {
		if strings.HasSuffix(k, " "+status) {
			n += v
		}
	}
	clear(s.got)
	return n
}

// crawler runs a source as the publisher does.
type crawler struct {
	t   *testing.T
	dir string
	cfg Config
	now time.Time
}

func (c *crawler) run() (crawl.Result, map[patch.ID]patch.Patch) {
	c.t.Helper()
	client, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1, Proxy: "direct"})
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := New(c.cfg, client)
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := crawl.NewRunner(c.dir, []crawl.Source{s})
	if err != nil {
		c.t.Fatal(err)
	}
	c.now = c.now.Add(time.Hour)
	res, err := r.Run(c.t.Context(), c.now, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[patch.ID]patch.Patch{}
	for _, p := range res[0].Output.Patches {
		out[p.ID] = p
	}
	return res[0], out
}

// age dates files back, all of one call to the same minute: a date within the
// second of an answer does not stand for the content.
func age(t *testing.T, dir string, minutes int) {
	t.Helper()
	old := time.Now().Add(-time.Duration(minutes) * time.Minute)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err != nil || time.Since(info.ModTime()) > time.Minute {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRemoteTree: manifests over HTTP are found by the index, asked for again
// without being fetched again, and versions that the index has left stay.
func TestRemoteTree(t *testing.T) {
	dir := t.TempDir()
	v := &wingettest.Vendor{Dir: dir, Manifests: filepath.Join(dir, "tree")}
	file := filepath.Join(dir, "setup.exe")
	vendor := serve(t, dir) // a source of the network names no files
	minutes := 100
	offer := func(version, body string) {
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		v.Publish(t, "Maker.Tool", version, "Tool", "Maker", false, wingettest.Installer{Arch: "x64", Type: "nullsoft", Path: file, URL: vendor.URL + "/setup.exe"})
		index := `[{"PackageId":"Maker.Tool","Version":"` + version + `"},{"PackageId":"Other.App","Version":"1.0"}]`
		if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o600); err != nil {
			t.Fatal(err)
		}
		minutes--
		age(t, dir, minutes)
	}
	offer("1.0", "one")
	web := serve(t, dir)
	c := &crawler{t: t, dir: t.TempDir(), cfg: Config{Manifests: web.URL + "/tree", Index: web.URL + "/index.json", Packages: []string{"maker.tool", "Maker.Gone"}}}
	res, out := c.run()
	first := out["winget:Maker.Tool:1.0:amd64:nullsoft"]
	if !res.Health.OK() || !fetched(first) || first.Items[0].Payload.Size != 3 || first.Title != "Tool 1.0" || !strings.Contains(strings.Join(res.Output.Notes, "\n"), "the index names 2 packages") {
		t.Fatalf("%+v %+v", res.Health, first)
	}
	if n := web.count("OK"); n != 4 {
		t.Errorf("%d documents came at first, want 4", n)
	}
	if res, _ = c.run(); res.Changed {
		t.Error("nothing changed, and the source says that something did")
	}
	if n := web.count("OK"); n != 0 {
		t.Errorf("%d documents came again", n)
	}
	offer("2.0", "second")
	_, out = c.run()
	second := out["winget:Maker.Tool:2.0:amd64:nullsoft"]
	if second.Install.Restores != first.ID || len(out) != 4 { // the vendor has other bytes now, but those of 1.0 are here
		t.Fatalf("after a new version: %+v", out)
	}
	// A revised manifest of the same version, with other bytes.
	offer("2.0", "second, revised")
	_, out = c.run()
	if p := out["winget:Maker.Tool:2.0:amd64:nullsoft"]; p.Items[0].Payload.Size != 15 || p.Items[0].Payload.SHA256 == second.Items[0].Payload.SHA256 {
		t.Errorf("after a revision: %+v", p.Items)
	}
	// The tree is gone: what was there stays.
	web.Close()
	res, out = c.run()
	if res.Health.OK() || len(out) != 4 {
		t.Errorf("without the server: %+v, %d patches", res.Health, len(out))
	}
}

// TestSourceRefuses: configurations that can't work say what to do.
func TestSourceRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no packages": {Manifests: "/srv/manifests"}, "no place": {Packages: []string{"A.B"}}, "a relative path": {Manifests: "manifests", Packages: []string{"A.B"}},
		"another scheme": {Manifests: "ftp://vendor.example/x", Packages: []string{"A.B"}}, "a web tree without index": {Manifests: "https://vendor.example/x", Packages: []string{"A.B"}},
		"a bad index": {Manifests: "/srv/manifests", Index: "index", Packages: []string{"A.B"}}, "bad records": {Manifests: "/srv/manifests", CVEs: "gopher://x", Packages: []string{"A.B"}},
	} {
		if _, err := New(cfg, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFolder: one bad file spoils no other, links out of the folder are not
// followed, and an empty folder is an error that keeps what was there.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	v := &wingettest.Vendor{Dir: dir, Manifests: filepath.Join(dir, "tree")}
	file := filepath.Join(dir, "setup.exe")
	if err := os.WriteFile(file, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.Publish(t, "Maker.Tool", "1.0", "Tool", "Maker", true, wingettest.Installer{Arch: "x64", Type: "inno", Path: file})
	records := filepath.Join(dir, "records.json")
	if err := os.WriteFile(records, []byte(cve("CVE-2024-1", "x", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "Maker.Evil.installer.yaml")
	for path, text := range map[string]string{filepath.Join(v.Manifests, "Maker.Bad.yaml"): "a: [", outside: "x"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(v.Manifests, "Maker.Evil.installer.yaml")); err != nil {
		t.Fatal(err)
	}
	c := &crawler{t: t, dir: t.TempDir(), cfg: Config{Manifests: v.Manifests, Packages: []string{"**"}, CVEs: records}}
	res, out := c.run()
	if !res.Health.OK() || len(out) != 2 || len(res.Output.Rejected) != 1 || res.Output.Rejected[0].What != "Maker.Bad.yaml" {
		t.Errorf("%+v, %d patches, %+v", res.Health, len(out), res.Output.Rejected)
	}
	if err := os.RemoveAll(filepath.Join(v.Manifests, "m")); err != nil {
		t.Fatal(err)
	}
	res, out = c.run()
	if res.Health.OK() || len(out) != 2 || !strings.Contains(res.Health.LastError, "holds no manifest") {
		t.Errorf("an empty folder: %+v, %d patches", res.Health, len(out))
	}
}

// TestSilentServer: a server that does not answer is asked once in a run.
func TestSilentServer(t *testing.T) {
	dir := t.TempDir()
	v := &wingettest.Vendor{Dir: dir, Manifests: filepath.Join(dir, "tree")}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, name := range []string{"One", "Two"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		v.Publish(t, "Maker."+name, "1.0", name, "Maker", false, wingettest.Installer{Arch: "arm64", Type: "inno", Path: file, URL: gone.URL + "/" + name})
	}
	c := &crawler{t: t, dir: t.TempDir(), cfg: Config{Manifests: v.Manifests, Packages: []string{"**"}}}
	res, out := c.run()
	if !res.Health.OK() || len(out) != 2 {
		t.Fatalf("%+v, %d patches", res.Health, len(out))
	}
	for id, says := range map[patch.ID]string{"winget:Maker.One:1.0:arm64:inno": "could not be fetched: can't get", "winget:Maker.Two:1.0:arm64:inno": "did not answer"} {
		if got := strings.Join(out[id].Evidence.Checks, ""); !strings.Contains(got, says) || fetched(out[id]) {
			t.Errorf("%s: %q, want %q", id, got, says)
		}
	}
}
