//go:build !windows

// What is the same everywhere is tested where Go can remove its temporary
// folders: Wine 8 lacks the call.

package winpkg

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/authentic/authenticode"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

func TestFileName(t *testing.T) {
	for _, tc := range []struct{ vendor, ext, want string }{
		{"LabApp-1.1.0.msi", ".msi", "LabApp-1.1.0.msi"},
		{"https://archive.example/a/LabApp.MSI?token=1", ".msi", "LabApp.msi"},
		{"setup", ".exe", "setup.exe"},
		{`..\..\evil name;&.exe`, ".exe", "evil_name.exe"},
		{"../", ".exe", "setup.exe"},
		{"CON.exe", ".exe", "setup-CON.exe"},
		{"com1.tar.exe", ".exe", "setup-com1.tar.exe"},
		{"wsusscn2.cab", "", "wsusscn2.cab"},
		{strings.Repeat("x", 300), ".msi", strings.Repeat("x", 96) + ".msi"},
		{"", ".msi", "setup.msi"},
	} {
		if got := fileName(tc.vendor, tc.ext); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.vendor, got, tc.want)
		}
	}
}

// FuzzFileName: whatever a vendor calls its file, the name is one that every
// part of Windows takes, in the folder that it is put into.
func FuzzFileName(f *testing.F) {
	for _, s := range []string{"LabApp-1.1.0.msi", "../x", `a\b:c`, "NUL", "con.msi", ".", "..", "a.", "ä.msi", "lpt9.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, vendor string) {
		got := fileName(vendor, ".msi")
		stem, _, _ := strings.Cut(strings.ToLower(got), ".")
		if !strings.HasSuffix(got, ".msi") || len(got) > maxFileName+10 || strings.Trim(got, "._-+ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "" || stem == "" || reserved(stem) || got[0] == '.' {
			t.Errorf("%q: %q", vendor, got)
		}
	})
}

// TestCheck: the hash comes first, and without a word on who must have signed
// nothing is accepted. Signatures themselves are tried in package authenticode
// and on real installers under Wine.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.exe")
	if err := os.WriteFile(path, []byte("MZ unsigned"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("MZ unsigned"))
	good := patch.Payload{SHA256: hex.EncodeToString(sum[:]), Size: 11, Signer: "Acme"}
	other, longer, unnamed := good, good, good
	other.SHA256, longer.Size, unnamed.Signer = strings.Repeat("0", 64), 12, ""
	for name, tc := range map[string]struct {
		p    patch.Payload
		want string
	}{
		"another hash": {other, "are signed for"}, "another size": {longer, "are signed for"},
		"no signer": {unnamed, "nothing says who must have signed"}, "no roots": {good, "nothing says who must have signed"},
	} {
		f, err := openLocked(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(f, tc.p, authenticode.Trust{}, time.Now()); !fault.Is(err, fault.Untrusted) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
