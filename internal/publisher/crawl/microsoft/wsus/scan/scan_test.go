package scan

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// tree are files of a scan file that is made for a test, by path; cabinets are
// named by their folder.
type tree map[string]string

// pack makes a cabinet of cabinets with gcab.
func (f tree) pack(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	cabs := map[string][]string{}
	for path, text := range f {
		cab, name, _ := strings.Cut(path, "/")
		cabs[cab] = append(cabs[cab], name)
		to := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gcab := func(in string, argv ...string) {
		cmd := exec.Command("gcab", append([]string{"-c", "-z"}, argv...)...)
		cmd.Dir = in
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gcab: %v %s", err, said)
		}
	}
	names := []string{}
	for cab, files := range cabs {
		slices.Sort(files)
		gcab(filepath.Join(dir, cab), append([]string{filepath.Join(dir, cab+".cab")}, files...)...)
		names = append(names, cab+".cab")
	}
	slices.Sort(names)
	gcab(dir, append([]string{"wsusscn2.cab"}, names...)...)
	return filepath.Join(dir, "wsusscn2.cab")
}

const (
	x64      = "11111111-0000-0000-0000-000000000001" // detectoid: a 64-bit machine
	ten      = "11111111-0000-0000-0000-000000000002" // category: Windows 10, by its detectoid
	stack    = "22222222-0000-0000-0000-000000000001"
	old      = "22222222-0000-0000-0000-000000000002"
	newer    = "22222222-0000-0000-0000-000000000003"
	part     = "22222222-0000-0000-0000-000000000004"
	odd      = "22222222-0000-0000-0000-000000000005"
	lost     = "22222222-0000-0000-0000-000000000006"
	office   = "22222222-0000-0000-0000-000000000007"
	security = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
)

func payload() []byte { return []byte("MSCF a patch") }

func payloadDigest() string {
	sum := sha1.Sum(payload()) //nolint:gosec // what the file names
	return base64.StdEncoding.EncodeToString(sum[:])
}

