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
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fetch"
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
