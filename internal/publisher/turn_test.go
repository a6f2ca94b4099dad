package publisher

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// Changed files are read first, then those that never were, then the longest
// unread; what was read within the round waits.
func TestTurn(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	files, known, reads := map[string]fs.FileInfo{}, map[string]read{}, map[string]read{}
	for name, days := range map[string]int{"changed": 1, "never": -1, "old": 9, "older": 10, "young": 6, "early": -8} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = info
		switch name {
		case "never":
		case "changed":
			known[name] = read{"another", now.AddDate(0, 0, -days)}
		default: // early: the clock was ahead
			reads[name] = read{crawl.FileVersion(info), now.AddDate(0, 0, -days)}
			known[name] = reads[name]
		}
	}
	if diff := cmp.Diff([]string{"changed", "never", "older", "old", "early"}, turn(files, reads, known, now, false)); diff != "" {
		t.Errorf("turn (-want +got):\n%s", diff)
	}
	if got := turn(files, reads, known, now, true); len(got) != len(files) {
		t.Errorf("all: %q", got)
	}
}
