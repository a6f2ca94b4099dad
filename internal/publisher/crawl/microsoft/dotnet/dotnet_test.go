package dotnet

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// TestNoWayBack: nothing of these patches stands in Windows' list in the very
// version, so that a rollback refuses each by name instead of finding it nowhere.
func TestNoWayBack(t *testing.T) {
	out := output([]Channel{{Version: "8.0", Releases: []Release{{Version: "8.0.1", Products: []Product{{Kind: "runtime", Version: "8.0.1", RID: "win-x64", Name: "runtime.exe"}}}}}})
	if len(out.Patches) != 1 {
		t.Fatal(out.Patches)
	}
	p := out.Patches[0]
	if err := deploy.Reversible(p); !fault.Is(err, fault.Unsupported) || !strings.Contains(fault.Public(err), string(p.ID)+" can't be rolled back: it is recognised by its files alone") {
		t.Error(err)
	}
}

// TestReal publishes all releases of three channels and compares the counts
// with docs/microsoft.md.
func TestReal(t *testing.T) {
	s, dir := feedtest.Source(t, New, Config{Location: feedtest.Path(t, "dotnet")})
	got, out := feedtest.Refresh(t, s, dir, nil)
	if len(got.Notes) > 0 {
		t.Error(got.Notes)
	}
	channels, err := load(dir, s.Recall(got.Fingerprint))
	if err != nil {
		t.Fatal(err)
	}
	releases, previews, security := 0, 0, 0
	cves := map[string]bool{}
	for _, c := range channels {
		releases, previews = releases+len(c.Releases), previews+c.Previews
		for _, r := range c.Releases {
			if r.Security {
				security++
			}
			for _, id := range r.CVEs {
				cves[id] = true
			}
		}
	}
	byPlatform := map[string]*catalog.Contents{}
	for _, p := range out.Patches {
		if a, i := p.Rules(); errors.Join(a.Validate(), i.Validate()) != nil {
			t.Errorf("%s has a rule that is not valid", p.ID)
		}
		if pay := p.Items[0].Payload; len(pay.Digest) != len("sha512:")+128 || !strings.HasSuffix(pay.URL, ".exe") || p.Released.IsZero() {
			t.Errorf("%s: %+v", p.ID, pay)
		}
		c := byPlatform[p.Platform]
		if c == nil {
			c = &catalog.Contents{Header: catalog.Header{Format: catalog.Format, Platform: p.Platform}, Advisories: out.Advisories}
			byPlatform[p.Platform] = c
		}
		c.Patches = append(c.Patches, p)
	}
	for platform, c := range byPlatform {
		if m, err := catalog.Merge(*c); err != nil || len(m.Header.Notes) > 0 {
			t.Errorf("%s: %v, %v", platform, err, m.Header.Notes)
		}
	}
	text, err := os.ReadFile("../../../../../docs/microsoft.md")
	if err != nil {
		t.Fatal(err)
	}
	for label, n := range map[string]int{
		".NET channels": len(channels), ".NET releases in them": releases, "of these, with security fixes": security, ".NET previews (left out)": previews,
		"CVEs that .NET releases name": len(cves), "patches of .NET": len(out.Patches),
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

func installer() []byte { return []byte("MZ an installer") }

// channelText is a channel with three releases, the oldest last, as vendors
// write them.
func channelText(address string, versions ...string) string {
	sum := sha512.Sum512(installer())
	hash := hex.EncodeToString(sum[:])
	var releases []string
	for i, v := range versions {
		file := func(name, rid string) string {
			return fmt.Sprintf(`{"name":"%s-%s.exe","rid":"%s","url":"%s/%s-%s-%s.exe","hash":"%s"},{"name":"%s.zip","rid":"%s","url":"%s/x.zip","hash":"%s"}`, name, rid, rid, address, name, v, rid, hash, name, rid, address, hash)
		}
		releases = append(releases, fmt.Sprintf(`{"release-version":"%s","release-date":"2031-0%d-11","security":%v,"cve-list":[{"cve-id":"CVE-2031-100%d"},{"cve-id":"none"}],"release-notes":"https://vendor.example/%s",
"runtime":{"version":"%s","files":[%s,%s]},"windowsdesktop":null,"sdk":{"version":"%s","files":[]}}`, v, 9-i, i == 0, i, v, v, file("dotnet-runtime", "win-x64"), file("dotnet-runtime", "linux-x64"), v))
	}
	return `{"channel-version":"31.0","support-phase":"active","releases":[` + strings.Join(releases, ",") + `]}`
}

// onDisk are the files of a machine.
type onDisk struct {
	detect.Facts
	versions []string
}

func (o onDisk) File(path string) (detect.FileFact, error) {
	for _, v := range o.versions {
		if path == `%ProgramFiles%\dotnet\shared\Microsoft.NETCore.App\`+v+`\.version` {
			return detect.FileFact{Exists: true}, nil
		}
	}
	return detect.FileFact{}, nil
}

func (o onDisk) Packages(kind, name string) ([]detect.PackageFact, error) {
	if kind == "app" && name == "microsoft .net runtime|microsoft" && len(o.versions) > 0 {
		return []detect.PackageFact{{Version: "31.0.1.1"}}, nil
	}
	return nil, nil
}

func TestRules(t *testing.T) {
	c, err := ParseChannel(strings.NewReader(channelText("https://vendor.example", "31.0.10", "31.0.9", "31.0.2", "31.0.0-rc.1")))
	if err != nil || c.Previews != 1 || len(c.Releases) != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	out := output([]Channel{c})
	var ids []string
	for _, p := range out.Patches {
		ids = append(ids, fmt.Sprint(p.ID, p.Supersedes))
	}
	if want := []string{"dotnet:runtime:31.0.2:x64:amd64[]", "dotnet:runtime:31.0.9:x64:amd64[dotnet:runtime:31.0.2:x64:amd64]", "dotnet:runtime:31.0.10:x64:amd64[dotnet:runtime:31.0.9:x64:amd64]"}; !slices.Equal(ids, want) {
		t.Fatalf("%v", ids)
	}
	last := out.Patches[2]
	if last.Classification != patch.Security || last.CVEs[0] != (patch.CVEFix{ID: "CVE-2031-1000", FixedIn: "31.0.10"}) || len(last.CVEs) != 1 || last.Title != "Microsoft .NET Runtime 31.0.10 (x64)" {
		t.Errorf("%+v", last)
	}
	a, i := last.Rules()
	for _, m := range []struct {
		versions   []string
		can, there detect.Value
	}{
		{nil, detect.False, detect.False},
		{[]string{"31.0.2"}, detect.True, detect.False},
		{[]string{"31.0.2", "31.0.10"}, detect.True, detect.True},
		{[]string{"31.0.10"}, detect.False, detect.True},
		{[]string{"30.0.1"}, detect.False, detect.False},
	} {
		f := onDisk{versions: m.versions}
		if can, there := detect.Eval(a, f).Value, detect.Eval(i, f).Value; can != m.can || there != m.there {
			t.Errorf("%v: applicable %s, installed %s", m.versions, can, there)
		}
	}
}

// TestFromTheNetwork: only channels with a new release are asked for, and one
// that fails leaves what it said.
func TestFromTheNetwork(t *testing.T) {
	var latest, body string
	var asked []string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		switch {
		case r.URL.Path == "/index.json":
			fmt.Fprintf(w, `{"releases-index":[{"channel-version":"31.0","latest-release":"%s","releases.json":"https://%s/31.json"},{"channel-version":"32.0","latest-release":"32.0.0-preview.1","releases.json":"x"}]}`, latest, r.Host)
		case r.URL.Path == "/31.json":
			_, _ = io.WriteString(w, body)
		default:
			_, _ = w.Write(installer())
		}
	}))
	defer srv.Close()
	latest, body = "31.0.9", channelText(srv.URL, "31.0.9", "31.0.2")
	s, dir := feedtest.Source(t, New, Config{Location: srv.URL + "/index.json"})
	c, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1, Transport: srv.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	s.Client = c
	first, out := feedtest.Refresh(t, s, dir, nil)
	if !first.Changed || len(out.Patches) != 2 || len(first.Notes) > 0 {
		t.Fatalf("%v, %v", out.Patches, first.Notes)
	}
	asked = nil
	if again, _ := feedtest.Refresh(t, s, dir, first.Fingerprint); again.Changed || !slices.Equal(asked, []string{"/index.json"}) {
		t.Errorf("asked %v", asked)
	}
	latest, body = "31.0.10", "<html>Sign in</html>"
	broken, same := feedtest.Refresh(t, s, dir, first.Fingerprint)
	if broken.Changed || len(broken.Notes) != 1 || len(same.Patches) != 2 {
		t.Errorf("%v, %v", broken.Notes, len(same.Patches))
	}
	body, s.cfg.Prove = channelText(srv.URL, "31.0.10", "31.0.9", "31.0.2"), []string{"latest"}
	next, out := feedtest.Refresh(t, s, dir, broken.Fingerprint)
	newest := out.Patches[2].Items[0].Payload
	if !next.Changed || len(newest.SHA256) != 64 || newest.Size != int64(len(installer())) || !s.Offers(next.Fingerprint, newest.SHA256) {
		t.Errorf("%+v", newest)
	}
}

// TestTrustRow2NoLocalFiles: an index of the network names a file of this machine
// as a channel, and a channel one as an installer.
func TestTrustRow2NoLocalFiles(t *testing.T) {
	text := channelText("https://vendor.example", "31.0.9")
	at := feedtest.Secret(t, "31.json", []byte(text))
	index := `{"releases-index":[{"channel-version":"31.0","latest-release":"31.0.9","releases.json":"` + at + `/31.json"}]}`
	s, dir := feedtest.Source(t, New, Config{Location: feedtest.Serve(t, []byte(index))})
	if got, err := s.Fetch(t.Context(), dir, nil); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no http or https address") {
		t.Errorf("%s, %v", got.Fingerprint, err)
	}
	if c, err := ParseChannel(strings.NewReader(strings.ReplaceAll(text, "https://vendor.example", at))); err != nil || len(c.Releases[0].Products) > 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestRefuses(t *testing.T) {
	for _, text := range []string{"", "[]", "<html>", `{"channel-version":"x","releases":[{}]}`, `{"channel-version":"8.0"}`} {
		if _, err := ParseChannel(strings.NewReader(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := ParseIndex([]byte(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, at := range []string{"", "relative", "ftp://vendor.example/x"} {
		if _, err := New(Config{Location: at}, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", at, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(channelText("https://vendor.example", "31.0.10", "31.0.2")))
	f.Add([]byte(`{"releases-index":[{"channel-version":"8.0","latest-release":"8.0.1","releases.json":"https://vendor.example/x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if all, err := ParseIndex(text); err == nil && len(all) == 0 {
			t.Fatal("no channel and no error")
		}
		c, err := ParseChannel(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, p := range output([]Channel{c}).Patches {
			if a, i := p.Rules(); a.Validate() != nil || i.Validate() != nil {
				t.Fatalf("%s has a rule that is not valid", p.ID)
			}
		}
	})
}

var _ crawl.Shelf = (*Source)(nil)
