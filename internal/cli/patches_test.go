package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/patch"
)

// TestOrigin: the details of a bulletin say why it is one and where to read
// on; a way back is no matter there.
func TestOrigin(t *testing.T) {
	d := patchDetail{
		Patch:  patch.Patch{ID: "msrc:1", Evidence: patch.Evidence{Verdict: patch.Unproven, Checks: []string{"no file is known"}}},
		Digest: "abc", Advisories: []patch.Advisory{{References: []string{"https://vendor.example/1"}}},
		Rollback: wayBack{Reason: "msrc:1 can't be rolled back: its signed manifest says no way to uninstall it", Hint: "restore the machine"},
	}
	if diff := cmp.Diff([]string{"nothing can be installed from it: no file is known", "signed record: sha256 abc", "the vendor's page: https://vendor.example/1"}, d.origin()); diff != "" {
		t.Error(diff)
	}
	d.Patch.Evidence = patch.Evidence{Verdict: patch.Proven, Checks: []string{"signed by the vendor"}}
	want := []string{
		"authenticity: proven; signed by the vendor", "signed record: sha256 abc",
		"can't be rolled back: its signed manifest says no way to uninstall it", "  instead: restore the machine",
	}
	if diff := cmp.Diff(want, d.origin()); diff != "" {
		t.Error(diff)
	}
}
