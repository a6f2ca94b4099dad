package sdp

import (
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
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
