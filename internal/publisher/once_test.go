package publisher_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian/debtest"
	"github.com/fettlehq/fettle/internal/repo/client"
)

var day1 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// world is a publisher with one vendor's archive and feeds, all on loopback.
type world struct {
	t       *testing.T
	archive *debtest.Archive
	feeds   string // folder of feeds, served under /feeds/
	now     time.Time
	cfg     publisher.Config
	opt     publisher.Options
	p       *publisher.Publisher
	main    debtest.Suite
	sec     debtest.Suite
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: day1, feeds: t.TempDir(), archive: debtest.New(t, day1.AddDate(-1, 0, 0))}
	mux := http.NewServeMux()
	mux.Handle("/debian/", http.StripPrefix("/debian/", debtest.Handler(w.archive.Dir)))
	mux.Handle("/feeds/", http.StripPrefix("/feeds/", debtest.Handler(w.feeds)))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	w.main = debtest.Suite{
		Path: "bookworm", Origin: "Debian", Label: "Debian", Suite: "oldstable", Codename: "bookworm", Version: "12.15",
		Date: day1.AddDate(0, -2, 0), Archs: []string{"amd64", "i386"}, ByHash: true,
		Debs: []debtest.Deb{
			{Name: "libssl3", Version: "3.0.15-1", Arch: "amd64", Source: "openssl"},
			{Name: "openssl", Version: "3.0.15-1", Arch: "amd64"},
			{Name: "libssl3", Version: "3.0.15-1", Arch: "i386", Source: "openssl"},
			{Name: "bash", Version: "5.2.15-2+b13", Arch: "amd64", Source: "bash (5.2.15-2)"},
			{Name: "bash-doc", Version: "5.2.15-2", Arch: "all", Source: "bash"},
		},
	}
	w.sec = debtest.Suite{
		Path: "bookworm-security", Origin: "Debian", Label: "Debian-Security", Suite: "oldstable-security", Codename: "bookworm-security", Version: "12",
		Date: day1.Add(-time.Hour), ValidUntil: day1.AddDate(0, 0, 7), ByHash: true, Archs: []string{"amd64", "i386"},
		Debs: []debtest.Deb{
			{Name: "libssl3", Version: "3.0.17-1~deb12u2", Arch: "amd64", Source: "openssl"},
			{Name: "openssl", Version: "3.0.17-1~deb12u2", Arch: "amd64"},
		},
	}
	w.archive.Publish(t, w.main)
	w.archive.Publish(t, w.sec)
	w.feed("tracker.json", trackerJSON)
	w.feed("dsa", dsaList)
	w.feed("kev.json", kevJSON)
	w.feed("epss.csv", "#model_version:v2026.03.01,score_date:2026-11-21T00:00:00+0000\ncve,epss,percentile\nCVE-2026-1111,0.91234,0.999\nCVE-2026-2222,0.00042,0.1\n")
	fetcher, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1, Proxy: "direct"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	archive := func(suite string) publisher.Archive {
		return publisher.Archive{
			Name: suite, URI: srv.URL + "/debian", Suite: suite, Components: []string{"main"}, Architectures: []string{"amd64", "i386"},
			Keyring: w.archive.Keyring, EndpointKeyring: "/usr/share/keyrings/debian-archive-keyring.gpg",
		}
	}
	w.cfg = publisher.Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repo"), Keys: filepath.Join(dir, "keys"),
		Archives: []publisher.Archive{archive("bookworm"), archive("bookworm-security")},
		Feeds: publisher.Feeds{
			DebianTracker: srv.URL + "/feeds/tracker.json", DebianDSA: srv.URL + "/feeds/dsa",
			KEV: srv.URL + "/feeds/kev.json", EPSS: srv.URL + "/feeds/epss.csv",
		},
	}
	w.opt = publisher.Options{Now: func() time.Time { return w.now }, Client: fetcher}
	w.open()
	return w
}

