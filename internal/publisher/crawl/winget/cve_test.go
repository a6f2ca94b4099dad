package winget

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// cve is a record of CVE JSON 5.
func cve(id, cna, affected string) string {
	return fmt.Sprintf(`{"dataType":"CVE_RECORD","cveMetadata":{"cveId":%q,"state":"PUBLISHED","assignerShortName":%q,"datePublished":"2024-02-20T01:02:03.456Z"},
	"containers":{"cna":{"title":"A flaw","descriptions":[{"lang":"en","value":"Something   is wrong."}],"affected":[%s],"references":[{"url":"https://maker.example/1"},{"url":"javascript:x"}]}}}`, id, cna, affected)
}

func chrome(versions string) string {
	return `{"vendor":"Google","product":"Chrome","versions":[` + versions + `]}`
}

const before122 = `{"version":"122.0.6261.57","status":"affected","lessThan":"122.0.6261.57","versionType":"custom"}`

func testNames() []cveName { return []cveName{{"Google.Chrome", "Chrome", "Google", "Chrome"}} }

// TestRecordsMatchExactly: only the maker's own record, by exact names, with a
// range that compares.
func TestRecordsMatchExactly(t *testing.T) {
	for name, c := range map[string]struct {
		record string
		want   string // "from-before"
	}{
		"before a version":    {cve("CVE-2024-1675", "Chrome", chrome(before122)), "-122.0.6261.57"},
		"from a version":      {cve("CVE-2024-1675", "Chrome", chrome(`{"version":"120.0","status":"affected","lessThan":"122.0"}`)), "120.0-122.0"},
		"unspecified":         {cve("CVE-2024-1675", "Chrome", chrome(`{"version":"unspecified","status":"affected","lessThan":"122"}`)), "-122"},
		"unaffected besides":  {cve("CVE-2024-1675", "Chrome", chrome(`{"version":"130","status":"unaffected"},`+before122)), "-122.0.6261.57"},
		"another assigner":    {cve("CVE-2024-1675", "VulDB", chrome(before122)), ""},
		"another vendor":      {cve("CVE-2024-1675", "Chrome", strings.Replace(chrome(before122), "Google", "google", 1)), ""},
		"another product":     {cve("CVE-2024-1675", "Chrome", strings.Replace(chrome(before122), `"Chrome"`, `"Chrome OS"`, 1)), ""},
		"another system":      {cve("CVE-2024-1675", "Chrome", strings.Replace(chrome(before122), `"versions"`, `"platforms":["macOS"],"versions"`, 1)), ""},
		"windows too":         {cve("CVE-2024-1675", "Chrome", strings.Replace(chrome(before122), `"versions"`, `"platforms":["macOS","Windows"],"versions"`, 1)), "-122.0.6261.57"},
		"last affected alone": {cve("CVE-2024-1675", "Chrome", chrome(`{"version":"0","status":"affected","lessThanOrEqual":"122"}`)), ""},
		"one version":         {cve("CVE-2024-1675", "Chrome", chrome(`{"version":"122","status":"affected"}`)), ""},
		"words":               {cve("CVE-2024-1675", "Chrome", chrome(`{"version":"before 122","status":"affected","lessThan":"see notes"}`)), ""},
		"branches":            {cve("CVE-2024-1675", "Chrome", chrome(before122+`,{"version":"0","status":"affected","lessThan":"121.5"}`)), ""},
		"turned around":       {cve("CVE-2024-1675", "Chrome", chrome(`{"version":"123","status":"affected","lessThan":"122"}`)), ""},
		"with changes":        {cve("CVE-2024-1675", "Chrome", chrome(`{"version":"0","status":"affected","lessThan":"122","changes":[{"at":"121","status":"unaffected"}]}`)), ""},
		"rejected":            {strings.Replace(cve("CVE-2024-1675", "Chrome", chrome(before122)), "PUBLISHED", "REJECTED", 1), ""},
		"no id":               {cve("CVE-24", "Chrome", chrome(before122)), ""},
	} {
		got, n, err := readRecords(t.Context(), strings.NewReader(c.record), testNames())
		if err != nil || n != 1 {
			t.Fatal(name, n, err)
		}
		text := ""
		for _, f := range got {
			text += f.From + "-" + f.Before
		}
		if text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}

func tarred(t testing.TB, records ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, r := range records {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("2024/%d.json", i), Mode: 0o644, Size: int64(len(r)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRecordForms(t *testing.T) {
	a, b := cve("CVE-2024-1675", "Chrome", chrome(before122)), cve("CVE-2024-0001", "other", "")
	for name, data := range map[string][]byte{
		"one after the other": []byte(a + "\n" + b), "tar": tarred(t, a, b), "tar.zst": zstded(tarred(t, a, b)), "json.gz": gzipped(t, []byte(a+b)),
	} {
		got, n, err := readRecords(t.Context(), bytes.NewReader(data), testNames())
		if err != nil || n != 2 || len(got) != 1 || got[0].Text != "Something is wrong." || !slices.Equal(got[0].References, []string{"https://maker.example/1"}) {
			t.Errorf("%s: %+v, %d, %v", name, got, n, err)
		}
	}
	for name, data := range map[string][]byte{"nothing": nil, "a page": []byte("<html>"), "cut": []byte(a[:80]), "cut tar": tarred(t, a)[:700], "a list": []byte("[1]")} {
		if _, n, err := readRecords(t.Context(), bytes.NewReader(data), testNames()); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// TestFlawsEnter: a version fixes what is fixed at or below it; it is a security
// patch when the version before it had something that it fixes; the bulletin
// shows what it stands on.
func TestFlawsEnter(t *testing.T) {
	fs := flaws{
		{CVE: "CVE-2024-0001", Identifier: "Maker.Tool", CNA: "maker", Vendor: "Maker", Product: "Tool", Before: "1.5"},
		{CVE: "CVE-2024-0002", Identifier: "maker.tool", CNA: "maker", Vendor: "Maker", Product: "Tool", Before: "3.0", From: "2.0", Text: "Bad."},
		{CVE: "CVE-2024-0003", Identifier: "Other.Tool", Before: "1.0"},
	}
	for _, c := range []struct {
		version, before string
		want            []patch.CVEFix
		class           patch.Classification
	}{
		{"1.0", "", nil, patch.Application},
		{"2.0", "1.0", []patch.CVEFix{{ID: "CVE-2024-0001", FixedIn: "1.5"}}, patch.Security},
		{"2.1", "2.0", []patch.CVEFix{{ID: "CVE-2024-0001", FixedIn: "1.5"}}, patch.Application},
		{"3.0", "", []patch.CVEFix{{ID: "CVE-2024-0001", FixedIn: "1.5"}, {ID: "CVE-2024-0002", FixedIn: "3.0", From: "2.0"}}, patch.Security},
	} {
		p := patch.Patch{Product: "Maker.Tool", Version: c.version, Classification: patch.Application}
		into := map[string]patch.Advisory{}
		fs.enter(&p, release{version: Version{Version: c.version}}, c.before, into)
		if diff := cmp.Diff(c.want, p.CVEs); diff != "" || p.Classification != c.class || len(into) != len(c.want) {
			t.Errorf("%s: %s, %s", c.version, p.Classification, diff)
		}
		if a, ok := into["CVE-2024-0002:maker.tool"]; ok && !strings.HasPrefix(a.Description, "CVE record CVE-2024-0002, assigned by maker (the maker itself), names Maker Tool: versions from 2.0 before 3.0 are affected. Bad.") {
			t.Errorf("the bulletin says %q", a.Description)
		}
	}
	p := patch.Patch{Product: "Maker.Tool", Version: "3.0"}
	fs.enter(&p, release{version: Version{Version: "3.0"}, installer: Installer{Entries: []AppsFeatures{{DisplayVersion: "3.0.150.0"}}}}, "", map[string]patch.Advisory{})
	if len(p.CVEs) > 0 {
		t.Error("a product that shows another version than its package has got CVEs")
	}
}

func TestNamesOf(t *testing.T) {
	f, err := newFollow([]string{"Mozilla.**", "Maker.**"})
	if err != nil {
		t.Fatal(err)
	}
	got := namesOf(f, []string{"Google.Chrome", "Maker.Tool", "Mozilla.Firefox.ESR", "Mozilla.Firefox.de", "Mozilla.VPN"})
	want := []cveName{{"Mozilla.Firefox.ESR", "mozilla", "Mozilla", "Firefox ESR"}, {"Mozilla.Firefox.de", "mozilla", "Mozilla", "Firefox"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzReadRecords(f *testing.F) {
	f.Add([]byte(cve("CVE-2024-1675", "Chrome", chrome(before122))))
	f.Add(tarred(f, cve("CVE-2024-1675", "Chrome", chrome(before122))))
	f.Add(zstded([]byte(cve("CVE-2024-1675", "Chrome", ""))))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, _, err := readRecords(context.Background(), bytes.NewReader(data), testNames())
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("an error that is no refusal: %v", err)
		}
		for _, x := range got {
			if x.Before == "" || x.CNA != "Chrome" {
				t.Errorf("%+v", x)
			}
		}
	})
}
