//go:build !race

package sdp

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// realCatalog are HP's real packages as files, and Dell's.
func realCatalog(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range feedtest.Packages(t) {
		b, err := io.ReadAll(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRealPackages publishes every real package with its rules, from a cabinet
// as vendors offer them, and compares the counts with docs/microsoft.md.
func TestRealPackages(t *testing.T) {
	dir := realCatalog(t)
	cab := filepath.Join(t.TempDir(), "hp.cab")
	names, err := filepath.Glob(filepath.Join(dir, "*.sdp"))
	if err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command("gcab", append([]string{"-c", "-z", "-n", cab}, names...)...).CombinedOutput(); err != nil {
		t.Fatalf("gcab: %v %s", err, said)
	}
	dell, err := filepath.Glob(filepath.Join(feedtest.Path(t, "wsus-sdp/dell"), "*.sdp"))
	if err != nil || len(dell) != 1 {
		t.Fatal(dell, err)
	}
	packages, commands, noCommand, shells, runnable := 0, 0, 0, 0, 0
	byPlatform := map[string]int{}
	for name, location := range map[string]string{"hp": cab, "dell": dell[0]} {
		s, to := feedtest.Source(t, New, Config{Name: name, Location: location})
		got, err := s.Fetch(t.Context(), to, nil)
		if err != nil || !got.Changed {
			t.Fatal(err)
		}
		out, err := s.Parse(t.Context(), to, got.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Rejected {
			t.Errorf("%s is refused: %s", r.What, r.Reason)
		}
		packages += len(out.Advisories)
		contents := map[string]*catalog.Contents{}
		for _, p := range out.Patches {
			byPlatform[p.Platform]++
			check(t, p)
			if p.Platform == "windows-apps-amd64" {
				switch stray := p.Install.Stray(); {
				case len(p.Install.Argv) == 0:
					noCommand++
				case strings.Contains(stray, `has another program run: "cmd.exe"`):
					commands++
					shells++
				case stray == "":
					commands++
					runnable++
				default:
					t.Errorf("%s: its manifest %s", p.ID, stray)
				}
			}
			c := contents[p.Platform]
			if c == nil {
				c = &catalog.Contents{Header: catalog.Header{Format: catalog.Format, Platform: p.Platform}, Advisories: out.Advisories}
				contents[p.Platform] = c
			}
			c.Patches = append(c.Patches, p)
		}
		for platform, c := range contents {
			if merged, err := catalog.Merge(*c); err != nil || len(merged.Header.Notes) > 0 || len(merged.Patches) != len(c.Patches) {
				t.Errorf("%s: %v, %v", platform, err, merged.Header.Notes)
			}
		}
	}
	t.Log(packages, byPlatform, commands, noCommand, shells, runnable)
	text, err := os.ReadFile("../../../../../../docs/microsoft.md")
	if err != nil {
		t.Fatal(err)
	}
	for label, n := range map[string]int{
		"software distribution packages, all published with their rules": packages,
		"of these, for 64-bit machines":                                  byPlatform["windows-apps-amd64"],
		"of these, for 32-bit machines":                                  byPlatform["windows-apps-386"],
		"of these, with a command to install them":                       commands,
		"of these, whose command runs cmd.exe (never installed from)":    shells,
		"of these, whose command is run if the installer is proven":      runnable,
	} {
		s := strconv.Itoa(n)
		if n > 999 {
			s = s[:len(s)-3] + "," + s[len(s)-3:]
		}
		if row := "| " + label + " | " + s + " |\n"; !strings.Contains(string(text), row) {
			t.Errorf("docs/microsoft.md lacks %q", row)
		}
	}
}

// check holds one real patch against what all have.
func check(t *testing.T, p patch.Patch) {
	t.Helper()
	a, i := p.Rules()
	if err := errors.Join(a.Validate(), i.Validate()); err != nil {
		t.Errorf("%s: %v", p.ID, err)
	}
	if p.Title == "" || p.Version == "" || p.Product == "" || p.Released.IsZero() || len(p.Advisories) != 1 || len(p.Items) != 1 {
		t.Errorf("%s: %+v", p.ID, p)
		return
	}
	pay := p.Items[0].Payload
	if !strings.HasPrefix(pay.Digest, "sha1:") || len(pay.Digest) != 45 || pay.Size <= 0 || pay.URL == "" || pay.SHA256 != "" {
		t.Errorf("%s: %+v", p.ID, pay)
	}
	if p.Install.Kind == "exe" && len(p.Install.Argv) > 0 && p.Install.Argv[0] != "{payload}" {
		t.Errorf("%s: %q", p.ID, p.Install.Argv)
	}
}