// fixture is a scan file with a servicing stack, two cumulative updates of
// which one replaces the other and is a bundle, an update with a rule that is
// not known, one that asks for what is not there, and one of another product.
func fixture(address string) tree {
	update := func(id string, rev, number int, attrs, inner string) string {
		return fmt.Sprintf(`<Update CreationDate="2031-0%d-11T00:00:00Z" UpdateId="%s" RevisionNumber="%d" RevisionId="%d" %s>%s</Update>`, rev%9+1, id, number, rev, attrs, inner)
	}
	class := `<Categories><Category Type="UpdateClassification" Id="` + strings.ToUpper(security) + `"/></Categories>`
	core := func(kind, relations, rules string) string {
		return `<UpdateIdentity UpdateID="x" RevisionNumber="1"/><Properties UpdateType="` + kind + `"/><Relationships>` + relations + `</Relationships>` + rules
	}
	rules := func(installed, installable string) string {
		return "<ApplicabilityRules><IsInstalled>" + installed + "</IsInstalled><IsInstallable>" + installable + "</IsInstallable></ApplicabilityRules>"
	}
	asks := func(ids ...string) string {
		text := "<Prerequisites>"
		for _, id := range ids {
			text += `<UpdateIdentity UpdateID="` + strings.ToUpper(id) + `"/>`
		}
		return text + `<AtLeastOne IsCategory="true"><UpdateIdentity UpdateID="` + security + `"/></AtLeastOne></Prerequisites>`
	}
	file := func(version string) string {
		return `<b.FileVersion Csidl="37" Path="ntoskrnl.exe" Comparison="GreaterThanOrEqualTo" Version="` + version + `"/>`
	}
	title := func(s string) string {
		return "<LocalizedProperties><Language>en</Language><Title>" + s + "</Title></LocalizedProperties>"
	}
	return tree{
		"package/package.xml": `<?xml version="1.0"?><OfflineSyncPackage PackageId="p"><Updates>` +
			update(x64, 1, 1, "", "") + update(ten, 2, 1, "", "") +
			update(stack, 3, 200, `IsLeaf="false"`, class) + update(old, 4, 200, `IsLeaf="true"`, class) +
			update(newer, 5, 201, `IsLeaf="true" IsBundle="true"`, class) +
			update(part, 6, 201, `IsLeaf="true"`, `<PayloadFiles><File Id="`+payloadDigest()+`"/></PayloadFiles><BundledBy><Revision Id="5"/></BundledBy>`) +
			update(odd, 7, 1, `IsLeaf="true"`, class) + update(lost, 8, 1, `IsLeaf="true"`, class) + update(office, 9, 1, `IsLeaf="true"`, class) +
			`</Updates><FileLocations><FileLocation Id="` + payloadDigest() + `" Url="` + address + `/kb.cab"/><FileLocation Id="other" Url="http://vendor.example/x"/></FileLocations></OfflineSyncPackage>`,
		"package2/c/1":    core("Detectoid", "", rules(`<b.Processor Architecture="9"/>`, "")),
		"package2/c/2":    core("Category", `<Prerequisites><UpdateIdentity UpdateID="`+x64+`"/></Prerequisites>`, rules(`<b.WindowsVersion Comparison="EqualTo" MajorVersion="10" MinorVersion="0"/>`, "")),
		"package2/c/3":    core("Software", asks(ten), rules(`<CbsPackageInstalledByIdentity PackageIdentity="stack~1"/>`, "<True/>")),
		"package2/c/4":    core("Software", asks(ten, stack), rules(file("10.0.17763.1"), "<True/>")),
		"package2/x/3":    `<ExtendedProperties MsrcSeverity="Critical"><KBArticleID>9000001</KBArticleID></ExtendedProperties>`,
		"package2/x/4":    `<ExtendedProperties MsrcSeverity="Important"><KBArticleID>9000002</KBArticleID></ExtendedProperties>`,
		"package2/l/en/3": title("2031-04 Servicing Stack Update for Windows 10 Version 1809 for x64-based Systems (KB9000001)"),
		"package2/l/en/4": title("2031-05 Cumulative Update for Windows 10 Version 1809 for x64-based Systems (KB9000002)"),
		"package2/l/de/4": title("Kumulatives Update"), "package2/c/77": "not of an update",
		"package3/c/5":    core("Software", asks(ten, stack)+`<SupersededUpdates><UpdateIdentity UpdateID="`+old+`"/></SupersededUpdates><BundledUpdates><UpdateIdentity UpdateID="`+part+`"/></BundledUpdates>`, ""),
		"package3/c/6":    core("Software", "", rules(file("10.0.17763.2"), `<b.RegSz Key="HKEY_LOCAL_MACHINE" Subkey="a" Value="b" Comparison="BeginsWith" Data="c"/>`)),
		"package3/x/5":    `<ExtendedProperties MsrcSeverity="Critical"><KBArticleID>9000003</KBArticleID></ExtendedProperties>`,
		"package3/x/6":    fmt.Sprintf(`<ExtendedProperties Handler="http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Cbs"><InstallationBehavior RebootBehavior="AlwaysRequiresReboot"/></ExtendedProperties><Files><File Digest="%s" FileName="kb.cab" Size="%d"/><File Digest="x" FileName="kb.psf" Size="1"/></Files>`, payloadDigest(), len(payload())),
		"package3/l/en/5": title("2031-06 Cumulative Update for Windows 10 Version 1809 for x64-based Systems (KB9000003)"),
		"package3/c/7":    core("Software", asks(ten), rules(`<b.SystemMetric Comparison="EqualTo" Index="1" Value="2"/>`, "")), "package3/l/en/7": title("Odd Update for Windows 7 (KB9000004)"),
		"package3/c/8": core("Software", asks("99999999-0000-0000-0000-000000000000"), rules("<False/>", "")), "package3/l/en/8": title("Lost Update for Windows 7 (KB9000005)"),
		"package3/c/9": core("Software", "", rules("<False/>", "<True/>")), "package3/l/en/9": title("Security Update for Microsoft Word 2031 (KB9000006)"),
	}
}

// machine answers what the fixture's rules ask.
type machine struct {
	detect.Facts
	kernel, text string
}

func (m machine) OS() (detect.OSFact, error) {
	return detect.OSFact{Family: "windows", Build: "10.0.17763.1", Arch: "amd64"}, nil
}

func (m machine) File(string) (detect.FileFact, error) {
	return detect.FileFact{Exists: true, Version: m.kernel}, nil
}

func (m machine) Registry(string, string, string) (detect.RegistryFact, error) {
	return detect.RegistryFact{Exists: m.text != "", Type: "sz", Data: m.text}, nil
}

func (m machine) Packages(string, string) ([]detect.PackageFact, error) { return nil, nil }

