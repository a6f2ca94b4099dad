package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
)

// TestSpares: of the version before only that counts which the signed catalog
// holds and the machine's policy lets in.
func TestSpares(t *testing.T) {
	app := func(id, version string) patch.Patch {
		return patch.Patch{
			ID: patch.ID(id), Platform: "windows-apps-amd64", Product: "app", Version: version, Install: patch.Manifest{Kind: "exe"},
			Items: []patch.Item{{Kind: "arp", Name: "App", Version: version}},
		}
	}
	before, plain := app("app:1", "1"), app("app:2", "2")
	plain.Install.Restores = before.ID
	replacing, lost, stranger := plain, plain, plain
	replacing.Install.Replace, lost.Install.Replace, stranger.Install.Replace = patch.ReplaceUninstall, patch.ReplaceUninstall, patch.ReplaceUninstall
	lost.Install.Restores, stranger.Product = "app:0", "other"
	var body bytes.Buffer
	check(t, catalog.Encode(&body, catalog.Contents{
		Header:  catalog.Header{Format: catalog.Format, Platform: "windows-apps-amd64", Version: 1, Created: time.Unix(1700000000, 0)},
		Patches: []patch.Patch{before},
	}))
	shard, err := catalog.Open(bytes.NewReader(body.Bytes()), int64(body.Len()))
	check(t, err)
	set := &shardSet{list: []*catalog.Shard{shard}}
	policy := filepath.Join(t.TempDir(), "policy.json")
	cfg := Config{PolicyFile: policy}
	for name, tc := range map[string]struct {
		p    patch.Patch
		want int
	}{"replacing": {replacing, 1}, "in place": {plain, 0}, "not in the catalog": {lost, 0}, "of another product": {stranger, 0}} {
		if got := spares(cfg, set, []patch.Patch{tc.p}); len(got) != tc.want || tc.want > 0 && got[0].ID != before.ID {
			t.Errorf("%s: %+v", name, got)
		}
	}
	check(t, os.WriteFile(policy, []byte(`{"refuse_patches":["app:1"]}`), 0o600))
	if got := spares(cfg, set, []patch.Patch{replacing}); len(got) != 0 {
		t.Errorf("the policy refuses it: %+v", got)
	}
}