const trackerJSON = `{"openssl":{
 "CVE-2026-1111":{"description":"A flaw.","scope":"remote","releases":{
   "bookworm":{"status":"resolved","repositories":{"bookworm":"3.0.15-1"},"fixed_version":"3.0.17-1~deb12u2","urgency":"not yet assigned"},
   "trixie":{"status":"resolved","repositories":{},"fixed_version":"0","urgency":"unimportant"}}},
 "CVE-2026-2222":{"description":"Another.","releases":{
   "bookworm":{"status":"resolved","repositories":{},"fixed_version":"3.0.17-1~deb12u3","urgency":"medium"}}},
 "CVE-2020-0001":{"releases":{"bookworm":{"status":"resolved","repositories":{},"fixed_version":"1.1.1-1","urgency":"high"}}}}}`

const dsaList = "[20 Nov 2026] DSA-9001-1 openssl - security update\n\t{CVE-2026-1111}\n\t[bookworm] - openssl 3.0.17-1~deb12u2\n"

const kevJSON = `{"catalogVersion":"2026.11.21","count":1,"vulnerabilities":[{"cveID":"CVE-2026-1111","dateAdded":"2026-11-20","dueDate":"2026-12-11","knownRansomwareCampaignUse":"Unknown"}]}`

func (w *world) feed(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.feeds, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.p, err = publisher.New(w.t.Context(), w.cfg, w.opt); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.p.Close)
}

func (w *world) once() publisher.Report {
	w.t.Helper()
	r, err := w.p.Once(w.t.Context(), nil)
	if err != nil {
		w.t.Fatalf("Once: %v", err)
	}
	return r
}

// shard reads a shard as a customer does: through the signed metadata.
func (w *world) shard(platform string) (*catalog.Shard, []byte) {
	w.t.Helper()
	packed := w.target("catalog/" + platform + ".shard.zst")
	z, err := zstd.NewReader(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer z.Close()
	raw, err := z.DecodeAll(packed, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := catalog.Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		w.t.Fatal(err)
	}
	return s, raw
}

func (w *world) patch(platform string, id patch.ID) patch.Patch {
	w.t.Helper()
	s, _ := w.shard(platform)
	p, _, err := s.Patch(id)
	if err != nil {
		w.t.Fatalf("patch %s: %v", id, err)
	}
	return p
}

// follower is a customer's client of the repository.
func (w *world) follower() *client.Client {
	w.t.Helper()
	dir, err := client.OpenDir(w.cfg.Repository)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = dir.Close() })
	root, err := os.ReadFile(filepath.Join(w.cfg.Repository, "metadata/1.root.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := client.New(client.Options{Root: root, Dir: w.t.TempDir(), Transport: dir})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := c.Refresh(w.t.Context(), w.now); err != nil {
		w.t.Fatalf("a customer's refresh: %v", err)
	}
	return c
}

func (w *world) target(name string) []byte {
	w.t.Helper()
	var out bytes.Buffer
	if err := w.follower().Download(w.t.Context(), name, &out); err != nil {
		w.t.Fatal(err)
	}
	return out.Bytes()
}

func (w *world) targets() []string {
	w.t.Helper()
	var names []string
	for _, t := range w.follower().Targets() {
		names = append(names, t.Name)
	}
	return names
}

const (
	ssl2 = patch.ID("debian-12:amd64:openssl:3.0.17-1~deb12u2")
	ssl3 = patch.ID("debian-12:amd64:openssl:3.0.17-1~deb12u3")
)

