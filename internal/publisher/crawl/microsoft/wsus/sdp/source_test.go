package sdp

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // what packages name
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

func TestFromTheNetwork(t *testing.T) {
	body := packageText
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint(len(body))))
		if r.Header.Get("If-None-Match") == w.Header().Get("ETag") {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, body)
	}))
	defer srv.Close()
	s, dir := feedtest.Source(t, New, Config{Name: "maker", Location: srv.URL + "/c.cab", Signer: "Maker Inc."})
	first, err := s.Fetch(t.Context(), dir, nil)
	if err != nil || !first.Changed {
		t.Fatal(err)
	}
	out, err := s.Parse(t.Context(), dir, first.Fingerprint)
	if err != nil || len(out.Patches) != 3 {
		t.Fatal(len(out.Patches), err)
	}
	p := out.Patches[0]
	if p.ID != "sdp:maker:ab:amd64" || p.Platform != "windows-apps-amd64" || p.Items[0].Payload.Signer != "Maker Inc." || p.Items[0].Payload.Digest != "sha1:39b0544c64ec36e906d4bb508408848b426476c8" {
		t.Errorf("%+v", p)
	}
	if !slices.Equal(p.Install.Argv, []string{"{payload}", "-s"}) {
		t.Errorf("%q", p.Install.Argv)
	}
	again, err := s.Fetch(t.Context(), dir, first.Fingerprint)
	if err != nil || again.Changed || asked != 2 {
		t.Errorf("changed %v, asked %d, %v", again.Changed, asked, err)
	}
	for _, bad := range []string{"<html>Sign in</html>", "MSCF and no cabinet", "<a/>", ""} {
		body = bad
		if _, err := s.Fetch(t.Context(), dir, first.Fingerprint); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "download-*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
	if _, err := s.Parse(t.Context(), dir, first.Fingerprint); err != nil {
		t.Errorf("what was there before is gone: %v", err)
	}
}

// TestFromFolder: new files are seen, refused packages are named, circles are
// parted, and only what can hold on an architecture is published for it.
func TestFromFolder(t *testing.T) {
	from := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	circle := strings.NewReplacer(`PackageID="AB"`, `PackageID="AA"`, "<sdp:PackageID>AA<", "<sdp:PackageID>ab<").Replace(packageText)
	bits := strings.NewReplacer(`PackageID="AB"`, `PackageID="BB"`, "<sdp:InstallableItem ", `<sdp:IsInstallable><bar:Processor Architecture="0"/></sdp:IsInstallable><sdp:InstallableItem `).Replace(packageText)
	write("a.sdp", packageText)
	write("b.sdp", circle)
	write("c.sdp", bits)
	write("bad.sdp", "<sdp")
	write("odd.sdp", strings.Replace(packageText, "FileVersion", "FileShape", 1))
	write("readme.txt", "hello")
	s, dir := feedtest.Source(t, New, Config{Name: "maker", Location: "file://" + from})
	got, err := s.Fetch(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Parse(t.Context(), dir, got.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, p := range out.Patches {
		ids = append(ids, fmt.Sprint(p.ID, p.Supersedes))
	}
	want := []string{
		"sdp:maker:aa:amd64[sdp:maker:ab:amd64]", "sdp:maker:aa:386[sdp:maker:ab:386]", "sdp:maker:aa:arm64[sdp:maker:ab:arm64]",
		"sdp:maker:ab:amd64[]", "sdp:maker:ab:386[]", "sdp:maker:ab:arm64[]", "sdp:maker:bb:386[]",
	}
	want[6] = "sdp:maker:bb:386[sdp:maker:aa:386]"
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Error(diff)
	}
	if len(out.Rejected) != 2 || !strings.Contains(fmt.Sprint(out.Rejected), "FileShape") || !strings.Contains(fmt.Sprint(out.Rejected), "bad.sdp") {
		t.Errorf("%v", out.Rejected)
	}
	if again, err := s.Fetch(t.Context(), dir, got.Fingerprint); err != nil || again.Changed {
		t.Errorf("changed %v, %v", again.Changed, err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(from, "a.sdp"), later, later); err != nil {
		t.Fatal(err)
	}
	write("d.sdp", strings.ReplaceAll(packageText, `PackageID="AB"`, `PackageID="DD"`))
	if again, err := s.Fetch(t.Context(), dir, got.Fingerprint); err != nil || !again.Changed {
		t.Errorf("changed %v, %v", again.Changed, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{{Name: "", Location: "/x"}, {Name: "Not Good", Location: "/x"}, {Name: "hp", Location: "relative"}, {Name: "hp", Location: "ftp://archive.example/x"}} {
		if _, err := New(c, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func FuzzParseCatalog(f *testing.F) {
	f.Add([]byte(packageText))
	f.Add([]byte(`<c:SystemsManagementCatalog xmlns:c="urn:c">` + strings.TrimPrefix(packageText, "\ufeff") + `</c:SystemsManagementCatalog>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseCatalog(bytes.NewReader(raw))
		if err != nil {
			return
		}
		for _, p := range output(c, "x", "").Patches {
			if a, i := p.Rules(); a.Validate() != nil || i.Validate() != nil {
				t.Fatalf("%s has a rule that is not valid", p.ID)
			}
		}
	})
}

// TestProve: the installers that are named are fetched, and their SHA-256 is
// learned; the others say how to have that.
func TestProve(t *testing.T) {
	body := "MZ driver"
	sum := sha1.Sum([]byte(body)) //nolint:gosec // what packages name
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	defer srv.Close()
	text := strings.NewReplacer("ObBUTGTsNukG1LtQhAiEi0Jkdsg=", base64.StdEncoding.EncodeToString(sum[:]), `Size="7"`, `Size="9"`, "https://vendor.example", srv.URL).Replace(packageText)
	from := filepath.Join(t.TempDir(), "c.xml")
	if err := os.WriteFile(from, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, dir := feedtest.Source(t, New, Config{Name: "maker", Location: from})
	got, err := s.Fetch(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Parse(t.Context(), dir, got.Fingerprint)
	if err != nil || out.Patches[0].Items[0].Payload.SHA256 != "" || !strings.Contains(out.Patches[0].Evidence.Checks[0], "name sp1 in sdp.prove") {
		t.Fatalf("%+v, %v", out.Patches[0], err)
	}
	s.cfg.Prove = []string{"SP1"}
	next, err := s.Fetch(t.Context(), dir, got.Fingerprint)
	if err != nil || !next.Changed {
		t.Fatal(next.Changed, err)
	}
	if out, err = s.Parse(t.Context(), dir, next.Fingerprint); err != nil {
		t.Fatal(err)
	}
	learned := out.Patches[0].Items[0].Payload.SHA256
	if len(learned) != 64 || !s.Offers(next.Fingerprint, learned) || !slices.Contains(s.Blobs(next.Fingerprint), learned) || out.Patches[0].Evidence.Checks != nil {
		t.Errorf("%+v", out.Patches[0])
	}
	if again, err := s.Fetch(t.Context(), dir, next.Fingerprint); err != nil || again.Changed {
		t.Error(again.Changed, err)
	}
}
