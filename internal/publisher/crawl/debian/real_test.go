package debian_test

import (
	"bytes"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian/debtest"
)

// feeds is the folder of real vendor data beside the repository.
func feeds(t testing.TB, path string) string {
	t.Helper()
	full := filepath.Join("../../../../../shared/feeds", path)
	if _, err := os.Stat(full); err != nil {
		t.Skipf("the real vendor data is not beside this repository: %v", err)
	}
	return full
}

// realDay is a moment at which the real indexes were current.
var realDay = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// realArchive lays the real signed indexes out as an archive and serves it.
func realArchive(t testing.TB) string {
	t.Helper()
	from, dir := feeds(t, "debian/archive-index"), t.TempDir()
	for file, to := range map[string]string{
		"debian-security_dists_bookworm-security_InRelease":                     "dists/bookworm-security/InRelease",
		"debian-security_dists_bookworm-security_main_binary-amd64_Packages.xz": "dists/bookworm-security/main/binary-amd64/by-hash/SHA256/",
		"debian_dists_bookworm-updates_InRelease":                               "dists/bookworm-updates/InRelease",
		"debian_dists_bookworm-updates_main_binary-amd64_Packages.xz":           "dists/bookworm-updates/main/binary-amd64/by-hash/SHA256/",
	} {
		data, err := os.ReadFile(filepath.Join(from, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(to, "/") { // Acquire-By-Hash; only the unpacked form is as Debian signed it
			r, err := xz.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
			to += sha(data)
		}
		put(t, filepath.Join(dir, to), data)
	}
	srv := httptest.NewServer(debtest.Handler(dir))
	t.Cleanup(srv.Close)
	return srv.URL
}

func client(t testing.TB) crawl.Client {
	t.Helper()
	c, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 2, Backoff: time.Millisecond, Proxy: "direct"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// source runs one source as the runner does.
type source struct {
	t   testing.TB
	src crawl.Source
	dir string
	at  crawl.Fingerprint
}

func newSource(t testing.TB, src crawl.Source) *source {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &source{t: t, src: src, dir: dir}
}

func (s *source) fetch() (crawl.Fetched, error) {
	got, err := s.src.Fetch(s.t.Context(), s.dir, s.at)
	if err == nil {
		s.at = got.Fingerprint
	}
	return got, err
}

func (s *source) mustFetch() crawl.Fetched {
	s.t.Helper()
	got, err := s.fetch()
	if err != nil {
		s.t.Fatalf("Fetch: %v", err)
	}
	return got
}

func (s *source) parse() crawl.Output {
	s.t.Helper()
	out, err := s.src.Parse(s.t.Context(), s.dir, s.at)
	if err != nil {
		s.t.Fatalf("Parse: %v", err)
	}
	out.Dir = s.dir
	return out
}

func TestRealArchive(t *testing.T) {
	uri := realArchive(t)
	for _, c := range []struct {
		suite          string
		items, patches int
		security       bool
		validUntil     time.Time
	}{
		{"bookworm-security", 3006, 410, true, time.Date(2026, 11, 27, 0, 12, 41, 0, time.UTC)},
		{"bookworm-updates", 38, 5, false, time.Time{}},
	} {
		t.Run(c.suite, func(t *testing.T) {
			now := realDay
			cfg := debian.Config{
				Name: c.suite, URI: uri, Suite: c.suite, Components: []string{"main"}, Architectures: []string{"amd64"},
				Keyring: feeds(t, "debian/archive-index/debian-archive-keyring.gpg"),
			}
			a, err := debian.NewArchive(cfg, client(t), debian.Options{Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			s := newSource(t, a)
			if got := s.mustFetch(); !got.Changed {
				t.Error("the first fetch changed nothing")
			}
			if got := s.mustFetch(); got.Changed {
				t.Error("the second fetch changed something")
			}
			out := s.parse()
			items := 0
			for _, p := range out.Patches {
				items += len(p.Items)
				if p.IsSecurity() != c.security || p.Platform != "debian-12-amd64" || p.Vendor != "debian" {
					t.Fatalf("patch %s: %+v", p.ID, p)
				}
			}
			if items != c.items || len(out.Rejected) != 0 {
				t.Errorf("%d items in %d patches, %d rejected, want %d items", items, len(out.Patches), len(out.Rejected), c.items)
			}
			if len(out.Patches) != c.patches {
				t.Errorf("%d patches, want %d", len(out.Patches), c.patches)
			}
			ar := out.Archives[0]
			if ar.Security != c.security || ar.Codename != c.suite || !ar.ValidUntil.Equal(c.validUntil) || len(ar.Signers) != 1 || out.Releases[ar.ID] != "bookworm" {
				t.Errorf("archive: %+v", ar)
			}
			checkIndex(t, out, ar.Indexes[0])

			if c.validUntil.IsZero() {
				return
			}
			now = c.validUntil.Add(time.Second)
			if _, err := s.fetch(); !fault.Is(err, fault.Untrusted) {
				t.Errorf("after Valid-Until: %v", err)
			}
		})
	}
}

// checkIndex unpacks a stored index and proves it.
func checkIndex(t *testing.T, out crawl.Output, ix catalog.Index) {
	t.Helper()
	r, err := out.OpenBlob(ix.Blob.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	packed, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sha(packed) != ix.Blob.SHA256 || int64(len(packed)) != ix.Blob.Size || ix.Blob.Encoding != "zstd" || sha(plain) != ix.SHA256 || int64(len(plain)) != ix.Size {
		t.Errorf("index %+v does not hold what it says", ix)
	}
}

func TestRealInRelease(t *testing.T) {
	data, err := os.ReadFile(feeds(t, "debian/archive-index/debian_dists_bookworm_InRelease"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := bytes.Cut(data, []byte("\n\n"))
	text, _, _ = bytes.Cut(text, []byte("-----BEGIN PGP SIGNATURE-----"))
	rel, err := debian.ParseRelease(text)
	if err != nil {
		t.Fatal(err)
	}
	if rel.Version != "12.15" || !rel.NoArchAll || !rel.ByHash || rel.IsSecurity() || len(rel.Files) != 772 || len(rel.Architectures) != 10 {
		t.Errorf("%s, %d files, %d architectures", rel.Version, len(rel.Files), len(rel.Architectures))
	}
}

func TestRealDSAList(t *testing.T) {
	f, err := os.Open(feeds(t, "debian/security-tracker/data-DSA-list.2023-04.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	out, err := debian.ParseDSA(z)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]patch.Advisory{}
	fixes, cves := 0, 0
	for _, a := range out.Advisories {
		byID[a.ID] = a
		fixes += len(a.Fixes)
		cves += len(a.CVEs)
	}
	if len(out.Advisories) != 5406 || fixes != 6924 || cves != 18128 {
		t.Errorf("%d advisories, %d fixes, %d CVEs", len(out.Advisories), fixes, cves)
	}
	a := byID["DSA-5380-1"]
	if len(a.Fixes) != 1 || a.Fixes[0] != (patch.Fix{Product: "xorg-server", Release: "bullseye", Version: "2:1.20.11-1+deb11u6"}) || a.Published.Format("2006-01-02") != "2023-03-29" {
		t.Errorf("%+v", a)
	}
}

func TestRealTracker(t *testing.T) {
	for _, c := range []struct {
		file         string
		vulns, fixes int
	}{
		{"debian/tracker-json/advisory.json", 3, 2},
		{"debian/tracker-json/tracker-data-json.cut-2.json", 7, 19},
	} {
		f, err := os.Open(feeds(t, c.file))
		if err != nil {
			t.Fatal(err)
		}
		out, err := debian.ParseTracker(f)
		_ = f.Close()
		if err != nil || len(out.Vulnerabilities) != c.vulns || len(out.Fixes) != c.fixes {
			t.Errorf("%s: %d vulnerabilities, %d fixes, %v", c.file, len(out.Vulnerabilities), len(out.Fixes), err)
		}
	}
}
