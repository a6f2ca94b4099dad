package debian_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/aptget"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian/debtest"
	"github.com/fettlehq/fettle/internal/run"
)

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// vendor is an archive that a test serves on loopback.
type vendor struct {
	*debtest.Archive
	suite  debtest.Suite
	cfg    debian.Config
	now    time.Time
	keep   time.Duration
	asked  atomic.Int64                                  // requests served
	refuse func(http.ResponseWriter, *http.Request) bool // true: answered already
}

func newVendor(t testing.TB) *vendor {
	t.Helper()
	v := &vendor{Archive: debtest.New(t, realDay.AddDate(-1, 0, 0)), now: realDay}
	h := debtest.Handler(v.Dir)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.asked.Add(1)
		if v.refuse == nil || !v.refuse(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	v.suite = debtest.Suite{
		Path: "stable", Origin: "Debian", Label: "Debian", Suite: "stable", Codename: "bookworm", Version: "12.1", Date: realDay.Add(-time.Hour), ByHash: true,
		Debs: []debtest.Deb{{Name: "tool", Version: "1.0-1", Arch: "amd64"}, {Name: "lib", Version: "1.0-1", Arch: "amd64", Source: "tool"}},
	}
	v.cfg = debian.Config{Name: "v", URI: srv.URL, Suite: "stable", Components: []string{"main"}, Architectures: []string{"amd64"}, Keyring: v.Keyring}
	return v
}

func (v *vendor) source(t testing.TB) *source {
	t.Helper()
	a, err := debian.NewArchive(v.cfg, client(t), debian.Options{Now: func() time.Time { return v.now }, Keep: v.keep})
	if err != nil {
		t.Fatal(err)
	}
	return newSource(t, a)
}

func ids(out crawl.Output) []string {
	var all []string
	for _, p := range out.Patches {
		all = append(all, string(p.ID))
	}
	return all
}

func TestArchivePlain(t *testing.T) {
	v := newVendor(t)
	v.suite.ByHash = false
	v.Publish(t, v.suite)
	s := v.source(t)
	s.mustFetch()
	if diff := cmp.Diff([]string{"debian-12:amd64:tool:1.0-1"}, ids(s.parse())); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
	before := v.asked.Load()
	if got := s.mustFetch(); got.Changed || v.asked.Load() != before+1 {
		t.Errorf("nothing new: changed %v, %d requests instead of one", got.Changed, v.asked.Load()-before)
	}
}

func TestArchiveResumesAnIndex(t *testing.T) {
	v := newVendor(t)
	v.Publish(t, v.suite)
	var cut atomic.Bool
	v.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "by-hash") || !cut.CompareAndSwap(false, true) {
			return false
		}
		data, err := os.ReadFile(filepath.Join(v.Dir, r.URL.Path))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Length", "100000")
		w.Header().Set("ETag", `"`+sha(data)+`"`)
		w.Header().Set("Content-Length", itoa(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	}
	s := v.source(t)
	s.mustFetch()
	if !cut.Load() || len(s.parse().Patches) != 1 {
		t.Error("the index was not fetched in two parts")
	}
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/1000%10), byte('0' + n/100%10), byte('0' + n/10%10), byte('0' + n%10)})
}

