package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
)

func client(t *testing.T, cfg fetch.Config) *fetch.Client {
	t.Helper()
	cfg.UserAgent = "fettle-test/1"
	if cfg.Transport == nil {
		cfg.Proxy = "direct"
	}
	if cfg.Backoff == 0 {
		cfg.Backoff, cfg.PerHost = time.Microsecond, -1
	}
	c, err := fetch.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func TestGetIsConditional(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header map[string]string
	}{{"etag", map[string]string{"ETag": `"v1"`}}, {"date", map[string]string{"Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}}, {"no validator at all", nil}} {
		t.Run(tc.name, func(t *testing.T) {
			content, sent304 := "one", 0
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.UserAgent() != "fettle-test/1" || r.Header.Get("Accept") != "text/plain" {
					t.Errorf("headers %v", r.Header)
				}
				for k, v := range tc.header {
					w.Header().Set(k, v)
				}
				if m := r.Header.Get("If-None-Match") + r.Header.Get("If-Modified-Since"); content == "one" && m != "" && m == tc.header["ETag"]+tc.header["Last-Modified"] {
					sent304++
					w.WriteHeader(http.StatusNotModified)
					return
				}
				fmt.Fprint(w, content)
			})
			c := client(t, fetch.Config{})
			req := fetch.Request{URL: url, Accept: "text/plain"}
			first, err := c.Get(t.Context(), req)
			if err != nil || string(first.Body) != "one" || first.NotModified || first.Fingerprint == "" {
				t.Fatalf("%+v %v", first, err)
			}
			req.Fingerprint = first.Fingerprint
			again, err := c.Get(t.Context(), req)
			if err != nil || !again.NotModified || again.Body != nil || again.Fingerprint != first.Fingerprint {
				t.Errorf("%+v %v", again, err)
			}
			if (sent304 == 1) != (tc.header != nil) {
				t.Errorf("304 sent %d times", sent304)
			}
			content = "two"
			third, err := c.Get(t.Context(), req)
			if err != nil || string(third.Body) != "two" || third.Fingerprint == first.Fingerprint {
				t.Errorf("%+v %v", third, err)
			}
		})
	}
}

func TestGetFailures(t *testing.T) {
	for _, tc := range []struct {
		name  string
		h     http.HandlerFunc
		code  fault.Code
		text  string
		tries int
	}{
		{"404", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, fault.NotFound, "404 Not Found", 1},
		{"403", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, fault.Denied, "403", 1},
		{"400", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, fault.Invalid, "400", 1},
		{"501", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(501) }, fault.Invalid, "501", 1},
		{"502 for ever", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, fault.Unavailable, "502", 5},
		{"206 unasked", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) }, fault.Invalid, "206", 1},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "short")
		}, fault.Unavailable, "unexpected EOF", 5},
		{"announced too long", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "2000") }, fault.Invalid, "longer than the 1000 bytes", 1},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				fmt.Fprint(w, strings.Repeat("x", 100))
				w.(http.Flusher).Flush()
			}
		}, fault.Invalid, "longer than the 1000 bytes", 1},
		{"redirects in a circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, fault.Invalid, "ten redirects", 11 - 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tries := 0
			url := serve(t, func(w http.ResponseWriter, r *http.Request) { tries++; tc.h(w, r) })
			_, err := client(t, fetch.Config{MaxSize: 1000}).Get(t.Context(), fetch.Request{URL: url + "/?x"})
			if !fault.Is(err, tc.code) || !strings.Contains(err.Error(), tc.text) || tries != tc.tries {
				t.Errorf("got %v after %d tries", err, tries)
			}
		})
	}
	for _, bad := range []string{"", "ftp://x/y", "http:///x", "file://host/x", "file:relative", "://", "http://[::1"} {
		if _, err := client(t, fetch.Config{}).Get(t.Context(), fetch.Request{URL: bad}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err := client(t, fetch.Config{Attempts: 1}).Get(t.Context(), fetch.Request{URL: "http://user:secret@127.0.0.1:1/"})
	if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("refused connection: %v", err)
	}
}

