//go:build !race

package microsoft

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// TestRealRevisions crawls the three days of 2026-May that are at hand, one
// after the other, over the months before: each day changes only what its
// document changes.
func TestRealRevisions(t *testing.T) {
	from := t.TempDir()
	for _, name := range []string{"2026-Jan.xml.zst", "2026-Feb.xml.zst"} {
		copyFeed(t, feedtest.Path(t, "msrc-cvrf/"+name), filepath.Join(from, name))
	}
	s, dir := feedtest.Source(t, New, Config{MSRC: from})
	got, before := feedtest.Refresh(t, s, dir, nil)
	base := before
	for _, day := range []struct {
		name                      string
		added, changed, gone, kbs int
	}{
		{"2026-May.asof-2026-05-12.xml.zst", 0, 0, 0, 0},
		// The rollups of Windows Server 2012 before it learn a KB that holds them.
		{"2026-May.asof-2026-05-13.xml.zst", 53, 4, 0, 58},
		// CVE-2026-35433 comes to 17 updates of .NET, which get more products and
		// lose 32-bit Windows 10.
		{"2026-May.asof-2026-05-15.xml.zst", 15, 17, 2, 58},
	} {
		copyFeed(t, feedtest.Path(t, "msrc-cvrf/snapshots/"+day.name), filepath.Join(from, day.name))
		var out crawl.Output
		got, out = feedtest.Refresh(t, s, dir, got.Fingerprint)
		if !got.Changed {
			t.Errorf("%s: nothing changed", day.name)
		}
		added, changed := 0, 0
		old := map[patch.ID]patch.Patch{}
		for _, p := range before.Patches {
			old[p.ID] = p
		}
		for _, p := range out.Patches {
			was, known := old[p.ID]
			switch {
			case !known:
				added++
			case !cmp.Equal(was, p):
				changed++
			}
			delete(old, p.ID)
		}
		kbs := len(out.Advisories) - len(base.Advisories)
		if added != day.added || changed != day.changed || len(old) != day.gone || kbs != day.kbs {
			t.Errorf("%s: %d patches added, %d changed, %d gone, %d KBs; want %+v", day.name, added, changed, len(old), kbs, day)
		}
		before = out
	}
}

func copyFeed(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
