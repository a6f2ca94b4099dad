package report

import (
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// TestOwner tells which changes of a machine belong to which patch.
func TestOwner(t *testing.T) {
	known := map[patch.ID]patch.Patch{
		"app": {Product: "7-Zip", Items: []patch.Item{{Kind: "arp", Name: "{23170F69}"}}},
		"deb": {Product: "openssl", Items: []patch.Item{{Kind: "dpkg", Name: "libssl3"}}},
	}
	r := &request{Writer: &Writer{patch: func(id patch.ID) (patch.Patch, error) {
		if p, ok := known[id]; ok {
			return p, nil
		}
		return patch.Patch{}, fault.New(fault.NotFound, "it has gone")
	}}}
	for _, tc := range []struct {
		of   patch.ID
		name string
		want bool
	}{
		{"app", "7-Zip 24.08 (x64 edition)", true},
		{"app", "7-zip", true},
		{"app", "Notepad++", false},
		{"deb", "libssl3", true},
		{"deb", "openssl-doc", false},
		{"gone", "libssl3", false},
	} {
		if got := r.owner(tc.of)(tc.name); got != tc.want {
			t.Errorf("%s of %s: %v", tc.name, tc.of, got)
		}
	}
}