func TestDoesNotGiveUpEncryption(t *testing.T) {
	plain := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") })
	s := httptest.NewTLSServer(http.RedirectHandler(plain, http.StatusFound))
	defer s.Close()
	_, err := client(t, fetch.Config{Transport: s.Client().Transport}).Get(t.Context(), fetch.Request{URL: s.URL})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "https to http") {
		t.Error(err)
	}
}

func TestProxy(t *testing.T) {
	var asked string
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		fmt.Fprint(w, "by proxy")
	})
	c, err := fetch.New(fetch.Config{UserAgent: "x", Proxy: proxy})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Get(t.Context(), fetch.Request{URL: "http://vendor.example/feed"})
	if err != nil || string(resp.Body) != "by proxy" || asked != "http://vendor.example/feed" {
		t.Errorf("%q %v, asked %s", resp.Body, err, asked)
	}
	for _, cfg := range []fetch.Config{{}, {UserAgent: "x", Proxy: "nonsense"}} {
		if _, err := fetch.New(cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestExpect(t *testing.T) {
	const page = "\n<!DOCTYPE html><html><head><title>Sign\n in</title>"
	for _, tc := range []struct {
		expect      fetch.Expect
		kind, body  string
		wrong, hint string
	}{
		{fetch.JSON, "application/json", `{"a":1}`, "", ""},
		{fetch.JSON, "text/html", "\xef\xbb\xbf [1]", "", ""},
		{fetch.JSON, "application/json", page, `web page (titled "Sign in")`, "portal"},
		{fetch.JSON, "text/html", "oops", "web page (without a title)", "portal"},
		{fetch.JSON, "text/plain", "rate limited", `not JSON: "rate limited"`, ""},
		{fetch.JSON, "application/json", "", "not JSON", ""},
		{fetch.XML, "text/html", "<?xml version='1.0'?><x/>", "", ""},
		{fetch.XML, "text/xml", "{}", "not XML", ""},
		{fetch.NotHTML, "text/plain", "a list", "", ""},
		{fetch.NotHTML, "text/plain", "<HTML>", "web page", "portal"},
		{fetch.Anything, "text/html", page, "", ""},
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tc.kind)
			fmt.Fprint(w, tc.body)
		})
		resp, err := client(t, fetch.Config{}).Get(t.Context(), fetch.Request{URL: url, Expect: tc.expect})
		if tc.wrong == "" && (err != nil || string(resp.Body) != tc.body) {
			t.Errorf("%d %q: %v", tc.expect, tc.body, err)
		}
		if tc.wrong != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tc.wrong) || !strings.Contains(fault.HintOf(err), tc.hint)) {
			t.Errorf("%d %q: %v", tc.expect, tc.body, err)
		}
	}
}

// handler answers without a network, so that time can stand still.
type handler func(w http.ResponseWriter, r *http.Request)

func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h(w, r)
	return w.Result(), r.Context().Err()
}

func TestWaitsAsTold(t *testing.T) {
	for _, tc := range []struct {
		name     string
		after    func() string
		min, max time.Duration
		code     fault.Code
	}{
		{"backoff doubles", func() string { return "" }, 7 * time.Second, 10500 * time.Millisecond, ""},
		{"seconds", func() string { return "30" }, 90 * time.Second, 91 * time.Second, ""},
		{"date", func() string { return time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat) }, 117 * time.Second, 121 * time.Second, ""},
		{"too long to wait", func() string { return "3600" }, 0, 0, fault.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				c := client(t, fetch.Config{Backoff: time.Second, PerHost: -1, Transport: handler(func(w http.ResponseWriter, _ *http.Request) {
					if n++; n < 4 {
						w.Header().Set("Retry-After", tc.after())
						w.WriteHeader(http.StatusTooManyRequests)
					}
				})})
				start := time.Now()
				_, err := c.Get(t.Context(), fetch.Request{URL: "http://vendor.example/"})
				if took := time.Since(start); fault.CodeOf(err) != tc.code || took < tc.min || took > tc.max {
					t.Errorf("took %s, %v", took, err)
				}
				if tc.code != "" && !strings.Contains(err.Error(), "come back in 1h0m0s") {
					t.Error(err)
				}
			})
		})
	}
}

func TestOneHostIsAskedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, fetch.Config{Backoff: time.Second, PerHost: 300 * time.Millisecond, Transport: handler(func(http.ResponseWriter, *http.Request) {})})
		start := time.Now()
		for range 4 {
			for _, host := range []string{"a.example", "b.example"} {
				if _, err := c.Get(t.Context(), fetch.Request{URL: "http://" + host}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if took := time.Since(start); took != 900*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
}

// silent sends a few bytes and then nothing until the request is given up.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	pr, pw := io.Pipe()
	go func() {
		fmt.Fprint(pw, "some")
		<-r.Context().Done()
		pw.CloseWithError(r.Context().Err())
	}()
	return &http.Response{StatusCode: 200, Body: pr, ContentLength: 100, Header: http.Header{}}, nil
}

func TestStalledServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, fetch.Config{Backoff: time.Second, Attempts: 2, Stall: 30 * time.Second, Transport: silent{}})
		start := time.Now()
		_, err := c.Get(t.Context(), fetch.Request{URL: "http://vendor.example/"})
		if took := time.Since(start); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "sent nothing for 30s") || took < time.Minute || took > 63*time.Second {
			t.Errorf("took %s, %v", took, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := c.Get(ctx, fetch.Request{URL: "http://vendor.example/"}); !fault.Is(err, fault.Cancelled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func payload(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	if _, err := r.Read(b); err != nil {
		panic(err)
	}
	return b
}

// flaky cuts each answer after a third of the file and counts what it was asked for.
func flaky(t *testing.T, data []byte, etag string, asked *[]string) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Header.Get("Range"))
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		rest, code := data, 200
		if start, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")); err == nil {
			if ir := r.Header.Get("If-Range"); ir == "" || ir == etag {
				rest, code = data[start:], 206
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(data)-1, len(data)))
			}
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
		w.WriteHeader(code)
		if _, err := w.Write(rest[:min(len(rest), len(data)/3)]); err != nil {
			t.Log(err)
		}
	})
}

func TestDownloadResumesAfterCuts(t *testing.T) {
	data := payload(300000)
	var asked []string
	url := flaky(t, data, `"v1"`, &asked)
	path := filepath.Join(t.TempDir(), "f")
	var last, total int64
	req := fetch.Request{URL: url, Progress: func(d, n int64) { last, total = d, n }}
	if err := client(t, fetch.Config{Attempts: 2}).Download(t.Context(), req, path, sum(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, data) || last != 300000 || total != 300000 {
		t.Errorf("%d bytes, %v, progress %d of %d", len(got), err, last, total)
	}
	if d := cmp.Diff([]string{"", "bytes=100000-", "bytes=200000-"}, asked); d != "" {
		t.Error(d)
	}
	if _, err := os.Stat(path + ".part"); !os.IsNotExist(err) {
		t.Errorf("the part is left: %v", err)
	}
}

func TestDownloadUsesWhatAnEarlierRunLeft(t *testing.T) {
	data := payload(5000)
	for _, tc := range []struct {
		name  string
		part  []byte
		asked []string
	}{
		{"half", data[:2500], []string{"bytes=2500-"}},
		{"all", data, nil},
		{"too much", append(bytes.Clone(data), 1), []string{""}},
		{"of another version", bytes.Repeat([]byte{7}, 2500), []string{"bytes=2500-", ""}},
		{"all, of another version", bytes.Repeat([]byte{7}, 5000), []string{""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked []string
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("Range"))
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			})
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path+".part", tc.part, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := client(t, fetch.Config{}).Download(t.Context(), fetch.Request{URL: url}, path, sum(data), 5000); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.asked, asked); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDownloadRefuses(t *testing.T) {
	data := payload(1000)
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		size int64
		code fault.Code
		text string
		part bool
	}{
		{"another file", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte{1}, 1000)) }, 1000, fault.Untrusted, "SHA-256 is", false},
		{"announced longer", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1001") }, 1000, fault.Untrusted, "has 1001 bytes where 1000", true},
		{"longer, not announced", func(w http.ResponseWriter, _ *http.Request) {
			for range 1000 {
				_, _ = w.Write(data)
				w.(http.Flusher).Flush()
			}
		}, 1000, fault.Untrusted, "longer than the 1000 bytes", true},
		{"wrong part", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/1000")
			w.WriteHeader(206)
		}, 1000, fault.Invalid, "wrong part", true},
		{"416 for ever", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(416) }, 1000, fault.Invalid, "fewer bytes", true},
		{"shorter, size not known", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data[:10]) }, -1, fault.Untrusted, "SHA-256", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path+".part", data[:100], 0o600); err != nil {
				t.Fatal(err)
			}
			err := client(t, fetch.Config{}).Download(t.Context(), fetch.Request{URL: serve(t, tc.h)}, path, sum(data), tc.size)
			if !fault.Is(err, tc.code) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("the file became visible: %v", err)
			}
			if info, err := os.Stat(path + ".part"); (err == nil) != tc.part || err == nil && info.Size() > 1000 {
				t.Errorf("part: %v", err)
			}
		})
	}
}

