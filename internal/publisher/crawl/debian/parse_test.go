package debian_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian"
)

const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func stanza(lines ...string) string {
	all := map[string]string{
		"Package": "tool", "Version": "1.0-1", "Architecture": "amd64", "Filename": "pool/t/tool_1.0-1_amd64.deb", "Size": "10", "SHA256": hash,
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		all[name] = value
	}
	var b strings.Builder
	for _, name := range []string{"Package", "Source", "Version", "Architecture", "Filename", "Size", "SHA256", "Phased-Update-Percentage"} {
		if all[name] != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, all[name])
		}
	}
	return b.String() + "\n"
}

func TestParsePackages(t *testing.T) {
	for _, c := range []struct {
		text   string
		want   debian.Package
		reason string
	}{
		{text: stanza(), want: debian.Package{Name: "tool", Source: "tool", Version: "1.0-1", SourceVersion: "1.0-1"}},
		{text: stanza("Source: src"), want: debian.Package{Name: "tool", Source: "src", Version: "1.0-1", SourceVersion: "1.0-1"}},
		{text: stanza("Source: src (2:3.0-1)"), want: debian.Package{Name: "tool", Source: "src", Version: "1.0-1", SourceVersion: "2:3.0-1"}},
		{text: stanza("Phased-Update-Percentage: 30"), want: debian.Package{Name: "tool", Source: "tool", Version: "1.0-1", SourceVersion: "1.0-1", Phased: 30}},
		{text: stanza("SHA256: "), reason: "no SHA-256"},
		{text: stanza("SHA256: " + strings.ToUpper(hash)), reason: "no SHA-256"},
		{text: stanza("Size: -1"), reason: "no size"},
		{text: stanza("Filename: ../../etc/passwd"), reason: "plain path"},
		{text: stanza("Filename: /etc/passwd"), reason: "plain path"},
		{text: stanza("Filename: pool/a b.deb"), reason: "plain path"},
		{text: stanza("Package: -o=x"), reason: "name is malformed"},
		{text: stanza("Architecture: am/d64"), reason: "architecture"},
		{text: stanza("Version: "), reason: "version"},
		{text: stanza("Source: src (oops: no)"), reason: "version"},
	} {
		var got []debian.Package
		var rejected []crawl.Rejection
		err := debian.ParsePackages(strings.NewReader(c.text), func(p debian.Package) { got = append(got, p) }, func(r crawl.Rejection) { rejected = append(rejected, r) })
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if c.reason != "" {
			if len(got) != 0 || len(rejected) != 1 || !strings.Contains(rejected[0].Reason, c.reason) {
				t.Errorf("%s: got %v, rejected %v, want %q", c.text, got, rejected, c.reason)
			}
			continue
		}
		c.want.Arch, c.want.Filename, c.want.SHA256, c.want.Size = "amd64", "pool/t/tool_1.0-1_amd64.deb", hash, 10
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: got %+v, rejected %v", c.text, got, rejected)
		}
	}
}

func TestParseRelease(t *testing.T) {
	const head = "Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nVersion: 13\nCodename: trixie-security\n"
	const sums = "SHA256:\n " + hash + "  12 main/binary-amd64/Packages\n"
	date := time.Date(2026, 11, 21, 8, 7, 6, 0, time.UTC)
	for _, c := range []struct {
		text, reason string
	}{
		{text: head + "Date: Sat, 21 Nov 2026 08:07:06 UTC\n" + sums},
		{text: head + "Date: Sat, 21 Nov 2026  8:07:06 +0000\n" + sums},
		{text: head + "Date: yesterday\n" + sums, reason: "Date"},
		{text: head + sums, reason: "Date"},
		{text: head + "Date: Sat, 21 Nov 2026 08:07:06 UTC\nValid-Until: soon\n" + sums, reason: "Valid-Until"},
		{text: head + "Date: Sat, 21 Nov 2026 08:07:06 UTC\nMD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 x\n", reason: "no SHA-256"},
		{text: head + "Date: Sat, 21 Nov 2026 08:07:06 UTC\nSHA256:\n abc 1 x\n", reason: "malformed"},
		{text: head + "Date: Sat, 21 Nov 2026 08:07:06 UTC\nSHA256:\n " + hash + " x y\n", reason: "no number"},
		{text: "", reason: "empty"},
		{text: "no colon here", reason: "can't be read"},
	} {
		rel, err := debian.ParseRelease([]byte(c.text))
		if c.reason != "" {
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%q: %v, want %q", c.text, err, c.reason)
			}
			continue
		}
		if err != nil || !rel.Date.Equal(date) || !rel.IsSecurity() || rel.Files["main/binary-amd64/Packages"] != (debian.ReleaseFile{SHA256: hash, Size: 12}) {
			t.Errorf("%q: %+v, %v", c.text, rel, err)
		}
	}
}

