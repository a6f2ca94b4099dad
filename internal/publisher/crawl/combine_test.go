package crawl_test

import (
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// TestCombineBulletins: what several of a vendor's documents say of one KB
// becomes one patch; the first's rules and payload stay.
func TestCombineBulletins(t *testing.T) {
	yes, no := true, false
	rule := func(b *bool) *detect.Rule { return &detect.Rule{Always: b} }
	bulletin := patch.Patch{ID: "p", Install: patch.Manifest{Kind: "msu"}}
	ruled := patch.Patch{ID: "p", Install: patch.Manifest{Kind: "msu"}, Applicable: rule(&yes), Installed: rule(&yes)}
	full := patch.Patch{
		ID: "p", Install: patch.Manifest{Kind: "cab"}, Applicable: rule(&no), Installed: rule(&no), Requires: []patch.ID{"q"},
		Items: []patch.Item{{Kind: "file", Name: "kb.cab", Payload: patch.Payload{Digest: "sha1:x"}}}, Evidence: patch.Evidence{Checks: []string{"why"}},
	}
	other := full
	other.Items = []patch.Item{{Kind: "file", Name: "kb.msu", Payload: patch.Payload{Digest: "sha1:y"}}}
	combine := func(all ...patch.Patch) patch.Patch {
		t.Helper()
		var in []crawl.Result
		for _, p := range all {
			in = append(in, crawl.Result{Output: crawl.Output{Patches: []patch.Patch{p}}})
		}
		out := crawl.Combine(in)
		if len(out.Patches) != 1 || len(out.Rejected) != 0 {
			t.Fatalf("%+v", out)
		}
		return out.Patches[0]
	}
	if p := combine(bulletin, full); p.Installed != full.Installed || p.Install.Kind != "cab" || len(p.Items) != 1 || len(p.Requires) != 1 || p.Evidence.Checks == nil {
		t.Errorf("a bulletin learns nothing: %+v", p)
	}
	if p := combine(ruled, full); p.Installed != ruled.Installed || p.Install.Kind != "cab" || len(p.Items) != 1 {
		t.Errorf("rules of its own: %+v", p)
	}
	delegated := patch.Patch{ID: "p", Install: patch.Manifest{Kind: "wua"}, Evidence: patch.Evidence{Verdict: patch.Delegated}}
	if p := combine(full, delegated); p.Install.Kind != "wua" || len(p.Items) != 0 || p.Evidence.Verdict != patch.Delegated {
		t.Errorf("a payload that was not fetched stands before a way to get it: %+v", p)
	}
	if p := combine(delegated, full); p.Install.Kind != "wua" || len(p.Items) != 0 {
		t.Errorf("a way to get it goes for a payload that was not fetched: %+v", p)
	}
	fetched := full
	fetched.Items = []patch.Item{{Kind: "file", Name: "kb.cab", Payload: patch.Payload{SHA256: "z"}}}
	for _, p := range []patch.Patch{combine(fetched, delegated), combine(fetched, other)} {
		if p.Install.Kind != "cab" || len(p.Items) != 1 || p.Items[0].Payload.SHA256 != "z" {
			t.Errorf("a payload that was fetched is lost: %+v", p)
		}
	}
	if p := combine(other, fetched); p.Items[0].Payload.SHA256 != "z" {
		t.Errorf("the payload that was fetched is not taken: %+v", p)
	}
	if p := combine(full, other); len(p.Items) != 1 || p.Items[0].Name != "kb.cab" {
		t.Errorf("two payloads: %+v", p.Items)
	}
}
