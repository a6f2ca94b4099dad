package publisher_test

import (
	"crypto/sha1" //nolint:gosec // what the vendors name
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc/msrctest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget/wingettest"
)

// site is what Microsoft and a hardware maker offer, on loopback: files by
// path, and the Update Catalog's pages of one update.
type site struct {
	files map[string][]byte
	url   string
	title string
}

const (
	catalogKB   = "9000003"
	catalogGUID = "aaaaaaaa-0000-0000-0000-000000000001"
)

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if body, ok := s.files[r.URL.Path]; ok {
		_, _ = w.Write(body)
		return
	}
	switch r.URL.Path {
	case "/Search.aspx":
		fmt.Fprintf(w, `<table><tr id="%[1]s_R0"><td id="%[1]s_C1_R0"><a>%[2]s</a></td><td id="%[1]s_C2_R0">Windows</td><td id="%[1]s_C3_R0">Security Updates</td><td id="%[1]s_C4_R0">3/11/2031</td><td id="%[1]s_C6_R0"><span id="%[1]s_originalSize">%[3]d</span></td></tr></table>`,
			catalogGUID, s.title, len(s.files["/kb.cab"]))
	case "/ScopedViewInline.aspx":
		fmt.Fprintf(w, `<html><span id="ScopedViewHandler_titleText">%s</span><span id="ScopedViewHandler_rebootBehavior">Can request restart</span><span id="ScopedViewHandler_date">3/11/2031</span><div id="kbDiv"><span>KB article numbers:</span> %s</div></html>`, s.title, catalogKB)
	case "/DownloadDialog.aspx":
		fmt.Fprintf(w, "downloadInformation[0].files[0].url = '%s/kb.cab';\ndownloadInformation[0].files[0].digest = '%s';\ndownloadInformation[0].files[0].fileName = 'windows10.0-kb%s-x64.cab';\n", s.url, sha1of(s.files["/kb.cab"]), catalogKB)
	default:
		http.NotFound(w, r)
	}
}

func sha1of(b []byte) string {
	sum := sha1.Sum(b) //nolint:gosec // what the vendors name
	return base64.StdEncoding.EncodeToString(sum[:])
}

// cabinet packs files into a cabinet, in a folder of its own.
func cabinet(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name), []byte(text))
		names = append(names, name)
	}
	slices.Sort(names)
	cmd := exec.Command("gcab", append([]string{"-c", "-z", "out.cab"}, names...)...)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcab: %v %s", err, said)
	}
	return filepath.Join(dir, "out.cab")
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// program makes a signed program for Windows.
func program(t *testing.T, v *wingettest.Vendor, signer string) []byte {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.nsi"), []byte("OutFile a.exe\nSection\nSectionEnd\n"))
	cmd := exec.Command("makensis", "-V1", "a.nsi")
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("makensis: %v %s", err, said)
	}
	v.Sign(t, filepath.Join(dir, "a.exe"), signer)
	return read(t, filepath.Join(dir, "a.exe"))
}

// scanFile is an offline scan file with one update whose file is a cabinet.
func scanFile(t *testing.T, update string, file []byte, address string) string {
	t.Helper()
	digest := sha1of(file)
	index := cabinet(t, map[string]string{"package.xml": `<OfflineSyncPackage><Updates><Update CreationDate="2031-03-11T00:00:00Z" UpdateId="` + update + `" RevisionNumber="201" RevisionId="1" IsLeaf="true">
<PayloadFiles><File Id="` + digest + `"/></PayloadFiles></Update></Updates><FileLocations><FileLocation Id="` + digest + `" Url="` + address + `"/></FileLocations></OfflineSyncPackage>`})
	rest := cabinet(t, map[string]string{
		"c/1":    `<UpdateIdentity UpdateID="x" RevisionNumber="201"/><Properties UpdateType="Software"/><Relationships/><ApplicabilityRules><IsInstalled><b.FileVersion Csidl="37" Path="a.dll" Comparison="GreaterThanOrEqualTo" Version="1.2"/></IsInstalled><IsInstallable><True/></IsInstallable></ApplicabilityRules>`,
		"x/1":    fmt.Sprintf(`<ExtendedProperties MsrcSeverity="Critical" Handler="http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Cbs"><KBArticleID>9000007</KBArticleID></ExtendedProperties><Files><File Digest="%s" FileName="kb.cab" Size="%d"/></Files>`, digest, len(file)),
		"l/en/1": `<LocalizedProperties><Language>en</Language><Title>Security Update for Microsoft Word 2031 (KB9000007)</Title></LocalizedProperties>`,
	})
	return cabinet(t, map[string]string{"package.cab": string(read(t, index)), "package2.cab": string(read(t, rest))})
}

