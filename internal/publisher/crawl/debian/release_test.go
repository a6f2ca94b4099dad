package debian_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/publisher/crawl/debian"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian/debtest"
)

// An archive whose Release file has no version is for machines that go by the
// code name, and is told of, until somebody knows the number.
func TestReleaseWithoutVersion(t *testing.T) {
	v := newVendor(t)
	v.suite.Version = ""
	v.Publish(t, v.suite)
	s := v.source(t)
	s.mustFetch()
	out := s.parse()
	if diff := cmp.Diff([]string{"debian-bookworm:amd64:tool:1.0-1"}, ids(out)); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
	if len(out.Notes) != 1 || !strings.Contains(out.Notes[0], "debian-bookworm") || !strings.Contains(out.Notes[0], "set release for this archive") {
		t.Errorf("notes: %q", out.Notes)
	}

	v.suite.Debs = []debtest.Deb{{Name: "tool", Version: "1.0-2", Arch: "amd64"}}
	v.suite.Date = v.suite.Date.Add(time.Minute)
	v.Publish(t, v.suite)
	s.mustFetch() // 1.0-1 is of a superseded snapshot now
	known := func(vendor, codename string) string {
		if vendor == "debian" && codename == "bookworm" {
			return "12"
		}
		return ""
	}
	opt := debian.Options{Now: func() time.Time { return v.now }, Names: known}
	a, err := debian.NewArchive(v.cfg, client(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	s.src = a
	if got := s.mustFetch(); !got.Changed {
		t.Error("that the number is known now is no change")
	}
	out = s.parse()
	if diff := cmp.Diff([]string{"debian-12:amd64:tool:1.0-1", "debian-12:amd64:tool:1.0-2"}, ids(out)); diff != "" || len(out.Notes) > 0 {
		t.Errorf("patches (-want +got):\n%s\nnotes: %q", diff, out.Notes)
	}

	// What the configuration says counts before.
	v.cfg.Release = "debian-bookworm"
	s = v.source(t)
	s.mustFetch()
	if out = s.parse(); len(out.Notes) > 0 || ids(out)[0] != "debian-bookworm:amd64:tool:1.0-2" {
		t.Errorf("%q, notes: %q", ids(out), out.Notes)
	}
}
