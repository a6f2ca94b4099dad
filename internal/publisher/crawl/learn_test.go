package crawl_test

import (
	"crypto/sha1" //nolint:gosec // vendors publish it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// TestLearn: what is fetched is believed only with the vendor's own digest and
// size, is filed by its SHA-256, and is not fetched twice.
func TestLearn(t *testing.T) {
	body := []byte("MZ an installer")
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == "/gone" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(body)
	}))
	defer srv.Close()
	c, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	one, two, five := sha1.Sum(body), sha256.Sum256(body), sha512.Sum512(body) //nolint:gosec // see above
	digest := map[string]string{"sha1": hex.EncodeToString(one[:]), "sha512": hex.EncodeToString(five[:]), "sha256": hex.EncodeToString(two[:])}
	want := digest["sha256"]
	l := crawl.Learned{}
	pay := func(algorithm, path string, size int64) patch.Payload {
		return patch.Payload{Digest: algorithm + ":" + digest[algorithm], URL: srv.URL + path, Size: size}
	}
	for algorithm := range digest {
		for range 2 {
			asked = 0
			p := pay(algorithm, "/x", int64(len(body)))
			if err := l.Learn(t.Context(), c, dir, []patch.Payload{p, p}); err != nil || l[p.Digest].SHA256 != want || len(l) != 1 {
				t.Fatalf("%s: %+v, %v", algorithm, l, err)
			}
		}
		if asked != 0 {
			t.Errorf("%s: fetched again", algorithm)
		}
	}
	if got, err := os.ReadFile(crawl.BlobPath(dir, want)); err != nil || string(got) != string(body) || !l.Offers(want) || l.Offers("") || len(l.Blobs()) != 1 {
		t.Errorf("%q, %v", got, err)
	}
	bad := pay("sha1", "/x", int64(len(body)))
	bad.Digest = "sha1:" + strings.Repeat("ab", 20)
	for name, p := range map[string]patch.Payload{
		"names": bad, "404": pay("sha1", "/gone", 15), "longer": pay("sha1", "/x", 3), "bytes": pay("sha512", "/x", 99),
		"no known form": {Digest: "md5:00", URL: srv.URL + "/x"},
	} {
		l := crawl.Learned{}
		if err := l.Learn(t.Context(), c, dir, []patch.Payload{p}); err != nil || l[p.Digest].SHA256 != "" || !strings.Contains(l[p.Digest].Reason, name) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
		x := patch.Patch{Items: []patch.Item{{Payload: p}}}
		if l.Tell(&x, "do this"); x.Items[0].Payload.SHA256 != "" || !strings.Contains(x.Evidence.Checks[0], "could not be fetched") {
			t.Errorf("%s: %+v", name, x)
		}
	}
	x := patch.Patch{ID: "a:b", Items: []patch.Item{{Payload: pay("sha1", "/x", 15)}}}
	if (crawl.Learned{}).Tell(&x, "do this"); !strings.Contains(x.Evidence.Checks[0], "SHA1 alone") || !strings.HasSuffix(x.Evidence.Checks[0], "; do this, or run 'fettle publisher prove a:b'") {
		t.Errorf("%+v", x.Evidence)
	}
	for d := range l {
		x.Items[0].Payload.Digest = d
	}
	if l.Tell(&x, ""); x.Items[0].Payload.SHA256 != want {
		t.Errorf("%+v", x.Items[0])
	}
	again, err := crawl.Again(t.Context(), c, []crawl.Wanted{{Item: x.Items[0]}}, t.TempDir())
	if err != nil || again[want] == "" {
		t.Error(again, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "download-*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}