const wordUpdate = "33333333-0000-0000-0000-000000000007"

// askedWorld is a publisher of all sources whose payloads nobody's index vouches
// for. Nothing of them is to be proven by its configuration.
func askedWorld(t *testing.T) (*world, *wingettest.Vendor) {
	t.Helper()
	v := wingettest.New(t, day1)
	s := &site{title: "2031-03 Cumulative Update for Windows Server 2019 for x64-based Systems (KB" + catalogKB + ")", files: map[string][]byte{}}
	srv := httptest.NewTLSServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	signed := func(text string) []byte {
		cab := cabinet(t, map[string]string{"update.mum": text})
		v.Sign(t, cab, "Microsoft Corporation")
		return read(t, cab)
	}
	s.files["/kb.cab"], s.files["/word.cab"], s.files["/runtime.exe"] = signed("windows"), signed("word"), program(t, v, "Microsoft Corporation")
	sum := sha512.Sum512(s.files["/runtime.exe"])
	s.files["/index.json"] = []byte(`{"releases-index":[{"channel-version":"31.0","latest-release":"31.0.9","releases.json":"` + s.url + `/31.json"}]}`)
	s.files["/31.json"] = fmt.Appendf(nil, `{"channel-version":"31.0","releases":[{"release-version":"31.0.9","release-date":"2031-03-11","runtime":{"version":"31.0.9","files":[{"name":"runtime.exe","rid":"win-x64","url":"%s/runtime.exe","hash":"%s"}]}}]}`,
		s.url, hex.EncodeToString(sum[:]))
	documents, packages, dir := t.TempDir(), t.TempDir(), t.TempDir()
	put(t, filepath.Join(documents, "2031-Feb.xml"), []byte(msrctest.February().XML()))
	put(t, filepath.Join(documents, "2031-Mar.xml"), []byte(msrctest.March().XML()))
	installer := v.Build(t, wingettest.MSI{Name: "Driver", Maker: "Maker", Version: "1.0.0", ProductCode: code1, UpgradeCode: appFamily})
	v.Sign(t, installer, "Maker Inc")
	sdpPackage(t, packages, "aa", "sp1", installer)
	stranger := v.Build(t, wingettest.MSI{Name: "Driver", Maker: "Maker", Version: "2.0.0", ProductCode: code2, UpgradeCode: appFamily})
	v.Sign(t, stranger, "Taker Inc")
	sdpPackage(t, packages, "bb", "sp2", stranger)
	client, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1, Transport: srv.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: day1, cfg: publisher.Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repository"), Keys: filepath.Join(dir, "keys"),
		Microsoft:    publisher.Microsoft{MSRC: documents, Catalog: srv.URL},
		Wsusscn2:     publisher.Wsusscn2{Location: scanFile(t, wordUpdate, s.files["/word.cab"], srv.URL+"/word.cab")},
		Dotnet:       publisher.Dotnet{Location: srv.URL + "/index.json"},
		SDP:          []publisher.SDP{{Name: "maker", Location: packages, Signer: "Maker Inc"}},
		Authenticode: publisher.Authenticode{Roots: []string{v.Root}},
	}}
	w.opt = publisher.Options{Now: func() time.Time { return w.now }, Client: client}
	w.open()
	return w, v
}

// asked are patches of each source, with the catalog slice that they are in.
func asked() map[patch.ID]string {
	return map[patch.ID]string{
		"windows-server-2019:amd64:KB" + catalogKB: "windows-server-2019-amd64", "wsus:" + wordUpdate: "windows-apps-amd64",
		"dotnet:runtime:31.0.9:x64:amd64": "windows-apps-amd64", "sdp:maker:aa:amd64": "windows-apps-amd64",
	}
}

