package microsoft

import (
	"crypto/sha1" //nolint:gosec // what the pages name
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc/msrctest"
)

// catalogPages is an Update Catalog of two KBs on two releases, whose pages have
// the forms of the real ones.
type catalogPages struct {
	address string
	asked   []string
	changed bool // the pages have another form
}

const (
	forServer = "aaaaaaaa-0000-0000-0000-000000000001"
	forClient = "aaaaaaaa-0000-0000-0000-000000000002"
)

func (c *catalogPages) title(guid, kb string) string {
	name := "Windows Server 2019"
	if guid == forClient {
		name = "Windows 10 Version 1809"
	}
	return "2031-03 Cumulative Update for " + name + " for x64-based Systems (KB" + kb + ")"
}

func (c *catalogPages) file() []byte { return []byte("MSCF the update") }

func (c *catalogPages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.asked = append(c.asked, r.Method+" "+r.URL.Path)
	switch {
	case c.changed:
		fmt.Fprint(w, `<html><body><div id="app"></div></body></html>`)
	case r.URL.Path == "/Search.aspx":
		kb := strings.TrimPrefix(r.URL.Query().Get("q"), "KB")
		fmt.Fprint(w, "<html><table>")
		for i, guid := range []string{forServer, forClient} {
			fmt.Fprintf(w, `<tr id="%[1]s_R%[2]d"><td id="%[1]s_C0_R%[2]d"></td><td id="%[1]s_C1_R%[2]d"><a id='%[1]s_link'> %[3]s </a></td><td id="%[1]s_C2_R%[2]d">Windows</td>
<td id="%[1]s_C3_R%[2]d">Security Updates</td><td id="%[1]s_C4_R%[2]d">3/11/2031</td><td id="%[1]s_C6_R%[2]d"><span id="%[1]s_size">1 KB</span><span class="noDisplay" id="%[1]s_originalSize">%[4]d</span></td></tr>`,
				guid, i, c.title(guid, kb), len(c.file()))
		}
		fmt.Fprint(w, "</table></html>")
	case r.URL.Path == "/ScopedViewInline.aspx":
		guid := r.URL.Query().Get("updateid")
		fmt.Fprintf(w, `<html><span id="ScopedViewHandler_titleText">%s</span><span id="ScopedViewHandler_msrcSeverity">Critical</span><span id="ScopedViewHandler_rebootBehavior">Can request restart</span>
<span id="ScopedViewHandler_date">3/11/2031</span><div id="kbDiv"><span>KB article numbers:</span> 9000003</div><div id="supersededbyInfo"><div>n/a</div></div>
<div id="supersedesInfo"><div>2031-02 Cumulative Update for Windows (KB9000002)</div><div><a href="ScopedViewInline.aspx?updateid=%s">itself (KB9000003)</a></div></div></html>`, c.title(guid, "9000003"), guid)
	case r.URL.Path == "/DownloadDialog.aspx":
		sum := sha1.Sum(c.file()) //nolint:gosec // what the pages name
		if !strings.Contains(r.PostFormValue("updateIDs"), forServer) {
			http.Error(w, "which?", http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "<script>\ndownloadInformation[0] = new Object();\ndownloadInformation[0].files[0].url = '%s/windows10.0-kb9000003-x64_0a.msu';\ndownloadInformation[0].files[0].digest = '%s';\ndownloadInformation[0].files[0].fileName = 'windows10.0-kb9000003-x64_0a.msu';\n</script>", c.address, base64.StdEncoding.EncodeToString(sum[:]))
	case strings.HasSuffix(r.URL.Path, ".msu"):
		_, _ = w.Write(c.file())
	default:
		http.NotFound(w, r)
	}
}

// TestCatalog: the pages of the newest cumulative update of a release that is
// followed give it its payload, once; pages of another form are told and change
// nothing.
func TestCatalog(t *testing.T) {
	c := &catalogPages{}
	srv := httptest.NewServer(c)
	defer srv.Close()
	c.address = srv.URL
	from := t.TempDir()
	last := msrctest.March()
	for name, f := range map[string]msrctest.Document{"2031-Feb": msrctest.February(), "2031-Mar": last} {
		if err := os.WriteFile(filepath.Join(from, name+".xml"), []byte(f.XML()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const platform = "windows-server-2019-amd64"
	cfg := Config{MSRC: from, Catalog: Catalog{Address: srv.URL, KBs: []string{"KB9000003"}}}
	s, dir := feedtest.Source(t, New, cfg)
	s.cfg.Catalog.KBs, s.cfg.Catalog.Follow, s.cfg.Catalog.Newest = nil, []string{platform}, 1
	got, out := feedtest.Refresh(t, s, dir, nil)
	if want := []string{"GET /Search.aspx", "GET /ScopedViewInline.aspx", "POST /DownloadDialog.aspx"}; !slices.Equal(c.asked, want) || len(got.Notes) > 0 {
		t.Fatalf("asked %v, notes %v", c.asked, got.Notes)
	}
	find := func(out crawl.Output, id patch.ID) patch.Patch {
		t.Helper()
		i := slices.IndexFunc(out.Patches, func(p patch.Patch) bool { return p.ID == id })
		if i < 0 {
			t.Fatalf("there is no %s among %v", id, patchNames(out))
		}
		return out.Patches[i]
	}
	newest := newestCumulative(out.Patches, platform, 1)[0]
	p := find(out, newest.ID)
	if p.Install.Kind != "msu" || len(p.Items) != 1 || p.Items[0].Payload.SHA256 != "" || !strings.HasPrefix(p.Items[0].Payload.Digest, "sha1:") ||
		p.Items[0].Payload.Size != int64(len(c.file())) || !strings.Contains(p.Evidence.Checks[0], "microsoft.prove") {
		t.Errorf("%+v", p)
	}

	c.asked = nil
	if again, _ := feedtest.Refresh(t, s, dir, got.Fingerprint); again.Changed || len(c.asked) > 0 {
		t.Errorf("asked again: %v", c.asked)
	}

	s.cfg.Catalog.Prove = []string{"*"}
	proven, out := feedtest.Refresh(t, s, dir, got.Fingerprint)
	sum := find(out, newest.ID).Items[0].Payload.SHA256
	if len(sum) != 64 || !proven.Changed || !s.Offers(proven.Fingerprint, sum) || !slices.Contains(s.Blobs(proven.Fingerprint), sum) {
		t.Errorf("%v %q", proven.Changed, sum)
	}

	c.changed = true
	s.cfg.Catalog.KBs = []string{"9000009"}
	odd, out := feedtest.Refresh(t, s, dir, proven.Fingerprint)
	if len(odd.Notes) != 1 || !strings.Contains(odd.Notes[0], "KB9000009") || !strings.Contains(odd.Notes[0], "no page of search results") || odd.Changed {
		t.Errorf("changed %v, %v", odd.Changed, odd.Notes)
	}
	if find(out, newest.ID).Items[0].Payload.SHA256 != sum {
		t.Error("what was there before is gone")
	}
}

// TestCatalogByKB: a KB that is named is asked for all releases; updates that
// the documents do not know become bulletins, and what pages replace is entered.
func TestCatalogByKB(t *testing.T) {
	c := &catalogPages{}
	srv := httptest.NewServer(c)
	defer srv.Close()
	c.address = srv.URL
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "2031-Feb.xml"), []byte(msrctest.February().XML()), 0o600); err != nil {
		t.Fatal(err)
	}
	s, dir := feedtest.Source(t, New, Config{MSRC: from, Catalog: Catalog{Address: srv.URL, KBs: []string{"kb9000003"}}})
	got, _ := feedtest.Refresh(t, s, dir, nil)
	// One of the two releases has no page of files, so the KB as a whole waits.
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "KB9000003") {
		t.Fatalf("%v", got.Notes)
	}
	s.cfg.Catalog.KBs, s.cfg.Catalog.Follow = nil, nil
	run := &fetching{s: s, dir: dir, st: &state{Pages: map[string]document{}}}
	if err := run.ask(t.Context(), srv.URL, "9000003", "windows-server-2019-amd64"); err != nil {
		t.Fatal(err)
	}
	updates, err := pages(dir, *run.st)
	if err != nil || len(updates) != 1 {
		t.Fatal(updates, err)
	}
	out, err := s.Parse(t.Context(), dir, got.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	apply(&out, updates, nil)
	p := out.Patches[len(out.Patches)-1]
	if p.ID != "windows-server-2019:amd64:KB9000003" || p.Installed != nil || len(p.Items) != 1 || p.Classification != patch.Security || !slices.Equal(p.Supersedes, []patch.ID{"windows-server-2019:amd64:KB9000002"}) {
		t.Errorf("%+v", p)
	}
}

// TestTrustRow2NoLocalFiles: the Update Catalog's pages do not name a file of this
// machine as an update's payload, wherever the documents lie.
func TestTrustRow2NoLocalFiles(t *testing.T) {
	c := &catalogPages{}
	srv := httptest.NewServer(c)
	defer srv.Close()
	c.address = feedtest.Secret(t, "windows10.0-kb9000003-x64_0a.msu", c.file())
	from := t.TempDir()
	for name, f := range map[string]msrctest.Document{"2031-Feb": msrctest.February(), "2031-Mar": msrctest.March()} {
		if err := os.WriteFile(filepath.Join(from, name+".xml"), []byte(f.XML()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, dir := feedtest.Source(t, New, Config{MSRC: from, Catalog: Catalog{Address: srv.URL, Follow: []string{"windows-server-2019-amd64"}, Prove: []string{"*"}}})
	got, _ := feedtest.Refresh(t, s, dir, nil)
	if len(s.Recall(got.Fingerprint).Learned) > 0 || !strings.Contains(fmt.Sprint(got.Notes), "names no file to download") {
		t.Errorf("%s, %v", got.Fingerprint, got.Notes)
	}
	file := c.address + "/windows10.0-kb9000003-x64_0a.msu" // were the page believed, its client would refuse
	if _, err := s.Client.Get(t.Context(), fetch.Request{URL: file}); !fault.Is(err, fault.Untrusted) {
		t.Error(err)
	}
	plain, _ := feedtest.Source(t, New, Config{MSRC: srv.URL})
	if _, err := plain.client.Get(t.Context(), fetch.Request{URL: file}); !fault.Is(err, fault.Untrusted) {
		t.Error(err)
	}
	if _, err := New(Config{MSRC: from, Catalog: Catalog{Address: "file://" + from}}, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("pages of this machine: %v", err)
	}
}
