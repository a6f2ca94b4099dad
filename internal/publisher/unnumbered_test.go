package publisher_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
)

// What is published for a release whose number nobody knows stands in the notes
// that go with every catalog; naming the release mends it, and takes the other
// platform's catalog away.
func TestReleaseWithoutNumberIsTold(t *testing.T) {
	w := newWorld(t)
	w.p.Close()
	w.main.Version, w.sec.Version = "", ""
	w.archive.Publish(t, w.main)
	w.archive.Publish(t, w.sec)
	w.opt.Names = func(string, string) string { return "" }
	w.open()
	r := w.once()
	told := func(notes []string) bool {
		return slices.ContainsFunc(notes, func(n string) bool {
			return strings.HasPrefix(n, "bookworm-security: ") && strings.Contains(n, "for debian-bookworm alone") && strings.Contains(n, "release: debian-12")
		})
	}
	s, _ := w.shard("debian-bookworm-amd64")
	if !told(r.Notes) || !told(s.Header().Notes) {
		t.Errorf("the report's notes: %q\nthe catalog's: %q", r.Notes, s.Header().Notes)
	}
	i := slices.IndexFunc(r.Sources, func(h crawl.Health) bool { return h.Source == "bookworm" })
	if len(r.Sources[i].Notes) != 1 {
		t.Errorf("the source's notes: %q", r.Sources[i].Notes)
	}
	w.p.Close()
	for i := range w.cfg.Archives {
		w.cfg.Archives[i].Release = "debian-12"
	}
	w.open()
	r = w.once()
	s, _ = w.shard("debian-12-amd64")
	if told(r.Notes) || told(s.Header().Notes) || r.Version != 2 {
		t.Errorf("version %d, notes: %q", r.Version, r.Notes)
	}
	if p := w.patch("debian-12-amd64", ssl2); p.Classification != patch.Security {
		t.Errorf("%+v", p)
	}
	if names := w.targets(); slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "debian-bookworm-amd64.shard") }) {
		t.Errorf("targets: %q", names)
	}
}
