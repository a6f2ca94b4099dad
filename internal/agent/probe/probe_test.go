//go:build unix

package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
)

func TestRules(t *testing.T) {
	root := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "opt/app"), 0o755),
		os.WriteFile(filepath.Join(root, "opt/app/bin"), []byte("bytes"), 0o644),
		os.Symlink("bin", filepath.Join(root, "opt/app/link")),
		syscall.Mkfifo(filepath.Join(root, "opt/app/pipe"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	raw := sha256.Sum256([]byte("bytes"))
	sum := hex.EncodeToString(raw[:])
	snap := inventory.Snapshot{
		OS:       inventory.OS{Family: "linux", ID: "debian", Version: "12", Arch: "amd64"},
		Packages: []inventory.Package{{Kind: "dpkg", Name: "openssl", Arch: "amd64", Version: "3.0.15-1"}},
	}
	file := func(p string) detect.Rule { return detect.Rule{File: &detect.File{Path: p}} }
	hash := func(p, s string) detect.Rule {
		return detect.Rule{FileChecksum: &detect.FileChecksum{Path: p, SHA256: s}}
	}
	for name, tc := range map[string]struct {
		rule detect.Rule
		want detect.Value
		says string
	}{
		"present":         {file("/opt/app/bin"), detect.True, "present"},
		"link":            {file("/opt/app/link"), detect.True, "present"},
		"absent":          {file("/opt/app/none"), detect.False, "absent"},
		"through a file":  {file("/opt/app/bin/x"), detect.False, "absent"},
		"climbs":          {file("/../../../../../opt/app/bin"), detect.True, "present"},
		"windows path":    {file(`%ProgramFiles%\x`), detect.Undetermined, "not one of this kind"},
		"relative":        {file("opt/app/bin"), detect.Undetermined, "not one of this kind"},
		"checksum":        {hash("/opt/app/bin", strings.ToUpper(sum)), detect.True, sum},
		"other checksum":  {hash("/opt/app/bin", strings.Repeat("0", 64)), detect.False, sum},
		"checksum absent": {hash("/opt/none", sum), detect.False, "absent"},
		"checksum folder": {hash("/opt/app", sum), detect.Undetermined, "no regular file"},
		"checksum pipe":   {hash("/opt/app/pipe", sum), detect.Undetermined, "no regular file"},
		"version":         {detect.Rule{FileVersion: &detect.FileVersion{Path: "/opt/app/bin", Op: detect.GE, Version: "1"}}, detect.Undetermined, "carries no version"},
		"registry":        {detect.Rule{RegistryKey: &detect.RegistryKey{Key: `HKLM\X`}}, detect.Undetermined, "no registry"},
		"registry value":  {detect.Rule{RegistryValue: &detect.RegistryValue{Key: `HKLM\X`, Name: "v"}}, detect.Undetermined, "no registry"},
		"package":         {detect.Rule{Package: &detect.Package{Kind: "dpkg", Name: "openssl", Op: detect.LT, Version: "3.0.17"}}, detect.True, "3.0.15-1"},
		"os":              {detect.Rule{OSBuild: &detect.OSBuild{Family: "linux", Product: "debian", Op: detect.GE, Build: "12"}}, detect.True, "12"},
		"architecture":    {detect.Rule{Architecture: &detect.Architecture{Any: []string{"arm64"}}}, detect.False, "amd64"},
	} {
		t.Run(name, func(t *testing.T) {
			v := detect.Eval(tc.rule, New(context.Background(), root, &snap))
			if v.Value != tc.want || len(v.Evidence) != 1 || !strings.Contains(v.Evidence[0].Found, tc.says) {
				t.Errorf("%s %+v", v.Value, v.Evidence)
			}
		})
	}
}

func TestStops(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := New(ctx, root, &inventory.Snapshot{}).Checksum("/f"); err == nil {
		t.Fatal("a stopped scan goes on hashing")
	}
	if _, err := New(ctx, root, &inventory.Snapshot{}).File("/f"); err == nil || !strings.Contains(err.Error(), "broken off") {
		t.Fatalf("a stopped scan goes on looking: %v", err)
	}
}

// TestLargeTogether: what is hashed in one scan is bounded, and no file is
// hashed twice.
func TestLargeTogether(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("bytes"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := New(context.Background(), root, &inventory.Snapshot{})
	f.hashed = maxChecksums - 9
	for path, ok := range map[string]bool{"/a": true, "/b": false} {
		for range 2 {
			if path == "/b" {
				_, _, _ = f.Checksum("/a") // comes before, and only the first time counts
			}
			if _, exists, err := f.Checksum(path); (err == nil) != ok || !exists || !ok && !strings.Contains(err.Error(), "4 GiB") {
				t.Errorf("%s: %v, %v", path, exists, err)
			}
		}
	}
}

// TestLarge: a sparse file beyond the bound is not read.
func TestLarge(t *testing.T) {
	root := t.TempDir()
	f, err := os.Create(filepath.Join(root, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxChecksum + 1); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, exists, err := New(context.Background(), root, &inventory.Snapshot{}).Checksum("/f")
	if err == nil || !exists || !strings.Contains(err.Error(), "larger") {
		t.Fatalf("exists %v, %v", exists, err)
	}
}
