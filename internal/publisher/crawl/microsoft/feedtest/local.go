package feedtest

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// Secret writes a file that no source of the network may name, and returns the
// file:// address of its folder.
func Secret(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + filepath.Dir(file)
}

// Client is a client that would read files of this machine, too.
func Client(t *testing.T) crawl.Client {
	t.Helper()
	c, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Serve offers one document at an address of the loopback network.
func Serve(t *testing.T, document []byte) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(document) }))
	t.Cleanup(srv.Close)
	return srv.URL
}

// NotRead fails when a source has fetched a payload that its vendor says lies on
// this machine.
func NotRead(t *testing.T, learned crawl.Learned) {
	t.Helper()
	if len(learned) == 0 {
		t.Fatal("nothing was wanted, so it proves nothing")
	}
	for digest, l := range learned {
		if l.SHA256 != "" || !strings.Contains(l.Reason, "no http or https address") {
			t.Errorf("%s: %+v", digest, l)
		}
	}
}

// Source makes a source of a maker's configuration, and the folder that it
// would have.
func Source[C, S any](t *testing.T, build func(C, crawl.Client) (S, error), cfg C) (source S, dir string) {
	t.Helper()
	source, err := build(cfg, Client(t))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	return source, dir
}

// Refresh fetches what is newer than prev, and reads it.
func Refresh(t *testing.T, s crawl.Source, dir string, prev crawl.Fingerprint) (crawl.Fetched, crawl.Output) {
	t.Helper()
	got, err := s.Fetch(t.Context(), dir, prev)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Parse(t.Context(), dir, got.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return got, out
}
