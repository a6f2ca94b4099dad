package microsoft

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc/msrctest"
)

// guide is a Security Update Guide that tests revise.
type guide struct {
	documents map[string]msrctest.Document
	broken    map[string]bool
	asked     []string
}

func (g *guide) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.asked = append(g.asked, r.URL.Path)
	name := filepath.Base(r.URL.Path)
	if name == "updates" {
		var list struct {
			Value []Update `json:"value"`
		}
		for _, id := range sortedKeys(g.documents) {
			list.Value = append(list.Value, Update{ID: id, Current: g.documents[id].Current})
		}
		_ = json.NewEncoder(w).Encode(list)
		return
	}
	d, ok := g.documents[name]
	if !ok || g.broken[name] {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	fmt.Fprint(w, d.XML())
}

func patchNames(out crawl.Output) []string {
	var names []string
	for _, p := range out.Patches {
		names = append(names, string(p.ID)+" "+p.Version)
	}
	return names
}

// TestFromAPI: only documents whose date has changed are asked for again, one
// that can't be had leaves what it said, and what comes out follows.
func TestFromAPI(t *testing.T) {
	g := &guide{documents: map[string]msrctest.Document{"2031-Feb": msrctest.February()}, broken: map[string]bool{}}
	srv := httptest.NewServer(g)
	defer srv.Close()
	s, dir := feedtest.Source(t, New, Config{MSRC: srv.URL + "/cvrf/v3.0/"})

	first, out := feedtest.Refresh(t, s, dir, nil)
	if want := []string{"windows-server-2019:amd64:KB9000002 10.0.17763.200"}; !first.Changed || !slices.Equal(patchNames(out), want) {
		t.Fatalf("changed %v, %v", first.Changed, patchNames(out))
	}
	g.asked = nil
	second, again := feedtest.Refresh(t, s, dir, first.Fingerprint)
	if second.Changed || !slices.Equal(g.asked, []string{"/cvrf/v3.0/updates"}) || !cmp.Equal(out, again) {
		t.Errorf("unchanged: changed %v, asked %v", second.Changed, g.asked)
	}

	g.documents["2031-Mar"] = msrctest.March()
	g.broken["2031-Mar"] = true
	third, same := feedtest.Refresh(t, s, dir, second.Fingerprint)
	if third.Changed || len(third.Notes) != 1 || !strings.Contains(third.Notes[0], "2031-Mar") || !cmp.Equal(out, same) {
		t.Errorf("a document that fails: changed %v, notes %v", third.Changed, third.Notes)
	}

	g.broken = nil
	g.asked = nil
	fourth, more := feedtest.Refresh(t, s, dir, third.Fingerprint)
	want := []string{"windows-server-2019:amd64:KB9000002 10.0.17763.200", "windows-server-2019:amd64:KB9000003 10.0.17763.300"}
	if !fourth.Changed || !slices.Equal(patchNames(more), want) || !slices.Equal(g.asked, []string{"/cvrf/v3.0/updates", "/cvrf/v3.0/cvrf/2031-Mar"}) {
		t.Errorf("a new month: changed %v, asked %v, %v", fourth.Changed, g.asked, patchNames(more))
	}
	if p := more.Patches[1]; len(p.Supersedes) != 1 || p.Supersedes[0] != more.Patches[0].ID {
		t.Errorf("it replaces %v", p.Supersedes)
	}
	if diff := cmp.Diff(out.Patches[0], more.Patches[0]); diff != "" {
		t.Errorf("the older patch changed:\n%s", diff)
	}

	if keep := s.Blobs(fourth.Fingerprint); len(keep) != 2 {
		t.Errorf("it keeps %v", keep)
	}
	if err := os.RemoveAll(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, lost := feedtest.Refresh(t, s, dir, fourth.Fingerprint); !cmp.Equal(more, lost) {
		t.Error("lost files are not fetched again")
	}
}

// TestFromFolder: of several states of a month the newest counts, and files
// that are no documents do no harm.
func TestFromFolder(t *testing.T) {
	from := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(from, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := msrctest.February()
	old.Current, old.Revision, old.Vulnerabilities = "2031-02-11T08:00:00", "1", nil
	write("2031-Feb.xml", msrctest.February().XML())
	write("snapshots/2031-Feb.asof-2031-02-11.xml", old.XML())
	write("2031-Mar.xml", "<html>Sign in</html>")
	write("readme.txt", "hello")
	for _, address := range []string{from, "file://" + from} {
		s, dir := feedtest.Source(t, New, Config{MSRC: address})
		got, out := feedtest.Refresh(t, s, dir, nil)
		if want := []string{"windows-server-2019:amd64:KB9000002 10.0.17763.200"}; !slices.Equal(patchNames(out), want) {
			t.Errorf("%v", patchNames(out))
		}
		if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "2031-Mar.xml") {
			t.Errorf("notes %v", got.Notes)
		}
		if again, _ := feedtest.Refresh(t, s, dir, got.Fingerprint); again.Changed {
			t.Error("nothing changed, but it says so")
		}
	}
}

// TestList: the supersedence list holds chains over months that are not at
// hand, and brings service packs.
func TestList(t *testing.T) {
	from := t.TempDir()
	last := msrctest.March()
	last.Vulnerabilities[0].Fixes[0].Supersedes, last.Vulnerabilities[0].Fixes[0].Build = "8999999", ""
	for name, f := range map[string]msrctest.Document{"2031-Feb": msrctest.February(), "2031-Mar": last} {
		if err := os.WriteFile(filepath.Join(from, name+".xml"), []byte(f.XML()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := filepath.Join(from, "list.csv")
	if err := os.WriteFile(list, []byte(listText), 0o600); err != nil {
		t.Fatal(err)
	}
	s, dir := feedtest.Source(t, New, Config{MSRC: from, Lists: []string{list}})
	_, out := feedtest.Refresh(t, s, dir, nil)
	want := []string{
		"windows-server-2019:amd64:KB9000002 10.0.17763.200", "windows-server-2019:amd64:KB9000003 2031.03.11", "windows-7:amd64:KB976932 2011.03.15",
	}
	if !slices.Equal(patchNames(out), want) {
		t.Fatalf("%v", patchNames(out))
	}
	if p := out.Patches[1]; len(p.Supersedes) != 1 || p.Supersedes[0] != out.Patches[0].ID {
		t.Errorf("through the list it replaces %v", p.Supersedes)
	}
}

const listText = "\ufeff" + `"DatePosted","CVE","BulletinKB","Title","AffectedProduct","AffectedComponent","Severity","Impact","Supersedes","Exploits"
# a comment
"20310228","CVE-2031-5","8999999","A "title", with
more","Windows Server 2019",,"Important","Spoofing","9000002",
"20310228","CVE-2031-6",,"Nothing","Windows Server 2019","","","","",""
"20110315","SP7X64SP1","976932","Windows 7 for x64-based Systems Service Pack 1 (KB976932)","Windows 7 for x64-based Systems","","Critical","No more updates","",""
`

func TestNewRefuses(t *testing.T) {
	for _, address := range []string{"", "relative/folder", "ftp://archive.example/x", "::"} {
		if _, err := New(Config{MSRC: address}, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", address, err)
		}
	}
	s, dir := feedtest.Source(t, New, Config{MSRC: filepath.Join(t.TempDir(), "gone")})
	if _, err := s.Fetch(t.Context(), dir, nil); err == nil {
		t.Error("a folder that is not there is read")
	}
	if _, err := s.Parse(t.Context(), dir, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("nothing fetched: %v", err)
	}
}

func FuzzParseUpdates(f *testing.F) {
	f.Add([]byte(`{"value":[{"ID":"2026-Feb","CurrentReleaseDate":"2026-03-01T01:01:55Z"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		all, err := ParseUpdates(body)
		if err != nil {
			return
		}
		for _, u := range all {
			if !monthID.MatchString(u.ID) {
				t.Fatalf("%q is no month", u.ID)
			}
		}
	})
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte(listText))
	f.Fuzz(func(t *testing.T, text []byte) {
		var l List
		if l.ParseList(strings.NewReader(string(text))) != nil {
			return
		}
		if l.NoKB+l.TextKB+l.Broken > l.Records || l.Records > l.Lines {
			t.Fatalf("%+v", l)
		}
		for _, p := range l.platforms() {
			for _, k := range l.packs(p) {
				if a, i := k.Rules(); a.Validate() != nil || i.Validate() != nil {
					t.Fatalf("%s has a rule that is not valid", k.ID)
				}
			}
		}
	})
}

// TestCSAFInFolder: an advisory beside the monthly documents adds to the same
// patch, and alone is enough for it.
func TestCSAFInFolder(t *testing.T) {
	advisory := `{"document":{"csaf_version":"2.0","title":"x","aggregate_severity":{"text":"Critical"},"tracking":{"id":"msrc_CVE-2031-77","version":"1","initial_release_date":"2031-02-12T08:00:00Z","current_release_date":"2031-02-12T08:00:00Z"}},
"product_tree":{"branches":[{"category":"product_name","name":"Windows Server 2019","branches":[{"category":"product_version_range","product":{"name":"Windows Server 2019 <10.0.17763.200","product_id":"7"}}]}]},
"vulnerabilities":[{"cve":"CVE-2031-77","title":"Late","product_status":{"known_affected":["7"]},"remediations":[{"category":"vendor_fix","details":"10.0.17763.200:Security Update:https://support.microsoft.com/help/9000002","product_ids":["7"]}]}]}`
	for _, alone := range []bool{false, true} {
		from := t.TempDir()
		if err := os.WriteFile(filepath.Join(from, "msrc_cve-2031-77.json"), []byte(advisory), 0o600); err != nil {
			t.Fatal(err)
		}
		if !alone {
			if err := os.WriteFile(filepath.Join(from, "2031-Feb.xml"), []byte(msrctest.February().XML()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, dir := feedtest.Source(t, New, Config{MSRC: from})
		got, out := feedtest.Refresh(t, s, dir, nil)
		if want := []string{"windows-server-2019:amd64:KB9000002 10.0.17763.200"}; len(got.Notes) > 0 || !slices.Equal(patchNames(out), want) {
			t.Fatalf("%v, %v", patchNames(out), got.Notes)
		}
		if p := out.Patches[0]; !slices.ContainsFunc(p.CVEs, func(c patch.CVEFix) bool { return c.ID == "CVE-2031-77" }) || p.Installed == nil {
			t.Errorf("%+v", p)
		}
	}
}