// TestProveWhatNoIndexVouchesFor: what a person asks for is fetched and proven
// now, published and installable with the next run, remembered over restarts,
// and gone when it is taken back; the same for every source.
func TestProveWhatNoIndexVouchesFor(t *testing.T) {
	w, _ := askedWorld(t)
	if r := w.once(); len(r.Rejected) > 0 {
		t.Fatalf("%+v", r)
	}
	var ids []patch.ID
	for id, platform := range asked() {
		ids = append(ids, id)
		if p := w.patch(platform, id); !p.Bulletin() {
			t.Fatalf("%s: %+v", id, p.Evidence)
		}
	}
	slices.Sort(ids)
	got, err := w.p.Prove(t.Context(), append(slices.Clone(ids), "sdp:maker:bb:amd64"), "ada", nil)
	if err != nil || len(got) != len(ids)+1 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, g := range got[:len(ids)] {
		if !g.OK || g.Untried || g.Reason != "" {
			t.Errorf("%+v", g)
		}
	}
	if bad := got[len(ids)]; bad.OK || !strings.Contains(bad.Reason, "signed by Taker Inc (Taker Inc Organization), but sp2 must be signed by Maker Inc") {
		t.Errorf("%+v", bad)
	}
	if !w.patch("windows-apps-amd64", "sdp:maker:aa:amd64").Bulletin() {
		t.Error("it is published before the next run")
	}
	if err := publisher.Forget(w.cfg, []patch.ID{"sdp:maker:bb:amd64"}); err != nil {
		t.Fatal(err)
	}
	w.installable(ids)
	if again := w.once(); again.Changed {
		t.Error("a second run without news makes a new catalog")
	}
	again, err := w.p.Prove(t.Context(), ids[:1], "bob", nil)
	if err != nil || !again[0].OK {
		t.Errorf("once more: %+v, %v", again, err)
	}
	all, err := publisher.Requests(w.cfg)
	if err != nil || len(all) != len(ids) {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, r := range all {
		if r.Patch != ids[i] || r.Who != "ada" || !r.At.Equal(day1) {
			t.Errorf("%+v", r)
		}
	}
	w.p.Close()
	w.open()
	if again := w.once(); again.Changed {
		t.Error("what was asked for is forgotten with the process")
	}
	w.forgotten(ids)
}

// installable publishes, and holds what is published against what was asked.
func (w *world) installable(ids []patch.ID) {
	w.t.Helper()
	if r := w.once(); len(r.Rejected) > 0 || !r.Changed {
		w.t.Errorf("%+v", r)
	}
	for _, id := range ids {
		p := w.patch(asked()[id], id)
		if p.Evidence.Verdict != patch.Proven || len(p.Items) != 1 || len(p.Items[0].Payload.SHA256) != 64 || p.Items[0].Payload.Signer == "" {
			w.t.Errorf("%s: %+v %+v", id, p.Evidence, p.Items)
		}
	}
	if err := w.p.Stage(w.t.Context(), ids, nil); err != nil {
		w.t.Errorf("staging: %v", err)
	}
}

// forgotten takes everything back.
func (w *world) forgotten(ids []patch.ID) {
	w.t.Helper()
	if err := publisher.Forget(w.cfg, ids); err != nil {
		w.t.Fatal(err)
	}
	if err := publisher.Forget(w.cfg, ids[:1]); !fault.Is(err, fault.NotFound) {
		w.t.Errorf("taken back twice: %v", err)
	}
	w.once()
	for _, id := range ids {
		if p := w.patch(asked()[id], id); !p.Bulletin() || len(p.Install.Argv) > 0 {
			w.t.Errorf("%s: %+v", id, p)
		}
	}
	left, err := filepath.Glob(filepath.Join(w.cfg.Data, "sources", "*", "blobs", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range left {
		if head := read(w.t, path); strings.HasPrefix(string(head), "MZ") || strings.HasPrefix(string(head), "MSCF") {
			w.t.Errorf("%s is kept", path)
		}
	}
}

// TestProveWhileAPublisherRuns: a request that is only written down is taken up
// by the next run; one that no source can do anything for is told.
func TestProveWhileAPublisherRuns(t *testing.T) {
	w, _ := askedWorld(t)
	w.once()
	if err := publisher.Ask(w.cfg, []patch.ID{"sdp:maker:aa:amd64", "sdp:gone:x:amd64"}, "ada", day1); err != nil {
		t.Fatal(err)
	}
	r := w.once()
	if w.patch("windows-apps-amd64", "sdp:maker:aa:amd64").Bulletin() {
		t.Error("the run did not take it up")
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "no source offers sdp:gone:x:amd64 any more") {
		t.Errorf("%q", r.Notes)
	}
	if s, _ := w.shard("windows-apps-amd64"); len(s.Header().Notes) > 0 {
		t.Errorf("what the operator asked for is told to everybody: %q", s.Header().Notes)
	}
	for _, id := range []patch.ID{"", "x", "../../etc/passwd", "a:b\nc", patch.ID("a:" + strings.Repeat("b", 400))} {
		if err := publisher.Ask(w.cfg, []patch.ID{id}, "ada", day1); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
	put(t, filepath.Join(w.cfg.Data, "requests", "odd.json"), []byte("{"))
	if all, err := publisher.Requests(w.cfg); !fault.Is(err, fault.Invalid) || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	if r := w.once(); r.Changed {
		t.Error("a damaged request changes what is published")
	}
}

// TestProveInVain: what can't be had or proven is told, and a patch of which no
// source knows a payload is not remembered.
func TestProveInVain(t *testing.T) {
	w, _ := askedWorld(t)
	w.once()
	if err := os.Remove(strings.TrimPrefix(w.installerOf("aa.sdp"), "file://")); err != nil {
		t.Fatal(err)
	}
	const old = "windows-server-2019:amd64:KB9000001"
	got, err := w.p.Prove(t.Context(), []patch.ID{"sdp:maker:aa:amd64", "sdp:maker:aa:arm64x"}, "ada", nil)
	if !fault.Is(err, fault.NotFound) {
		t.Fatalf("a patch that is not there: %+v, %v", got, err)
	}
	got, err = w.p.Prove(t.Context(), []patch.ID{"sdp:maker:aa:amd64"}, "ada", nil)
	if err != nil || got[0].OK || !got[0].Untried || !strings.Contains(got[0].Reason, "could not be fetched") {
		t.Errorf("%+v, %v", got, err)
	}
	w.cfg.Microsoft.Catalog = ""
	w.p.Close()
	w.open()
	w.once()
	got, err = w.p.Prove(t.Context(), []patch.ID{"windows-server-2019:amd64:KB" + catalogKB}, "ada", nil)
	if err != nil || got[0].OK || !got[0].Untried || !strings.Contains(got[0].Reason, "no configured source knows a payload of it") {
		t.Errorf("%s: %+v, %v", old, got, err)
	}
	if all, err := publisher.Requests(w.cfg); err != nil || len(all) != 1 || all[0].Patch != "sdp:maker:aa:amd64" {
		t.Errorf("%+v, %v", all, err)
	}
}

// installerOf is the address in a package of the hardware maker.
func (w *world) installerOf(name string) string {
	w.t.Helper()
	_, rest, _ := strings.Cut(string(read(w.t, filepath.Join(w.cfg.SDP[0].Location, name))), `OriginUri="`)
	address, _, _ := strings.Cut(rest, `"`)
	return address
}

// TestTrustRow2WindowsUpdate: with the configuration's word and Microsoft's
// signature on the offline scan file, an update that was not fetched is left to
// the Windows Update Agent, by its very revision, and its evidence says that
// nothing was looked at here. One that is proven is installed from its file.
func TestTrustRow2WindowsUpdate(t *testing.T) {
	w, v := askedWorld(t)
	const id, platform = "wsus:" + wordUpdate, "windows-apps-amd64"
	w.once()
	if p := w.patch(platform, id); !p.Bulletin() {
		t.Fatalf("it is not opt-in: %+v", p)
	}
	w.p.Close()
	w.cfg.Wsusscn2.WindowsUpdate = true
	if _, err := publisher.New(t.Context(), w.cfg, w.opt); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "wsusscn2.signer") {
		t.Errorf("without a signer: %v", err)
	}
	w.cfg.Wsusscn2.Signer = "Microsoft Corporation"
	v.Sign(t, w.cfg.Wsusscn2.Location, "Microsoft Corporation")
	w.open()
	if r := w.once(); !r.Changed || len(r.Notes) > 0 {
		t.Fatalf("%+v", r)
	}
	p := w.patch(platform, id)
	checks := strings.Join(p.Evidence.Checks, "\n")
	if p.Evidence.Verdict != patch.Delegated || p.Bulletin() || p.Install.Kind != "wua" || !slices.Equal(p.Install.Argv, []string{wordUpdate, "201"}) || len(p.Items) != 0 {
		t.Errorf("%+v", p)
	}
	for _, words := range []string{"signed by Microsoft Corporation, issued by Test Root", "nothing was fetched or looked at here", "its own WSUS server", "asks the Windows Update Agent for update " + wordUpdate + ", revision 201"} {
		if !strings.Contains(checks, words) {
			t.Errorf("the evidence does not say %q:\n%s", words, checks)
		}
	}
	if a, i := p.Rules(); a.Always != nil && !*a.Always || i.FileVersion == nil {
		t.Errorf("its rules are lost: %+v %+v", a, i)
	}

	got, err := w.p.Prove(t.Context(), []patch.ID{id}, "ada", nil)
	if err != nil || !got[0].OK {
		t.Errorf("%+v, %v", got, err)
	}
	w.once()
	if p := w.patch(platform, id); p.Evidence.Verdict != patch.Proven || p.Install.Kind != "cab" || len(p.Items) != 1 {
		t.Errorf("%+v", p)
	}
	if err := publisher.Forget(w.cfg, []patch.ID{id}); err != nil {
		t.Fatal(err)
	}

	v.Sign(t, w.cfg.Wsusscn2.Location, "Taker Inc") // of another signer: the file before stays
	touch(t, w.cfg.Wsusscn2.Location)
	r := w.once()
	if h := r.Sources[1]; h.Source != "wsusscn2" || !strings.Contains(h.LastError, "the catalog's own signature") {
		t.Errorf("%+v", h)
	}
}
