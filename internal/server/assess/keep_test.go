package assess

import (
	"fmt"
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/patch"
)

// ruledShard has so many patches with rules of their own, of one size.
func ruledShard(t *testing.T, platform string, n int) *catalog.Shard {
	t.Helper()
	var all []patch.Patch
	for i := range n {
		r := detect.Rule{File: &detect.File{Path: "a"}}
		all = append(all, patch.Patch{
			ID: patch.ID(fmt.Sprintf("p:%d", i)), Platform: platform, Product: "p", Version: "1", Applicable: &r, Installed: &r,
			Install: patch.Manifest{Kind: "exe"}, Evidence: patch.Evidence{Verdict: patch.Vouched},
		})
	}
	return shard(t, platform, 1, all...)
}

// TestMemoryIsBounded: of the shards the ones used last are held, within the
// bound, and none that the catalog no longer has.
func TestMemoryIsBounded(t *testing.T) {
	a, b, c, large := ruledShard(t, "a-1-amd64", 2), ruledShard(t, "b-1-amd64", 2), ruledShard(t, "c-1-amd64", 2), ruledShard(t, "l-1-amd64", 7)
	none := shard(t, "n-1-amd64", 1, update("bash", "1", patch.Low))
	one := a.RuledBytes()
	if one == 0 || none.RuledBytes() != 0 {
		t.Fatalf("%d bytes, %d", one, none.RuledBytes())
	}
	m := &memory{most: 2 * one}
	holds := func(what string, want ...*catalog.Shard) {
		t.Helper()
		if len(m.kept) != len(want) || m.bytes != int64(len(want))*one {
			t.Fatalf("%s: %d shards, %d bytes", what, len(m.kept), m.bytes)
		}
		for i, s := range want {
			if m.kept[i] != s {
				t.Errorf("%s: %d is %s", what, i, m.kept[i].Header().Platform)
			}
		}
	}
	m.use(a)
	m.use(b)
	holds("two", a, b)
	m.use(a)
	m.use(none)
	m.use(large)
	holds("used again, with one that has none and one that is too large", b, a)
	m.use(c)
	holds("a third", a, c)
	next := ruledShard(t, "a-1-amd64", 2)
	m.only(map[string]*catalog.Shard{"a-1-amd64": next, "c-1-amd64": c})
	holds("a newer catalog", c)
}
