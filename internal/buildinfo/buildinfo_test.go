package buildinfo

import (
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFill(t *testing.T) {
	recorded := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}, {Key: "vcs.time", Value: "2026-11-21T10:00:00Z"},
	}}
	for _, tc := range []struct {
		name     string
		linker   Info
		recorded *debug.BuildInfo
		want     Info
		text     string
	}{
		{"recorded", Info{}, recorded, Info{Version: "1.2.3", Commit: "0123456789abcdef+dirty", Date: "2026-11-21T10:00:00Z"}, "1.2.3 (0123456789ab+dirty, 2026-11-21T10:00:00Z,  )"},
		{"the linker wins", Info{Version: "2", Commit: "c", Date: "d"}, recorded, Info{Version: "2", Commit: "c", Date: "d"}, "2 (c, d,  )"},
		{"nothing known", Info{}, &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, Info{}, " ( )"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.linker
			got.fill(tc.recorded)
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			if got.String() != tc.text {
				t.Errorf("String() = %q, want %q", got.String(), tc.text)
			}
		})
	}
}

// TestLinkerFlags builds a program with the flags of the package comment and runs it.
func TestLinkerFlags(t *testing.T) {
	dir := t.TempDir()
	exe := filepath.Join(dir, "prog")
	const x = "-X github.com/fettlehq/fettle/internal/buildinfo."
	build := exec.Command("go", "build", "-ldflags", x+"version=9.8.7 "+x+"commit=abcdef "+x+"date=2026-11-21", "-o", exe, "./testdata/prog")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(exe).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(out), "9.8.7 (abcdef, 2026-11-21, go1") || !strings.Contains(string(out), "x/9.8.7 (+https://") {
		t.Errorf("got %s", out)
	}
}
