package aptget_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/aptget"
	"github.com/fettlehq/fettle/internal/fault"
)

const fpr = "0123456789ABCDEF0123456789ABCDEF01234567"

func TestParseList(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     []aptget.Source
	}{
		{"empty", "# nothing\n\n", nil},
		{
			"plain", "\n deb http://archive.example/debian bookworm main contrib # remark\n",
			[]aptget.Source{{Type: "deb", URI: "http://archive.example/debian", Suite: "bookworm", Components: []string{"main", "contrib"}, Entry: "f:2"}},
		},
		{
			"options", "deb [ arch=amd64,i386 signed-by=/k/a.gpg,/k/b.asc trusted=yes by-hash=no ] http://archive.example/d s main",
			[]aptget.Source{{Type: "deb", URI: "http://archive.example/d", Suite: "s", Components: []string{"main"}, Architectures: []string{"amd64", "i386"}, SignedBy: aptget.SignedBy{Keyrings: []string{"/k/a.gpg", "/k/b.asc"}}, Trusted: "yes", Entry: "f:1"}},
		},
		{
			"fingerprints, no blanks in the brackets", "deb-src [signed-by=" + strings.ToLower(fpr) + "," + fpr + "!]\thttp://archive.example/d\ts\tmain",
			[]aptget.Source{{Type: "deb-src", URI: "http://archive.example/d", Suite: "s", Components: []string{"main"}, SignedBy: aptget.SignedBy{Fingerprints: []string{fpr, fpr + "!"}}, Entry: "f:1"}},
		},
		{"flat", "deb file:/srv/repo ./", []aptget.Source{{Type: "deb", URI: "file:/srv/repo", Suite: "./", Components: []string{}, Entry: "f:1"}}},
		{
			"cdrom and quotes", `deb cdrom:[Debian GNU/Linux 12]/ "s" ma%69n`,
			[]aptget.Source{{Type: "deb", URI: "cdrom:[Debian GNU/Linux 12]/", Suite: "s", Components: []string{"main"}, Entry: "f:1"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := aptget.ParseList("f", []byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	for name, in := range map[string]string{
		"type": "rpm http://a s main", "no suite": "deb http://a", "no bracket": "deb [arch=a http://a s main", "not a URI": "deb /a s main", "no component": "deb http://a s",
		"path with component": "deb http://a s/ main", "option": "deb [trusted] http://a s main", "key": "deb [signed-by=k.gpg] http://a s main", "quote": `deb http://a "s main`, "html": "<html>",
	} {
		if _, err := aptget.ParseList("f", []byte("\n"+in+"\n")); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "f line 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseSources(t *testing.T) {
	in := `# first
Types: deb deb-src
URIs: http://archive.example/a
# between
 http://archive.example/b
Suites: one two
Components: main
Architectures: amd64
Signed-By: /k/a.gpg

Enabled: No
Types: deb
URIs: http://archive.example/off
Suites: s
Components: main

Types: deb
URIs: http://archive.example/c
Suites: ./
Trusted: no
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDME
 -----END PGP PUBLIC KEY BLOCK-----
`
	base := aptget.Source{Components: []string{"main"}, Architectures: []string{"amd64"}, SignedBy: aptget.SignedBy{Keyrings: []string{"/k/a.gpg"}}, Entry: "f:1"}
	var want []aptget.Source
	for _, typ := range []string{"deb", "deb-src"} {
		for _, uri := range []string{"http://archive.example/a", "http://archive.example/b"} {
			for _, suite := range []string{"one", "two"} {
				s := base
				s.Type, s.URI, s.Suite = typ, uri, suite
				want = append(want, s)
			}
		}
	}
	want = append(want, aptget.Source{
		Type: "deb", URI: "http://archive.example/c", Suite: "./", Trusted: "no", Entry: "f:3", Components: []string{}, Architectures: []string{},
		SignedBy: aptget.SignedBy{Armored: "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n"},
	})
	got, err := aptget.ParseSources("f", []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for name, bad := range map[string]string{
		"no types": "URIs: http://a\nSuites: s\nComponents: m\n", "no uris": "Types: deb\nSuites: s\nComponents: m\n", "type": "Types: rpm\nURIs: http://a\nSuites: s\nComponents: m\n",
		"component": "Types: deb\nURIs: http://a\nSuites: s\n", "html": "<html>\n", "key": "Types: deb\nURIs: http://a\nSuites: s\nComponents: m\nSigned-By: x.gpg\n",
	} {
		if _, err := aptget.ParseSources("f", []byte(bad)); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "f") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenIndexUnpacks(t *testing.T) {
	dir := t.TempDir()
	plain := bytes.Repeat([]byte("Package: a\nVersion: 1\n\n"), 5000)
	base := filepath.Join(dir, "archive.example_dists_s_main_binary-amd64_Packages")
	if err := os.WriteFile(base, plain, 0o600); err != nil {
		t.Fatal(err)
	}
	for ext, tool := range map[string]string{".lz4": "lz4", ".zst": "zstd", ".xz": "xz", ".bz2": "bzip2", ".gz": "gzip"} {
		out, err := exec.Command(tool, "-c", base).Output()
		if err != nil {
			t.Fatalf("%s is needed: %v", tool, err)
		}
		if err := os.WriteFile(base+ext, out, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, ext := range []string{"", ".lz4", ".zst", ".xz", ".bz2", ".gz"} {
		f, err := aptget.OpenIndex(base + ext)
		if err != nil {
			t.Fatal(ext, err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", ext, len(got), err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(base+".gz", buf.Bytes()[:buf.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := aptget.OpenIndex(base + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.ReadAll(f); err == nil {
		t.Error("a cut index was read without an error")
	}
	if _, err := aptget.OpenIndex(filepath.Join(dir, "none")); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if err := os.WriteFile(base+".rar", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := aptget.OpenIndex(base + ".rar"); !fault.Is(err, fault.Unsupported) {
		t.Error(err)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("deb [ arch=amd64 signed-by=/k ] http://archive.example/d s main # x\n"))
	f.Add([]byte(`deb cdrom:[Debian 12]/ "a b" %20 c`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := aptget.ParseList("f", data)
		checkSources(t, got, err)
	})
}

func FuzzParseSources(f *testing.F) {
	f.Add([]byte("Types: deb\nURIs: http://archive.example/d\nSuites: s\nComponents: main\nSigned-By: /k\n"))
	f.Add([]byte("Types: deb\nEnabled: no\nURIs: a:b\nSuites: ./\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := aptget.ParseSources("f", data)
		checkSources(t, got, err)
	})
}

func checkSources(t *testing.T, got []aptget.Source, err error) {
	if err != nil && (!fault.Is(err, fault.Invalid) || got != nil) {
		t.Fatalf("%v with %d sources", err, len(got))
	}
	for _, s := range got {
		if s.Type != "deb" && s.Type != "deb-src" || !strings.Contains(s.URI, ":") || strings.HasSuffix(s.Suite, "/") != (len(s.Components) == 0) || !strings.HasPrefix(s.Entry, "f:") {
			t.Fatalf("%+v", s)
		}
	}
}