func TestArchiveRefusals(t *testing.T) {
	index := func(v *vendor) string {
		m, err := filepath.Glob(filepath.Join(v.Dir, "dists/stable/main/binary-amd64/by-hash/SHA256/*"))
		if err != nil || len(m) != 3 {
			t.Fatalf("indexes: %v, %v", m, err)
		}
		for _, f := range m {
			if data, _ := os.ReadFile(f); bytes.HasPrefix(data, []byte("\xfd7zXZ")) {
				return f
			}
		}
		t.Fatal("no xz index")
		return ""
	}
	for _, c := range []struct {
		name, words string
		spoil       func(t *testing.T, v *vendor)
	}{
		{"another byte in InRelease", "InRelease is refused", func(t *testing.T, v *vendor) {
			debtest.Edit(t, v.InRelease("stable"), func(b []byte) []byte { return bytes.Replace(b, []byte("12.1"), []byte("12.2"), 1) })
		}},
		{"a key that nobody trusts", "InRelease is refused", func(t *testing.T, v *vendor) {
			other := debtest.New(t, realDay.AddDate(-1, 0, 0))
			other.Publish(t, v.suite)
			data, err := os.ReadFile(other.InRelease("stable"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, v.InRelease("stable"), data)
		}},
		{"another byte in an index", "refused", func(t *testing.T, v *vendor) {
			debtest.Edit(t, index(v), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}},
		{"a longer index", "bytes", func(t *testing.T, v *vendor) {
			debtest.Edit(t, index(v), func(b []byte) []byte { return append(b, 0) })
		}},
		{"a step back in time", "has been seen already", func(t *testing.T, v *vendor) {
			v.suite.Date = v.suite.Date.Add(-time.Minute)
			v.Publish(t, v.suite)
		}},
		{"expired", "valid until", func(t *testing.T, v *vendor) {
			v.suite.Date, v.suite.ValidUntil = v.now.Add(-time.Minute), v.now.Add(-time.Second)
			v.Publish(t, v.suite)
		}},
		{"a web page", "web page", func(t *testing.T, v *vendor) { put(t, v.InRelease("stable"), []byte("\n <HTML>")) }},
		{"no hashes", "no SHA-256", func(t *testing.T, v *vendor) {
			v.Sign(t, v.suite, "Origin: Debian\nDate: "+v.now.Format("Mon, 02 Jan 2006 15:04:05 UTC")+"\n")
		}},
		{"an index that is no index", "can't be read", func(t *testing.T, v *vendor) {
			v.suite.Date = v.now
			v.Publish(t, v.suite)
			text := "Package: x\nPackage: y\n"
			put(t, filepath.Join(v.Dir, "dists/stable/main/binary-amd64/by-hash/SHA256/"+sha([]byte(text))), []byte(text))
			v.Sign(t, v.suite, "Origin: Debian\nVersion: 12\nCodename: bookworm\nAcquire-By-Hash: yes\nDate: "+v.now.Format("Mon, 02 Jan 2006 15:04:05 UTC")+
				"\nSHA256:\n "+sha([]byte(text))+" "+itoa(len(text))+" main/binary-amd64/Packages\n")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVendor(t)
			v.Publish(t, v.suite)
			s := v.source(t)
			if c.name != "another byte in an index" && c.name != "a longer index" {
				s.mustFetch()
			}
			c.spoil(t, v)
			_, err := s.fetch()
			if err == nil { // what is signed but no index shows when it is read
				_, err = s.src.Parse(t.Context(), s.dir, s.at)
			}
			if err == nil || !strings.Contains(fault.Public(err), c.words) {
				t.Errorf("got %v, want a refusal with %q", err, c.words)
			}
		})
	}
}

func TestArchiveAllowsExpired(t *testing.T) {
	v := newVendor(t)
	v.suite.ValidUntil = v.now.Add(-time.Second)
	v.Publish(t, v.suite)
	v.cfg.AllowExpired = true
	got := v.source(t).mustFetch()
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "valid until") {
		t.Errorf("notes: %q", got.Notes)
	}
}

func TestArchiveKeepsWhatVanished(t *testing.T) {
	v := newVendor(t)
	v.keep = 48 * time.Hour
	v.Publish(t, v.suite)
	s := v.source(t)
	s.mustFetch()
	first := s.parse().Archives[0]

	v.now, v.suite.Date = v.now.Add(24*time.Hour), v.now.Add(24*time.Hour)
	v.Publish(t, v.suite) // signed again, same packages: the old snapshot holds nothing alone
	s.mustFetch()
	if out := s.parse(); len(out.Archives) != 1 || out.Archives[0].ID == first.ID || out.Archives[0].Indexes[0].Blob != first.Indexes[0].Blob {
		t.Errorf("signed again: %+v", out.Archives)
	}

	v.suite.Debs = []debtest.Deb{{Name: "tool", Version: "1.0-2", Arch: "amd64"}, {Name: "lib", Version: "1.0-2", Arch: "amd64", Source: "tool"}}
	v.now, v.suite.Date = v.now.Add(time.Hour), v.now.Add(time.Hour)
	v.Publish(t, v.suite)
	s.mustFetch()
	out := s.parse()
	if diff := cmp.Diff([]string{"debian-12:amd64:tool:1.0-1", "debian-12:amd64:tool:1.0-2"}, ids(out)); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
	if len(out.Archives) != 2 || out.Archives[0].Superseded || !out.Archives[1].Superseded {
		t.Errorf("archives: %+v", out.Archives)
	}
	if p := out.Patches[0]; len(p.Archives) != 1 || p.Archives[0] != out.Archives[1].ID {
		t.Errorf("the vanished patch: %+v", p)
	}
	keeper := s.src.(crawl.Keeper)
	if n := len(keeper.Blobs(s.at)); n != 4 {
		t.Errorf("%d blobs are needed, want two InRelease files and two indexes", n)
	}

	v.now = v.now.Add(49 * time.Hour)
	if got := s.mustFetch(); !got.Changed {
		t.Error("forgetting the old snapshot is no change")
	}
	if diff := cmp.Diff([]string{"debian-12:amd64:tool:1.0-2"}, ids(s.parse())); diff != "" {
		t.Errorf("patches after the time of keeping (-want +got):\n%s", diff)
	}
}

func TestArchiveOtherVendors(t *testing.T) {
	v := newVendor(t)
	v.suite.Origin, v.suite.Version, v.suite.Codename = "Example Corp.", "", "apps"
	v.suite.Archs = []string{"amd64", "arm64", "all"}
	v.suite.Debs = append(v.suite.Debs, debtest.Deb{Name: "data", Version: "2.0", Arch: "all"})
	v.Publish(t, v.suite)
	v.cfg.Release = "debian-12"
	v.cfg.Architectures = []string{"amd64", "arm64"}
	s := v.source(t)
	s.mustFetch()
	out := s.parse()
	want := []string{
		"debian-12+example-corp:amd64:data:2.0", "debian-12+example-corp:amd64:tool:1.0-1", "debian-12+example-corp:arm64:data:2.0",
	}
	if diff := cmp.Diff(want, ids(out)); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
	if p := out.Patches[2]; p.Platform != "debian-12-arm64" || p.Vendor != "example-corp" || p.Items[0].Arch != "all" {
		t.Errorf("%+v", p)
	}
}

func TestArchiveConfig(t *testing.T) {
	good := debian.Config{Name: "a", URI: "https://archive.example/debian", Suite: "stable", Components: []string{"main"}, Architectures: []string{"amd64"}, Keyring: "/k.gpg"}
	for name, spoil := range map[string]func(*debian.Config){
		"address":      func(c *debian.Config) { c.URI = "archive" },
		"suite":        func(c *debian.Config) { c.Suite = "../etc" },
		"flat":         func(c *debian.Config) { c.Suite = "./" },
		"keyring":      func(c *debian.Config) { c.Keyring = "" },
		"component":    func(c *debian.Config) { c.Components = []string{"../main"} },
		"architecture": func(c *debian.Config) { c.Architectures = nil },
	} {
		c := good
		spoil(&c)
		if _, err := debian.NewArchive(c, nil, debian.Options{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := debian.NewArchive(good, nil, debian.Options{}); err != nil {
		t.Error(err)
	}
}

// TestMachine lets the real apt read sources of a folder made for the test.
func TestMachine(t *testing.T) {
	v := newVendor(t)
	v.suite.Path, v.suite.Archs = "bookworm", []string{"amd64", "i386"}
	v.suite.Debs = append(v.suite.Debs, debtest.Deb{Name: "lib", Version: "1.0-1", Arch: "i386", Source: "tool"})
	v.Publish(t, v.suite)
	security := v.suite
	security.Path, security.Suite, security.Codename, security.Label = "bookworm-security", "stable-security", "bookworm-security", "Debian-Security"
	security.Debs = []debtest.Deb{{Name: "lib", Version: "1.0-1+deb12u1", Arch: "amd64", Source: "tool"}}
	v.Publish(t, security)
	backports := v.suite
	backports.Path, backports.Codename, backports.Version = "bookworm-backports", "bookworm-backports", ""
	backports.Fields = []string{"NotAutomatic: yes", "ButAutomaticUpgrades: yes"}
	backports.Debs = []debtest.Deb{{Name: "tool", Version: "2.0-1~bpo12+1", Arch: "amd64"}}
	v.Publish(t, backports)

	etc := t.TempDir()
	source := func(suites string) []byte {
		return []byte("Types: deb\nURIs: " + v.cfg.URI + "\nSuites: " + suites + "\nComponents: main\nSigned-By: " + v.Keyring + "\n")
	}
	put(t, filepath.Join(etc, "sources.list.d/test.sources"), source("bookworm bookworm-security bookworm-backports"))
	put(t, filepath.Join(etc, "sources.list.d/gone.sources"), source("nowhere"))
	if err := os.Chmod(filepath.Dir(v.Keyring), 0o755); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	apt, err := aptget.Machine(t.Context(), run.OS{}, aptget.Config{Root: root, Etc: etc, Architectures: []string{"amd64", "i386"}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(t, debian.NewMachine(apt, "debian-12", debian.Options{Now: func() time.Time { return v.now }}))
	got := s.mustFetch()
	if len(got.Notes) == 0 || !strings.Contains(got.Notes[0], "nowhere") || strings.Contains(strings.Join(got.Notes, " "), "127.0.0.1") {
		t.Errorf("notes: %q", got.Notes)
	}
	want := []string{
		"debian-12:amd64:tool:1.0-1", "debian-12:amd64:tool:1.0-1+deb12u1", "debian-12:amd64:tool:2.0-1~bpo12+1", "debian-12:i386:tool:1.0-1",
	}
	out := s.parse()
	if diff := cmp.Diff(want, ids(out)); diff != "" {
		t.Fatalf("patches (-want +got):\n%s", diff)
	}
	if !out.Patches[1].IsSecurity() || out.Patches[0].IsSecurity() || len(out.Archives) != 3 {
		t.Errorf("%+v", out.Patches)
	}
	for _, a := range out.Archives {
		if a.Keyring != v.Keyring || a.Signers[0] != v.Fingerprint() || a.Site != "127.0.0.1" {
			t.Errorf("archive: %+v", a)
		}
	}
	machinePayload(t, s, out.Patches[0])

	// apt on this machine may take indexes that are expired; we go on and say so.
	v.suite.Date, v.suite.ValidUntil = v.now, v.now.Add(time.Minute)
	v.Publish(t, v.suite)
	s.mustFetch()
	v.now = v.now.Add(time.Hour)
	if got = s.mustFetch(); !strings.Contains(strings.Join(got.Notes, "\n"), "bookworm: the vendor's indexes were valid until") {
		t.Errorf("notes: %q", got.Notes)
	}
}

func machinePayload(t *testing.T, s *source, p patch.Patch) {
	t.Helper()
	dir := t.TempDir()
	var wanted []crawl.Wanted
	for _, it := range p.Items {
		wanted = append(wanted, crawl.Wanted{Item: it, Archives: p.Archives})
	}
	files, err := s.src.(crawl.Payloader).Payloads(t.Context(), s.at, wanted, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range p.Items {
		data, err := os.ReadFile(files[it.Payload.SHA256])
		if err != nil || sha(data) != it.Payload.SHA256 {
			t.Errorf("payload of %s: %v", it.Name, err)
		}
	}
}
