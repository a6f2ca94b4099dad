package fetch_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
)

// TestGetIntoFile: a document that goes into a file is judged as any other, and
// is not held in memory.
func TestGetIntoFile(t *testing.T) {
	const size = 64 << 20
	body := "data"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			_, _ = io.CopyN(w, zeros{}, size)
			return
		}
		_, _ = io.WriteString(w, body)
	}))
	defer srv.Close()
	c, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x")
	get := func(path string, r fetch.Request) (fetch.Response, error) {
		r.URL, r.File = srv.URL+path, file
		return c.Get(t.Context(), r)
	}
	first, err := get("/a", fetch.Request{})
	if got, _ := os.ReadFile(file); err != nil || first.Body != nil || string(got) != "data" {
		t.Fatalf("%q, %+v, %v", got, first, err)
	}
	if again, err := get("/a", fetch.Request{Fingerprint: first.Fingerprint}); err != nil || !again.NotModified {
		t.Errorf("%+v, %v", again, err)
	}
	body = "<html><title>Sign in</title>"
	if _, err := get("/a", fetch.Request{Expect: fetch.NotHTML}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "web page") {
		t.Error(err)
	}
	if _, err := get("/a", fetch.Request{MaxSize: 3}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "longer") {
		t.Error(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := get("/big", fetch.Request{MaxSize: size}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if info, err := os.Stat(file); err != nil || info.Size() != size {
		t.Error(info, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d MiB were allocated for a file of %d", used>>20, size>>20)
	}
	r := fetch.Request{URL: "file://" + file, File: filepath.Join(t.TempDir(), "copy")}
	if _, err := c.Get(t.Context(), r); err != nil {
		t.Error(err)
	}
	r.File = filepath.Join(t.TempDir(), "no", "folder")
	if _, err := c.Get(t.Context(), r); !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestGetByForm: a question goes as a form, again if it must.
func TestGetByForm(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, r.Method+" "+r.PostFormValue("q")) //nolint:gosec // a test
	}))
	defer srv.Close()
	c, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 2, Backoff: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(t.Context(), fetch.Request{URL: srv.URL, Form: url.Values{"q": {"a & b"}}})
	if err != nil || string(got.Body) != "POST a & b" {
		t.Errorf("%q, %v", got.Body, err)
	}
}
