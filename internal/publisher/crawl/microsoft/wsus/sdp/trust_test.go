package sdp

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// TestTrustRow2PlainCatalog: what runs is not taken from a catalog that anybody
// on the way could have written.
func TestTrustRow2PlainCatalog(t *testing.T) {
	for location, ok := range map[string]bool{
		"http://hp.example/catalog.cab": false, "http://127.0.0.1.example/c": false, "http://10.0.0.1/c": false,
		"https://hp.example/catalog.cab": true, "http://127.0.0.1:8080/c": true, "/srv/catalog.cab": true, "file:///srv/catalog.cab": true,
	} {
		if _, err := New(Config{Name: "hp", Location: location, Prove: []string{"sp1"}}, nil); (err == nil) != ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", location, err)
		}
		if _, err := New(Config{Name: "hp", Location: location}, nil); err != nil {
			t.Errorf("%s, only looked at: %v", location, err)
		}
	}
}

// TestTrustRow2PlainCatalogAsked: what people ask for isn't fetched from such a
// catalog either, and the patch says why.
func TestTrustRow2PlainCatalogAsked(t *testing.T) {
	at := strings.TrimPrefix(feedtest.Serve(t, []byte(packageText)), "http://")
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, at)
	}
	c, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1, Transport: &http.Transport{DialContext: dial}})
	if err != nil {
		t.Fatal(err)
	}
	_, dir := feedtest.Source(t, New, Config{Name: "maker", Location: "/x"})
	s, err := New(Config{Name: "maker", Location: "http://maker.example/c.cab"}, c)
	if err != nil {
		t.Fatal(err)
	}
	s.Ask([]patch.ID{"sdp:maker:ab:amd64"})
	got, err := s.Fetch(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Parse(t.Context(), dir, got.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if p := out.Patches[0]; p.Items[0].Payload.SHA256 != "" || len(p.Evidence.Checks) != 1 || !strings.Contains(p.Evidence.Checks[0], "comes over plain http") {
		t.Errorf("%+v", p)
	}
}

// TestTrustRow2NoLocalFiles: a catalog of the network does not name a file of
// this machine as an installer.
func TestTrustRow2NoLocalFiles(t *testing.T) {
	at := feedtest.Secret(t, "a.exe", []byte("MZ 1234"))
	text := strings.Replace(packageText, "https://vendor.example", at, 1)
	s, dir := feedtest.Source(t, New, Config{Name: "maker", Location: feedtest.Serve(t, []byte(text)) + "/c.cab", Prove: []string{"*"}})
	got, err := s.Fetch(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	feedtest.NotRead(t, s.Recall(got.Fingerprint).Learned)
}
