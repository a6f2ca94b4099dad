package api

import (
	"bytes"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/estate"
)

var update = flag.Bool("update", false, "write docs/openapi.yaml anew")

// TestOpenAPIIsCheckedIn keeps docs/openapi.yaml what the code says. After a
// change: go test ./internal/server/api -run OpenAPI -update.
func TestOpenAPIIsCheckedIn(t *testing.T) {
	w := newWorld(t)
	now, err := w.api.OpenAPI()
	must(t, err)
	file := filepath.Join("..", "..", "..", "docs", "openapi.yaml")
	if *update {
		must(t, os.WriteFile(file, now, 0o644))
	}
	kept, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(now, kept) {
		t.Error("docs/openapi.yaml is not what the code says; run: go test ./internal/server/api -run OpenAPI -update")
	}
	_, served := w.send("GET", "/openapi.yaml", "", nil)
	if !bytes.Equal(bytes.TrimSpace(served), bytes.TrimSpace(now)) {
		t.Error("/openapi.yaml is another text")
	}
	for _, rt := range routes() {
		if !bytes.Contains(now, []byte("operationId: "+rt.id+"\n")) {
			t.Errorf("the description lacks %s", rt.id)
		}
	}
	if bytes.Contains(now, []byte("ErrorModel")) && !bytes.Contains(now, []byte("Problem")) {
		t.Error("errors are described as huma's, not as ours")
	}
}

// FuzzRequest sends requests of any shape to every route as someone who may do
// everything in a tenant: whatever comes, the server answers, never with an
// internal error, and never about another tenant.
func FuzzRequest(f *testing.F) {
	for i, rt := range routes() {
		f.Add(uint8(i), strings.TrimPrefix(rt.path, intoT), "", `{"id":"x","decision":"approve","patches":["p"],"all":true,"filter":{"all_missing":true}}`)
	}
	f.Add(uint8(3), "/missing", "limit=1&after=AAAA", "")
	f.Add(uint8(3), "/missing", "after=b3RoZXIBbzEBAQ", "")
	f.Add(uint8(3), "/audit", "after=-1", "")
	f.Add(uint8(28), "/tokens", "", `{"expires_in":"-5h","uses":99999999999}`)
	f.Add(uint8(41), "/deployments", "", `{"schedule":{"install":[{"rule":{"kind":"monthly","nth":99},"start":"x","duration":"1h"}]},"all":true,"all_approved":true}`)
	w := newWorld(f)
	w.machine("main", "m1", old())
	w.machine("other", "o1", old())
	key := w.key(estate.Admin, "main")
	handler := w.api.Handler()
	f.Fuzz(func(t *testing.T, n uint8, tail, query, body string) {
		rt := routes()[int(n)%len(routes())]
		if rt.id == "deployments.watch" || strings.HasSuffix(tail, "/watch") {
			return // stays open for as long as the deployment does
		}
		r := httptest.NewRequest(rt.method, "/", strings.NewReader(body))
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = fill(rt.path, "main"), "", query
		if rt.access.where == inTenant && strings.HasPrefix(tail, "/") {
			r.URL.Path = intoT[:len(intoT)-len("{t}")] + "main" + tail
		}
		r.Header.Set("Authorization", "Bearer "+key)
		out := httptest.NewRecorder()
		handler.ServeHTTP(out, r.WithContext(t.Context()))
		if out.Code >= 500 && out.Code != 501 {
			t.Errorf("%s %s?%s with %q: %d %s", rt.method, r.URL.Path, query, body, out.Code, out.Body)
		}
		if strings.Contains(out.Body.String(), "host-o1") {
			t.Errorf("%s %s?%s shows another tenant's machine", rt.method, r.URL.Path, query)
		}
	})
}
