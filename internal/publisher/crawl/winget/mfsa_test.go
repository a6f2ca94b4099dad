package winget

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

const bulletin = `## mfsa2026-57.yml
announced: June 16, 2026
impact: high
fixed_in:
- Firefox 152
- Firefox ESR 140.12
- Firefox for iOS 152.0
title: Security Vulnerabilities fixed in Firefox 152
advisories:
  CVE-2026-12289:
    title: 'Privilege escalation'
    impact: high
  CVE-2026-12300:
    title: Memory safety bug
    impact: moderate
`

func mozillaNames() []cveName {
	return []cveName{{"Mozilla.Firefox", "mozilla", "Mozilla", "Firefox"}, {"Mozilla.Firefox.ESR", "mozilla", "Mozilla", "Firefox ESR"}, {"Google.Chrome", "Chrome", "Google", "Chrome"}}
}

func ranges(all []flaw) []string {
	var out []string
	for _, f := range all {
		out = append(out, f.CVE+" "+f.Identifier+" "+f.From+"-"+f.Before)
	}
	slices.Sort(out)
	return out
}

// TestMFSA: Mozilla's word on a product is taken by its exact name, a long-term
// release's for its own branch.
func TestMFSA(t *testing.T) {
	got, err := parseMFSA("mfsa2026-57.yml", []byte(bulletin), mozillaNames())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"CVE-2026-12289 Mozilla.Firefox -152", "CVE-2026-12289 Mozilla.Firefox.ESR 140-140.12",
		"CVE-2026-12300 Mozilla.Firefox -152", "CVE-2026-12300 Mozilla.Firefox.ESR 140-140.12",
	}
	if !slices.Equal(ranges(got), want) {
		t.Errorf("%q", ranges(got))
	}
	p := patch.Patch{Product: "Mozilla.Firefox", Version: "153.0.4", Classification: patch.Application}
	into := map[string]patch.Advisory{}
	records := flaws{{CVE: "CVE-2026-12289", Identifier: "Mozilla.Firefox", Before: "151"}, {CVE: "CVE-2025-1", Identifier: "Mozilla.Firefox", Before: "140"}}
	firsthand(got, records).enter(&p, release{version: Version{Version: "153.0.4"}}, "151.0", into)
	a := into["MFSA2026-57"]
	if len(p.CVEs) != 3 || !slices.Equal(p.Advisories, []string{"MFSA2026-57", "CVE-2025-1:Mozilla.Firefox"}) || p.Classification != patch.Security {
		t.Errorf("%+v", p)
	}
	if !slices.Equal(a.CVEs, []string{"CVE-2026-12289", "CVE-2026-12300"}) || a.Severity != patch.Important || a.Published.Format("2006-01-02") != "2026-06-16" ||
		a.Description != "MFSA2026-57 of Mozilla names Firefox 152 as the first fixed version." || a.References[0] != "https://www.mozilla.org/security/advisories/mfsa2026-57/" {
		t.Errorf("%+v", a)
	}
	if c := p.CVEs[0]; c.ID != "CVE-2026-12289" || c.FixedIn != "152" {
		t.Errorf("the record counts before the maker's bulletin: %+v", p.CVEs)
	}
}

// TestMFSABranches: one name with two first fixed versions says nothing exact.
func TestMFSABranches(t *testing.T) {
	one, _ := parseMFSA("mfsa2026-1.yml", []byte(bulletin), mozillaNames())
	two, _ := parseMFSA("mfsa2026-2.yml", []byte(strings.NewReplacer("Firefox 152", "Firefox 151.1", "ESR 140.12", "ESR 115.37").Replace(bulletin)), mozillaNames())
	got := ranges(unambiguous(append(one, two...)))
	want := []string{
		"CVE-2026-12289 Mozilla.Firefox.ESR 115-115.37", "CVE-2026-12289 Mozilla.Firefox.ESR 140-140.12",
		"CVE-2026-12300 Mozilla.Firefox.ESR 115-115.37", "CVE-2026-12300 Mozilla.Firefox.ESR 140-140.12",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func mfsaTar(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: "announce/2026/" + name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMFSAForms(t *testing.T) {
	files := map[string]string{"mfsa2026-57.yml": bulletin, "README.md": "x"}
	for name, data := range map[string][]byte{"tar": mfsaTar(t, files), "tar.zst": zstded(mfsaTar(t, files)), "tar.gz": gzipped(t, mfsaTar(t, files))} {
		if got, n, err := readMFSA(t.Context(), bytes.NewReader(data), mozillaNames()); err != nil || n != 1 || len(got) != 4 {
			t.Errorf("%s: %d of %d, %v", name, len(got), n, err)
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "announce", "2026"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "announce", "2026", "mfsa2026-57.yml"), []byte(bulletin), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, n, err := folderMFSA(t.Context(), dir, mozillaNames()); err != nil || n != 1 || len(got) != 4 {
		t.Errorf("a folder: %d of %d, %v", len(got), n, err)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "a page": []byte("<html>"), "no advisory": mfsaTar(t, map[string]string{"README.md": "x"}), "cut": mfsaTar(t, files)[:700],
		"another form": mfsaTar(t, map[string]string{"mfsa2026-1.yml": "fixed_in: 7"}), "aliases": mfsaTar(t, map[string]string{"mfsa2026-1.yml": "fixed_in: &a [x]\nb: *a"}),
	} {
		if _, n, err := readMFSA(t.Context(), bytes.NewReader(data), mozillaNames()); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func FuzzReadMFSA(f *testing.F) {
	f.Add([]byte(bulletin))
	f.Add([]byte("fixed_in: [Firefox 1]\nadvisories: {CVE-2026-1: {impact: low}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > MaxManifest {
			return
		}
		got, err := parseMFSA("mfsa2026-1.yml", data, mozillaNames())
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("an error that is no refusal: %v", err)
		}
		for _, x := range got {
			if x.Before == "" || !cveID.MatchString(x.CVE) {
				t.Errorf("%+v", x)
			}
		}
		if _, _, err := readMFSA(context.Background(), bytes.NewReader(data), mozillaNames()); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("an error that is no refusal: %v", err)
		}
	})
}
