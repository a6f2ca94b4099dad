package publisher_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian/debtest"
)

// Indexes and files that no kept shard names go; what one from which a delta is
// offered names stays, and what is young stays in any case.
func TestOldPayloadsGo(t *testing.T) {
	for _, deltas := range []int{1, 5} {
		w := newWorld(t)
		w.p.Close()
		w.cfg.Deltas = deltas
		w.open()
		w.once()
		if err := w.p.Stage(t.Context(), []patch.ID{ssl2}, nil); err != nil {
			t.Fatal(err)
		}
		first := w.stored()
		w.now = w.now.Add(time.Hour)
		w.sec.Date = w.now
		w.sec.Debs = []debtest.Deb{
			{Name: "libssl3", Version: "3.0.17-1~deb12u3", Arch: "amd64", Source: "openssl"},
			{Name: "openssl", Version: "3.0.17-1~deb12u3", Arch: "amd64"},
		}
		w.archive.Publish(t, w.sec)
		if r := w.once(); r.Version != 2 || r.Collected != 0 {
			t.Fatalf("version %d, %d collected within the hour", r.Version, r.Collected)
		}
		if err := w.p.Stage(t.Context(), []patch.ID{ssl3}, nil); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.AddDate(0, 0, 31)
		w.sec.Date, w.sec.ValidUntil = w.now, w.now.AddDate(0, 0, 7)
		w.archive.Publish(t, w.sec)
		r := w.once()
		if r.Version != 3 {
			t.Fatalf("version %d", r.Version)
		}
		after := w.stored()
		s, _ := w.shard("debian-12-amd64")
		wanted := map[string]bool{}
		for _, it := range w.patch("debian-12-amd64", ssl3).Items {
			wanted[it.Payload.SHA256] = true
		}
		for _, a := range s.Header().Archives {
			wanted[a.InRelease.SHA256] = true
			for _, ix := range a.Indexes {
				wanted[ix.Blob.SHA256] = true
			}
		}
		for sum := range wanted {
			if !after[sum] {
				t.Errorf("with %d deltas: %s is named by the current shard and gone", deltas, sum)
			}
		}
		gone := slices.DeleteFunc(slices.Collect(maps.Keys(first)), func(sum string) bool { return after[sum] })
		if deltas == 5 {
			if len(gone) != 0 || r.Collected != 0 {
				t.Errorf("%d payloads of kept shards are gone", len(gone))
			}
			continue
		}
		if len(gone) < 3 || r.Collected == 0 { // two files of ssl2, and the old InRelease
			t.Errorf("%d old payloads went, %d in all", len(gone), r.Collected)
		}
		for sum := range after {
			if first[sum] && !wanted[sum] && !w.namedByForeign(sum) {
				t.Errorf("%s is named by nothing and still there", sum)
			}
		}
	}
}

// stored lists the payload store.
func (w *world) stored() map[string]bool {
	w.t.Helper()
	out := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(w.cfg.Repository, "payloads"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out[d.Name()] = true
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// namedByForeign looks into the other platform's shard.
func (w *world) namedByForeign(sum string) bool {
	s, _ := w.shard("debian-12-i386")
	for _, a := range s.Header().Archives {
		if a.InRelease.SHA256 == sum {
			return true
		}
		for _, ix := range a.Indexes {
			if ix.Blob.SHA256 == sum {
				return true
			}
		}
	}
	return false
}
