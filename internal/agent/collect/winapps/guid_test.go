package winapps

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// packed is the inverse of unpacked.
func packed(guid string) (string, bool) {
	if !isGUID(guid) {
		return "", false
	}
	return swap(strings.ToUpper(strings.NewReplacer("{", "", "}", "", "-", "").Replace(guid))), true
}

// TestPacked: the pairs are what the Windows Installer has written.
func TestPacked(t *testing.T) {
	for guid, want := range map[string]string{
		"{2FEE1475-E9F3-4D75-BBA7-25BB6D6E80FF}": "5741EEF23F9E57D4BB7A52BBD6E608FF",
		"{7b8a5b1e-9e3a-4b0b-9b5c-0a1b2c3d4e5f}": "E1B5A8B7A3E9B0B4B9C5A0B1C2D3E4F5",
		"{90160000-008C-0000-1000-0000000FF1CE}": "00006109C80000000100000000F01FEC", // Office 2016
	} {
		if got, ok := packed(guid); !ok || got != want {
			t.Errorf("%s packs to %s, want %s", guid, got, want)
		}
		if got, ok := unpacked(strings.ToLower(want)); !ok || got != strings.ToUpper(guid) {
			t.Errorf("%s unpacks to %s, want %s", want, got, guid)
		}
	}
	for _, no := range []string{"", "{}", "2FEE1475-E9F3-4D75-BBA7-25BB6D6E80FF", "{2FEE1475-E9F3-4D75-BBA7-25BB6D6E80F}", "{2FEE1475-E9F3-4D75-BBA7-25BB6D6E80FG}", "{2FEE1475xE9F3-4D75-BBA7-25BB6D6E80FF}", "{-FEE1475-E9F3-4D75-BBA7-25BB6D6E80FF}"} {
		if got, ok := packed(no); ok {
			t.Errorf("%q packs to %s", no, got)
		}
	}
	for _, no := range []string{"", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("x", 32)} {
		if got, ok := unpacked(no); ok {
			t.Errorf("%q unpacks to %s", no, got)
		}
	}
}

func TestPackedBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[0-9A-F]{32}`).Draw(t, "packed")
		guid, ok := unpacked(p)
		if !ok || !isGUID(guid) {
			t.Fatalf("%s unpacks to %s", p, guid)
		}
		if again, ok := packed(guid); !ok || again != p {
			t.Fatalf("%s became %s", p, again)
		}
	})
}