// TestFixture: from the network to patches, and what they say of machines.
func TestFixture(t *testing.T) {
	var file []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/kb.cab" {
			_, _ = w.Write(payload())
			return
		}
		_, _ = w.Write(file)
	}))
	defer srv.Close()
	raw, err := os.ReadFile(fixture(srv.URL).pack(t))
	if err != nil {
		t.Fatal(err)
	}
	file = raw
	s, dir := feedtest.Source(t, New, Config{Location: srv.URL + "/wsusscn2.cab", Prove: []string{"kb9000003"}})
	got, err := s.Fetch(t.Context(), dir, nil)
	if err != nil || !got.Changed {
		t.Fatal(err)
	}
	out, err := s.Parse(t.Context(), dir, got.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	byID := map[patch.ID]patch.Patch{}
	for _, p := range out.Patches {
		ids = append(ids, string(p.ID))
		byID[p.ID] = p
	}
	want := []string{"windows-10-1809:amd64:KB9000001", "windows-10-1809:amd64:KB9000002", "windows-10-1809:amd64:KB9000003", "wsus:" + office}
	if !slices.Equal(ids, want) {
		t.Fatalf("%v\n%v", ids, out.Rejected)
	}
	reasons := fmt.Sprint(out.Rejected)
	if !strings.Contains(reasons, "SystemMetric") || !strings.Contains(reasons, "prerequisite is not in the file") || len(out.Rejected) != 2 {
		t.Errorf("%v", out.Rejected)
	}
	p := byID["windows-10-1809:amd64:KB9000003"]
	if !slices.Equal(p.Supersedes, []patch.ID{"windows-10-1809:amd64:KB9000002"}) || !slices.Equal(p.Requires, []patch.ID{"windows-10-1809:amd64:KB9000001"}) ||
		p.Classification != patch.Security || p.Severity != patch.Critical || p.Install.Kind != "cab" || p.Install.Reboot != patch.RebootAlways {
		t.Errorf("%+v", p)
	}
	if pay := p.Items[0].Payload; len(pay.SHA256) != 64 || !s.Offers(got.Fingerprint, pay.SHA256) || pay.URL != srv.URL+"/kb.cab" {
		t.Errorf("%+v", pay)
	}
	a, i := p.Rules()
	for _, c := range []struct {
		m          machine
		can, there detect.Value
	}{
		{machine{kernel: "10.0.17763.1", text: "cold"}, detect.True, detect.False},
		{machine{kernel: "10.0.17763.2", text: "cold"}, detect.True, detect.True},
		{machine{kernel: "10.0.17763.1", text: "warm"}, detect.False, detect.False},
	} {
		if can, there := detect.Eval(a, c.m).Value, detect.Eval(i, c.m).Value; can != c.can || there != c.there {
			t.Errorf("%+v: applicable %s, installed %s", c.m, can, there)
		}
	}
	if merged, err := catalog.Merge(catalog.Contents{Header: catalog.Header{Format: catalog.Format, Platform: "windows-10-1809-amd64"}, Patches: out.Patches[:3]}); err != nil || len(merged.Header.Notes) > 0 {
		t.Error(err, merged.Header.Notes)
	}
	if again, err := s.Fetch(t.Context(), dir, got.Fingerprint); err != nil || again.Changed {
		t.Error(again.Changed, err)
	}
	file = []byte("MSCF")
	if _, err := s.Fetch(t.Context(), dir, got.Fingerprint); !fault.Is(err, fault.Invalid) {
		t.Errorf("a damaged file: %v", err)
	}
}

