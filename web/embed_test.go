package web

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// built is a console as Vite leaves it.
func built() fs.FS {
	return fstest.MapFS{
		".keep":               {},
		"index.html":          {Data: []byte(`<meta property="csp-nonce" nonce="FETTLE_NONCE"><script src="/assets/index-aB3.js">`)},
		"icon.svg":            {Data: []byte("<svg/>")},
		"assets/index-aB3.js": {Data: []byte("export {}")},
	}
}

func get(t *testing.T, h http.Handler, method, target string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	resp := w.Result()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestHandlerServes(t *testing.T) {
	h := handler(built())
	for _, tc := range []struct {
		method, target string
		status         int
		kind, cache    string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "no-store"},
		{"HEAD", "/", 200, "text/html; charset=utf-8", "no-store"},
		{"GET", "/index.html", 200, "text/html; charset=utf-8", "no-store"},
		{"GET", "/setup", 200, "text/html; charset=utf-8", "no-store"},
		{"GET", "/machines/3f2a-9", 200, "text/html; charset=utf-8", "no-store"},
		{"GET", "/patches/debian-12:amd64:openssl:3.0.17-1~deb12u3", 200, "text/html; charset=utf-8", "no-store"},
		{"GET", "/assets/index-aB3.js", 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		{"GET", "/icon.svg", 200, "image/svg+xml", "public, max-age=3600"},
		{"GET", "/assets/index-old.js", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/assets/", 200, "text/html; charset=utf-8", "no-store"}, // a page that does not exist, never a listing
		{"GET", "/.keep", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/../embed.go", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/api/v1/nothing", 404, "text/plain; charset=utf-8", ""},
		{"POST", "/", 405, "text/plain; charset=utf-8", ""},
	} {
		t.Run(tc.method+" "+tc.target, func(t *testing.T) {
			resp, body := get(t, h, tc.method, tc.target)
			if resp.StatusCode != tc.status || resp.Header.Get("Content-Type") != tc.kind || resp.Header.Get("Cache-Control") != tc.cache {
				t.Errorf("%d %q %q, want %d %q %q", resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header.Get("Cache-Control"), tc.status, tc.kind, tc.cache)
			}
			if strings.Contains(body, "<pre>") {
				t.Error("a folder was listed")
			}
		})
	}
}

func TestPolicyAllowsOnlyThisServer(t *testing.T) {
	h := handler(built())
	for _, target := range []string{"/", "/assets/index-aB3.js", "/nothing.js"} {
		resp, _ := get(t, h, "GET", target)
		policy := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: policy %q lacks %q", target, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: policy %q allows too much", target, policy)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", target, resp.Header)
		}
	}
}

func TestNonceIsFreshAndInThePage(t *testing.T) {
	h := handler(built())
	seen := map[string]bool{}
	for range 3 {
		resp, body := get(t, h, "GET", "/machines")
		found := regexp.MustCompile(`'nonce-([A-Z0-9]{20,})'`).FindStringSubmatch(resp.Header.Get("Content-Security-Policy"))
		if found == nil || !strings.Contains(body, `nonce="`+found[1]+`"`) || strings.Contains(body, nonceMark) {
			t.Fatalf("policy %q and page %q do not share a nonce", resp.Header.Get("Content-Security-Policy"), body)
		}
		seen[found[1]] = true
	}
	if len(seen) != 3 {
		t.Errorf("3 pages carry %d nonces", len(seen))
	}
}

func TestWithoutNodeAPlainPageStandsIn(t *testing.T) {
	h := handler(fstest.MapFS{".keep": {}})
	resp, body := get(t, h, "GET", "/machines")
	if resp.StatusCode != 200 || !strings.Contains(body, "built without the console") || strings.Contains(body, nonceMark) {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestEmbeddedConsoleAnswers(t *testing.T) {
	resp, body := get(t, Handler(), "GET", "/")
	if resp.StatusCode != 200 || !strings.Contains(body, "Fettle") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}