// TestFileChangesBetweenParts: If-Range makes the server send the new file whole.
func TestFileChangesBetweenParts(t *testing.T) {
	old, data := bytes.Repeat([]byte{1}, 3000), payload(3000)
	n := 0
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			w.Header().Set("ETag", `"old"`)
			w.Header().Set("Content-Length", "3000")
			_, _ = w.Write(old[:1000])
			return
		}
		w.Header().Set("ETag", `"new"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
	path := filepath.Join(t.TempDir(), "f")
	if err := client(t, fetch.Config{}).Download(t.Context(), fetch.Request{URL: url}, path, sum(data), 3000); err != nil || n != 2 {
		t.Errorf("%v after %d requests", err, n)
	}
}

func TestFileAddress(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "a feed.json")
	if err := os.WriteFile(src, []byte(`{"a":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "file://" + filepath.ToSlash(filepath.Join(dir, "a%20feed.json"))
	c := client(t, fetch.Config{})
	first, err := c.Get(t.Context(), fetch.Request{URL: url, Expect: fetch.JSON})
	if err != nil || string(first.Body) != `{"a":1}` {
		t.Fatalf("%+v %v", first, err)
	}
	again, err := c.Get(t.Context(), fetch.Request{URL: url, Fingerprint: first.Fingerprint})
	if err != nil || !again.NotModified {
		t.Errorf("%+v %v", again, err)
	}
	if _, err := c.Get(t.Context(), fetch.Request{URL: url, MaxSize: 3}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if _, err := c.Get(t.Context(), fetch.Request{URL: url + "x"}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if _, err := c.Get(t.Context(), fetch.Request{URL: "file://" + dir}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	path := filepath.Join(dir, "out")
	if err := os.WriteFile(path+".part", []byte(`{"a`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Download(t.Context(), fetch.Request{URL: url}, path, sum([]byte(`{"a":1}`)), 7); err != nil {
		t.Fatal(err)
	}
	if err := c.Download(t.Context(), fetch.Request{URL: url}, path+"2", sum([]byte("other")), 7); !fault.Is(err, fault.Untrusted) {
		t.Error(err)
	}
	if err := c.Download(t.Context(), fetch.Request{URL: url}, path+"3", sum([]byte("other")), 8); !fault.Is(err, fault.Untrusted) {
		t.Error(err)
	}
	if err := c.Download(t.Context(), fetch.Request{URL: url}, path, "", 8); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