// TestReal reads the real file, reduced: its layout is the whole one's.
func TestReal(t *testing.T) {
	f, err := os.Open(feedtest.Path(t, "wsusscn2/wsusscn2.reduced.cab"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := Parse(f, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Counts{Cabinets: 3, Updates: 4, Fragments: 9}); got.Counts != want {
		t.Errorf("%+v, want %+v", got.Counts, want)
	}
	out := output(got)
	for _, u := range got.Updates[:3] {
		if u.Title == "" || u.KB == "" || u.Type != "Software" || len(u.Prerequisites) < 3 || len(u.Bundles) != 1 {
			t.Errorf("%+v", u)
		}
	}
	// The parts of these bundles are not in the reduced file.
	if len(out.Patches) != 0 || len(out.Rejected) != 1 || !strings.Contains(out.Rejected[0].What, "3 updates") {
		t.Errorf("%v, %v", out.Patches, out.Rejected)
	}
}

func TestRefuses(t *testing.T) {
	for name, f := range map[string]tree{
		"no offline scan file": {"package/readme.txt": "x"},
		"not well-formed":      {"package/package.xml": "<OfflineSyncPackage><Updates>"},
		"begins with":          {"package/package.xml": "<html><body/></html>"},
		"not as it must be":    {"package/package.xml": `<OfflineSyncPackage><Updates><Update UpdateId="x" RevisionId="1"/></Updates></OfflineSyncPackage>`},
		"in front of":          {"another/c/1": "x", "package/package.xml": "<OfflineSyncPackage/>"},
	} {
		raw, err := os.ReadFile(f.pack(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(bytes.NewReader(raw), time.Time{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []Config{{}, {Location: "relative"}, {Location: "ftp://vendor.example/x"}, {Location: "default", Since: "last year"}} {
		if _, err := New(c, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestOwnPackage: the rules of a fragment speak of the package whose manifest
// stands behind them, and an update whose other rule is not known is none.
func TestOwnPackage(t *testing.T) {
	fragment := func(installable string) string {
		return `<Properties UpdateType="Software"/><ApplicabilityRules><IsInstalled><CbsPackageInstalled/></IsInstalled><IsInstallable>` + installable + `</IsInstallable>
<Metadata><CbsPackageApplicabilityMetadata><assembly xmlns="urn:schemas-microsoft-com:asm.v3"><assemblyIdentity name="Package_for_Tool" version="1.2.3.4" processorArchitecture="x86" language="neutral" publicKeyToken="31bf3856ad364e35"/>
<package identifier="KB9000008"><parent><assemblyIdentity name="Parent" version="1.0.0.0"/></parent></package></assembly></CbsPackageApplicabilityMetadata></Metadata></ApplicabilityRules>`
	}
	made := func(installable string) crawl.Output {
		u := &Update{ID: office, Title: "Tool"}
		if err := core(strings.NewReader(fragment(installable)), u); err != nil {
			t.Fatal(err)
		}
		return output(Scan{Updates: []*Update{u}})
	}
	out := made("<True/>")
	if len(out.Patches) != 1 {
		t.Fatal(out.Rejected)
	}
	_, installed := out.Patches[0].Rules()
	want := detect.Rule{Package: &detect.Package{Kind: "cbs", Name: "Package_for_Tool~31bf3856ad364e35~x86~~1.2.3.4"}}
	if diff := cmp.Diff(want, installed); diff != "" {
		t.Error(diff)
	}
	out = made("<CbsPackageInstallable/>")
	if len(out.Patches) != 0 || len(out.Rejected) != 1 || !strings.Contains(out.Rejected[0].Reason, "CbsPackageInstallable") {
		t.Errorf("%+v", out)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func FuzzFragments(f *testing.F) {
	for path, text := range fixture("http://vendor.example") {
		if strings.Contains(path, "/c/") || strings.Contains(path, "/x/") || strings.Contains(path, "/l/") {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		u := &Update{ID: "a", Title: "x"}
		for _, read := range []func(io.Reader, *Update) error{core, extended, localized} {
			_ = read(strings.NewReader(text), u) // an error is an answer
		}
		u.Type, u.Bundled = "Software", false
		for _, p := range output(Scan{Updates: []*Update{u}}).Patches {
			if a, i := p.Rules(); a.Validate() != nil || i.Validate() != nil {
				t.Fatalf("%s has a rule that is not valid", p.ID)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add(fixture("http://vendor.example")["package/package.xml"])
	f.Fuzz(func(t *testing.T, text string) {
		p := &parser{byRevision: map[uint32]*Update{}}
		if p.index(strings.NewReader(text)) == nil && len(p.order) != len(p.byRevision) {
			t.Fatal("an update is lost")
		}
	})
}

var _ crawl.Shelf = (*Source)(nil)

// TestTrustRow2NoLocalFiles: an offline scan file of the network does not name a
// file of this machine as an update's payload.
func TestTrustRow2NoLocalFiles(t *testing.T) {
	raw, err := os.ReadFile(fixture(feedtest.Secret(t, "kb.cab", payload())).pack(t))
	if err != nil {
		t.Fatal(err)
	}
	s, dir := feedtest.Source(t, New, Config{Location: feedtest.Serve(t, raw) + "/wsusscn2.cab", Prove: []string{"KB9000003"}})
	got, err := s.Fetch(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	feedtest.NotRead(t, s.Recall(got.Fingerprint).Learned)
}