func TestParseDSA(t *testing.T) {
	const text = "[03 Nov 2026] DSA-6001-2 tool - regression update\n\tNOTE: a word\n\t{CVE-2026-1 CVE-2026-12345 }\n\t[bookworm] - tool 1:2.0-1+deb12u1\n\t[trixie] - tool <not-affected>\n" +
		"[02 Nov 2026] DLA-77-1 other - security update\n\t[bullseye] - other 3.0 (bug #1)\n"
	out, err := debian.ParseDSA(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []patch.Advisory{
		{
			ID: "DSA-6001-2", Vendor: "debian", Title: "DSA-6001-2 tool - regression update", Severity: patch.Unknown, Published: time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC),
			CVEs: []string{"CVE-2026-12345"}, References: []string{"https://www.debian.org/security/dsa-6001-2"},
			Fixes: []patch.Fix{{Product: "tool", Release: "bookworm", Version: "1:2.0-1+deb12u1"}},
		},
		{
			ID: "DLA-77-1", Vendor: "debian", Title: "DLA-77-1 other - security update", Severity: patch.Unknown, Published: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC),
			Fixes: []patch.Fix{{Product: "other", Release: "bullseye", Version: "3.0"}},
		},
	}
	if diff := cmp.Diff(want, out.Advisories); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "hello", "<!DOCTYPE html><p>[03 Nov 2026] DSA-1-1 x - y"} {
		if _, err := debian.ParseDSA(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseTracker(t *testing.T) {
	const text = `{"tool":{"CVE-2026-12345":{"description":"d","releases":{
	  "bookworm":{"fixed_version":"2.0-1","urgency":"low**"},"trixie":{"fixed_version":"0","urgency":"high"},"sid":{"urgency":"end-of-life"}}},
	 "TEMP-0000000-AAAAAA":{"releases":{"bookworm":{"fixed_version":"1","urgency":"high"}}}}}`
	out, err := debian.ParseTracker(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]crawl.Fix{{CVE: "CVE-2026-12345", Vendor: "debian", Product: "tool", Release: "bookworm", FixedIn: "2.0-1", Severity: patch.Low}}, out.Fixes); diff != "" {
		t.Errorf("fixes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]patch.Vulnerability{{ID: "CVE-2026-12345", Description: "d", Severity: patch.Important}}, out.Vulnerabilities); diff != "" {
		t.Errorf("vulnerabilities (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "{}", "[]", text[:50], text[:len(text)-1], `{"a":1}`, "<html>"} {
		if _, err := debian.ParseTracker(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParsePackages(f *testing.F) {
	f.Add([]byte(stanza() + stanza("Package: b", "Source: c (1)")))
	f.Add([]byte("Package: x\n\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = debian.ParsePackages(bytes.NewReader(data), func(p debian.Package) {
			if p.Name == "" || strings.Contains(p.Filename, "..") && strings.Contains("/"+p.Filename+"/", "/../") || len(p.SHA256) != 64 || p.Size <= 0 {
				t.Errorf("a package that is none: %+v", p)
			}
		}, func(crawl.Rejection) {})
	})
}

func FuzzParseRelease(f *testing.F) {
	f.Add([]byte("Origin: Debian\nDate: Sat, 21 Nov 2026 08:07:06 UTC\nSHA256:\n " + hash + " 1 x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if rel, err := debian.ParseRelease(data); err == nil && (rel.Date.IsZero() || len(rel.Files) == 0) {
			t.Errorf("a Release file without date or files: %+v", rel)
		}
	})
}

func FuzzParseDSA(f *testing.F) {
	f.Add([]byte("[03 Nov 2026] DSA-6001-2 tool - regression update\n\t{CVE-2026-12345}\n\t[bookworm] - tool 1:2.0-1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := debian.ParseDSA(bytes.NewReader(data))
		if err == nil && len(out.Advisories) == 0 {
			t.Error("an empty list was taken")
		}
	})
}

func FuzzParseTracker(f *testing.F) {
	f.Add([]byte(`{"tool":{"CVE-2026-12345":{"releases":{"bookworm":{"fixed_version":"2.0-1","urgency":"low"}}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := debian.ParseTracker(bytes.NewReader(data))
		if err == nil && len(out.Vulnerabilities) == 0 {
			t.Error("an empty tracker was taken")
		}
		for _, x := range out.Fixes {
			if x.FixedIn == "" || x.FixedIn == "0" {
				t.Errorf("a fix without a version: %+v", x)
			}
		}
	})
}

// BenchmarkParsePackages reads an index of the size of Debian 12's main.
func BenchmarkParsePackages(b *testing.B) {
	var index bytes.Buffer
	filler := "Depends: " + strings.Repeat("libsomething (>= 1.0), ", 12) + "libc6\nDescription: " + strings.Repeat("x", 300) + "\n"
	for i := range 63440 {
		index.WriteString(strings.TrimSuffix(stanza(fmt.Sprintf("Package: tool%d", i), "Source: src"), "\n") + filler + "\n")
	}
	b.SetBytes(int64(index.Len()))
	for b.Loop() {
		n := 0
		if err := debian.ParsePackages(bytes.NewReader(index.Bytes()), func(debian.Package) { n++ }, func(crawl.Rejection) {}); err != nil || n != 63440 {
			b.Fatal(n, err)
		}
	}
}