func TestOncePublishesWhatVendorsOffer(t *testing.T) {
	w := newWorld(t)
	r := w.once()
	if r.Version != 1 || !r.Changed || len(r.Notes) != 0 || len(r.Rejected) != 0 {
		t.Errorf("report: %+v", r)
	}
	want := []string{"catalog/debian-12-amd64.shard.zst", "catalog/debian-12-i386.shard.zst"}
	if diff := cmp.Diff(want, w.targets()); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	p := w.patch("debian-12-amd64", ssl2)
	if p.Classification != patch.Security || p.Severity != patch.Important || p.Vendor != "debian" || p.Product != "openssl" {
		t.Errorf("patch: %+v", p)
	}
	if diff := cmp.Diff([]patch.CVEFix{{ID: "CVE-2020-0001", FixedIn: "1.1.1-1"}, {ID: "CVE-2026-1111", FixedIn: "3.0.17-1~deb12u2"}}, p.CVEs); diff != "" {
		t.Errorf("CVEs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]patch.ID{"debian-12:amd64:openssl:3.0.15-1"}, p.Supersedes); diff != "" {
		t.Errorf("supersedes (-want +got):\n%s", diff)
	}
	if p.Evidence.Verdict != patch.Vouched || !strings.Contains(p.Evidence.Checks[0], w.archive.Fingerprint()) || !strings.HasPrefix(p.Evidence.Checks[0], "bookworm-security/") {
		t.Errorf("evidence: %+v", p.Evidence)
	}
	if len(p.Advisories) != 1 || p.Title != "DSA-9001-1 openssl - security update" {
		t.Errorf("advisories %v, title %q", p.Advisories, p.Title)
	}
	s, _ := w.shard("debian-12-amd64")
	v, ok, err := s.Vulnerability("CVE-2026-1111")
	if err != nil || !ok || v.KEV == nil || v.EPSS != 0.91234 || v.Description != "A flaw." {
		t.Errorf("vulnerability: %+v, %v, %v", v, ok, err)
	}
	rebuilt := w.patch("debian-12-amd64", "debian-12:amd64:bash:5.2.15-2+b13")
	if len(rebuilt.Items) != 2 || rebuilt.Items[1].Arch != "all" {
		t.Errorf("a rebuilt source has its packages for all architectures with it: %+v", rebuilt.Items)
	}
	w.checkArchives(s)
}

// checkArchives fetches every pinned file as an agent would and holds it
// against what is signed.
func (w *world) checkArchives(s *catalog.Shard) {
	w.t.Helper()
	c := w.follower()
	if len(s.Header().Archives) != 2 {
		w.t.Errorf("archives: %+v", s.Header().Archives)
	}
	for _, a := range s.Header().Archives {
		var in bytes.Buffer
		if err := c.Payload(w.t.Context(), a.InRelease.SHA256, a.InRelease.Size, &in); err != nil {
			w.t.Fatal(err)
		}
		want, err := os.ReadFile(w.archive.InRelease(a.Path))
		if err != nil || !bytes.Equal(in.Bytes(), want) || !strings.HasPrefix(a.InRelease.SHA256, a.ID) {
			w.t.Errorf("%s: the pinned InRelease is not the archive's (%v)", a.Path, err)
		}
		if a.Security != (a.Path == "bookworm-security") || len(a.Indexes) != 1 || a.Indexes[0].Arch != "amd64" || a.Keyring == "" {
			w.t.Errorf("archive: %+v", a)
		}
		var packed bytes.Buffer
		if err := c.Payload(w.t.Context(), a.Indexes[0].Blob.SHA256, a.Indexes[0].Blob.Size, &packed); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestOnceAgain(t *testing.T) {
	w := newWorld(t)
	w.once()
	_, before := w.shard("debian-12-amd64")

	w.now = w.now.Add(time.Hour)
	r := w.once()
	if r.Version != 1 || r.Changed {
		t.Errorf("nothing new: version %d, changed %v", r.Version, r.Changed)
	}

	w.now = w.now.Add(time.Hour)
	w.sec.Date = w.now
	w.sec.Debs = []debtest.Deb{
		{Name: "libssl3", Version: "3.0.17-1~deb12u3", Arch: "amd64", Source: "openssl"},
		{Name: "openssl", Version: "3.0.17-1~deb12u3", Arch: "amd64"},
	}
	w.archive.Publish(t, w.sec)
	r = w.once()
	if r.Version != 2 || !r.Changed {
		t.Fatalf("a new package: version %d, changed %v", r.Version, r.Changed)
	}
	s, after := w.shard("debian-12-amd64")
	w.checkDelta("debian-12-amd64", 1, 2, before, after)

	newer, older := w.patch("debian-12-amd64", ssl3), w.patch("debian-12-amd64", ssl2)
	if len(newer.Supersedes) != 1 || newer.Supersedes[0] != ssl2 || len(newer.CVEs) != 3 {
		t.Errorf("the new patch: %+v", newer)
	}
	for _, a := range s.Header().Archives {
		if a.Superseded != (a.ID == older.Archives[0]) {
			t.Errorf("archive %s of %s: superseded is %v", a.ID, a.Path, a.Superseded)
		}
	}

	w.now = w.now.AddDate(0, 0, 31)
	w.sec.Date, w.sec.ValidUntil = w.now, w.now.AddDate(0, 0, 7)
	w.archive.Publish(t, w.sec)
	if r = w.once(); r.Version != 3 {
		t.Errorf("after the time of keeping: version %d", r.Version)
	}
	s, _ = w.shard("debian-12-amd64")
	if _, _, err := s.Patch(ssl2); !fault.Is(err, fault.NotFound) {
		t.Errorf("the vanished version is still there after 31 days: %v", err)
	}
	if n := len(s.Header().Archives); n != 2 {
		t.Errorf("%d archives, want the two current ones", n)
	}
}

func (w *world) checkDelta(platform string, from, to int64, before, after []byte) {
	w.t.Helper()
	name := "catalog/" + platform + ".1-2.delta"
	delta := w.target(name)
	if from != 1 || to != 2 {
		w.t.Fatal("adapt the name")
	}
	older, err := catalog.Open(bytes.NewReader(before), int64(len(before)))
	if err != nil {
		w.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := catalog.ApplyDelta(&out, older, bytes.NewReader(delta)); err != nil {
		w.t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), after) {
		w.t.Error("the delta does not lead to the published shard")
	}
}

func TestOnceSurvivesARestart(t *testing.T) {
	w := newWorld(t)
	w.once()
	if _, err := publisher.New(t.Context(), w.cfg, w.opt); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second publisher in the same folder: %v", err)
	}
	w.p.Close()
	w.open()
	if r := w.once(); r.Version != 1 || r.Changed {
		t.Errorf("after a restart: version %d, changed %v", r.Version, r.Changed)
	}
	// Lost state costs work and nothing else.
	w.p.Close()
	if err := os.RemoveAll(w.cfg.Data); err != nil {
		t.Fatal(err)
	}
	w.open()
	if r := w.once(); r.Version != 1 || r.Changed {
		t.Errorf("after the loss of all state: version %d, changed %v", r.Version, r.Changed)
	}
	if err := w.p.Stage(t.Context(), []patch.ID{ssl2}, nil); err != nil {
		t.Errorf("staging after the loss of all state: %v", err)
	}
	w.now = w.now.Add(time.Hour)
	w.sec.Date = w.now
	w.archive.Publish(t, w.sec)
	if r := w.once(); r.Version != 2 || !r.Changed {
		t.Errorf("a new snapshot after it: version %d, changed %v", r.Version, r.Changed)
	}
}

func TestOnceKeepsWhatAFailingSourceGave(t *testing.T) {
	for _, c := range []struct {
		name, words string
		spoil       func(*world)
	}{
		{"tampered InRelease", "bookworm-security/InRelease is refused", func(w *world) {
			debtest.Edit(w.t, w.archive.InRelease("bookworm-security"), func(b []byte) []byte {
				return bytes.Replace(b, []byte("Origin: Debian"), []byte("Origin: Debiam"), 1)
			})
		}},
		{"an older InRelease", "one of 2026-11-21T11:00:00Z has been seen", func(w *world) {
			s := w.sec
			s.Date = s.Date.Add(-time.Hour)
			w.archive.Publish(w.t, s)
		}},
		{"a web page", "web page", func(w *world) {
			debtest.Edit(w.t, w.archive.InRelease("bookworm-security"), func([]byte) []byte { return []byte("<!DOCTYPE html><title>Sign in</title>") })
		}},
		{"an expired InRelease", "valid until", func(w *world) { w.now = w.now.AddDate(0, 0, 8) }},
		{"a missing InRelease", "InRelease can't be fetched", func(w *world) {
			if err := os.Remove(w.archive.InRelease("bookworm-security")); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"a tracker that answers a web page", "debian-tracker", func(w *world) {
			w.now = w.now.Add(time.Hour)
			w.feed("tracker.json", "<html><body>maintenance</body></html>")
		}},
		{"a cut-off tracker", "debian-tracker", func(w *world) {
			w.now = w.now.Add(time.Hour)
			w.feed("tracker.json", trackerJSON[:len(trackerJSON)/2])
		}},
		{"half a KEV", "kev", func(w *world) {
			w.now = w.now.Add(time.Hour)
			w.feed("kev.json", strings.Replace(kevJSON, `"count":1`, `"count":2`, 1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.once()
			before := w.patch("debian-12-amd64", ssl2)
			c.spoil(w)
			r := w.once()
			if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], c.words) || !strings.Contains(r.Notes[0], "stands as of 2026-11-21T12:00:00Z") {
				t.Errorf("notes: %q, want one with %q", r.Notes, c.words)
			}
			if diff := cmp.Diff(before, w.patch("debian-12-amd64", ssl2)); diff != "" {
				t.Errorf("the previous state has changed (-before +after):\n%s", diff)
			}
			s, _ := w.shard("debian-12-amd64")
			if diff := cmp.Diff(r.Notes, s.Header().Notes); diff != "" {
				t.Errorf("notes in the catalog (-report +catalog):\n%s", diff)
			}
			again := w.once()
			if again.Version != r.Version || again.Changed {
				t.Errorf("the same failure again made version %d", again.Version)
			}
		})
	}
}

func TestPayloads(t *testing.T) {
	w := newWorld(t)
	w.once()
	p := w.patch("debian-12-amd64", ssl2)
	if err := w.p.Stage(t.Context(), []patch.ID{ssl2}, nil); err != nil {
		t.Fatal(err)
	}
	for _, it := range p.Items {
		var got bytes.Buffer
		if err := w.follower().Payload(t.Context(), it.Payload.SHA256, it.Payload.Size, &got); err != nil {
			t.Errorf("%s: %v", it.Name, err)
		}
	}
	if err := w.p.Payload(t.Context(), strings.Repeat("ab", 32)); !fault.Is(err, fault.NotFound) {
		t.Errorf("a hash that no catalog names: %v", err)
	}
	if err := w.p.Payload(t.Context(), "../../etc/passwd"); !fault.Is(err, fault.Invalid) {
		t.Errorf("what is no hash: %v", err)
	}
}

func TestProve(t *testing.T) {
	w := newWorld(t)
	w.once()
	bash := patch.ID("debian-12:amd64:bash:5.2.15-2+b13")
	debtest.Edit(t, w.archive.Build(t, w.main.Debs[3]), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	got, err := w.p.Prove(t.Context(), []patch.ID{ssl2, bash}, "ada", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !got[0].OK || got[1].OK || !strings.Contains(got[1].Reason, "bash") {
		t.Errorf("proofs: %+v", got)
	}
	r := w.once()
	if !r.Changed || len(r.Rejected) != 1 || r.Rejected[0].Patch != bash {
		t.Errorf("report: %+v", r)
	}
	if p := w.patch("debian-12-amd64", ssl2); p.Evidence.Verdict != patch.Proven {
		t.Errorf("evidence: %+v", p.Evidence)
	}
	s, _ := w.shard("debian-12-amd64")
	if _, _, err := s.Patch(bash); !fault.Is(err, fault.NotFound) {
		t.Errorf("a patch with other bytes than the index says was published: %v", err)
	}
}
