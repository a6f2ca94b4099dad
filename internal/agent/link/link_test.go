package link

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

func serve(t *testing.T, h http.HandlerFunc) (*httptest.Server, *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, s.Client().Transport.(*http.Transport).TLSClientConfig
}

func dial(t *testing.T, s *httptest.Server, cfg *tls.Config) *Client {
	t.Helper()
	c, err := New(Options{Server: s.URL, TLS: cfg, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "fettle.example", "http://fettle.example", "https://", "https://a b"} {
		if _, err := New(Options{Server: bad}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q gives %v", bad, err)
		}
	}
	if _, err := New(Options{Server: "https://x.example", Proxy: "nonsense"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a proxy without a host gives %v", err)
	}
}

// TestAnswers: what a server can answer, well and badly.
func TestAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		code   fault.Code
		says   string
	}{
		"good": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"next":7}`) }, "", ""},
		"refusal": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"code":"denied","message":"revoked","hint":"enrol again"}`)
		}, fault.Denied, "the server says: revoked"},
		"page of a proxy": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>")
		}, fault.Unavailable, "HTTP 502"},
		"unknown code": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"code":"odd","message":"m"}`)
		}, fault.Conflict, "HTTP 409"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		}, fault.Untrusted, "redirects"},
		"no json":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, fault.Untrusted, "not understood"},
		"too long": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, io.LimitReader(endless{}, maxReply+2)) }, fault.Untrusted, "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			s, cfg := serve(t, tc.answer)
			reply, err := dial(t, s, cfg).CheckIn(context.Background(), wire.CheckIn{})
			if fault.CodeOf(err) != tc.code || (err != nil && !strings.Contains(fault.Public(err), tc.says)) {
				t.Fatalf("got %s: %v", fault.CodeOf(err), err)
			}
			if err == nil && reply.Next != 7 {
				t.Errorf("%+v", reply)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestUntrustedServer(t *testing.T) {
	s, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request reached a server that is not trusted") })
	_, err := dial(t, s, &tls.Config{MinVersion: tls.VersionTLS13}).CheckIn(context.Background(), wire.CheckIn{})
	if !fault.Is(err, fault.Untrusted) || fault.HintOf(err) == "" {
		t.Fatalf("got %v", err)
	}
}

// TestProxy goes through a real CONNECT proxy.
func TestProxy(t *testing.T) {
	s, cfg := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"next":1}`) })
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		w.WriteHeader(http.StatusOK)
		from, early, err := w.(http.Hijacker).Hijack() // early may hold the first byte already
		if err != nil {
			t.Error(err)
			return
		}
		go func() { _, _ = io.Copy(to, early); _ = to.Close() }() // a tunnel ends in any way
		_, _ = io.Copy(from, to)
		_ = from.Close()
	}))
	defer proxy.Close()
	c, err := New(Options{Server: s.URL, TLS: cfg, Proxy: proxy.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.CheckIn(context.Background(), wire.CheckIn{}); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "CONNECT "+strings.TrimPrefix(s.URL, "https://") {
		t.Errorf("the proxy heard %q", got)
	}
}

func TestWake(t *testing.T) {
	s, cfg := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{\"kind\":\"hello\"}\n\n{\"kind\":\"check\",\"after\":3}\n{\"kind\":\"ping\"}\n")
	})
	var heard []string
	err := dial(t, s, cfg).Wake(context.Background(), func(w wire.Wake) { heard = append(heard, fmt.Sprint(w.Kind, w.After)) })
	if !fault.Is(err, fault.Unavailable) || strings.Join(heard, " ") != "hello0 check3 ping0" {
		t.Errorf("heard %q, %v", heard, err)
	}
	s, cfg = serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, io.LimitReader(endless{}, 1<<20)) })
	if err := dial(t, s, cfg).Wake(context.Background(), func(wire.Wake) { t.Error("a wake out of blanks") }); err == nil {
		t.Error("an endless line ends well")
	}
}

func TestStore(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 1000)
	raw := sha256.Sum256(data)
	sum := hex.EncodeToString(raw[:])
	var asked []string
	s, cfg := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
	c := dial(t, s, cfg)
	store, err := OpenStore(filepath.Join(tempDir(t), "p"))
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(size int64) error {
		path, err := store.Fetch(context.Background(), c, sum, size, nil)
		if err == nil {
			got, errRead := os.ReadFile(path)
			if errRead != nil || !bytes.Equal(got, data) {
				t.Fatalf("other bytes: %v", errRead)
			}
		}
		return err
	}
	put := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(store.Path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		part, whole []byte
		size        int64
		ranges      string
	}{
		"fresh":            {nil, nil, 10000, ""},
		"unknown size":     {nil, nil, -1, ""},
		"part":             {data[:4000], nil, 10000, "bytes=4000-"},
		"whole part":       {data, nil, 10000, "none"},
		"part too long":    {append(bytes.Clone(data), 'x'), nil, 10000, ""},
		"part unknown":     {data[:4000], nil, -1, ""},
		"there":            {nil, data, 10000, "none"},
		"there but damage": {nil, data[1:], 10000, ""},
	} {
		if err := store.Sweep(nil); err != nil {
			t.Fatal(err)
		}
		asked = nil
		if tc.part != nil {
			put(sum+".part", tc.part)
		}
		if tc.whole != nil {
			put(sum, tc.whole)
		}
		if err := fetch(tc.size); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(append(asked, "none")[:1], ""); got != tc.ranges {
			t.Errorf("%s: asked for %q", name, asked)
		}
	}
	for name, tc := range map[string]struct {
		size int64
		code fault.Code
	}{
		"server sends more": {9999, fault.Untrusted}, "server sends less": {10001, fault.Unavailable},
		"absurd": {MaxBlob + 1, fault.Exhausted}, "beyond the disk": {MaxBlob, fault.Exhausted},
	} {
		if err := store.Sweep(nil); err != nil {
			t.Fatal(err)
		}
		if name == "beyond the disk" {
			if free, _, err := atomicfile.Space(store.dir); err != nil || free > MaxBlob {
				continue // this disk would have room
			}
		}
		if err := fetch(tc.size); !fault.Is(err, tc.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := store.Fetch(context.Background(), c, "../x", 1, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name that is no hash gives %v", err)
	}
}

// tempDir is t.TempDir, which can't clean up under Wine (atomicfile.RemoveTree
// says why).
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fettle-link-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := atomicfile.RemoveTree(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
