package publisher_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget/wingettest"
)

const (
	code1, code2 = "{11111111-1111-1111-1111-111111111111}", "{22222222-2222-2222-2222-222222222222}"
	code3        = "{33333333-3333-3333-3333-333333333333}"
	appFamily    = "{AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA}"
)

// newApps is a publisher with a folder of manifests alone.
func newApps(t *testing.T) (*world, *wingettest.Vendor) {
	t.Helper()
	v := wingettest.New(t, day1)
	fetcher, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1, Proxy: "direct"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := &world{t: t, now: day1, cfg: publisher.Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repository"), Keys: filepath.Join(dir, "keys"),
		Winget:       publisher.Winget{Manifests: v.Manifests, Packages: []string{"Maker.**"}},
		Authenticode: publisher.Authenticode{Roots: []string{v.Root}},
	}}
	w.opt = publisher.Options{Now: func() time.Time { return w.now }, Client: fetcher}
	return w, v
}

// publishTool offers a version of the tool, signed.
func publishTool(t *testing.T, v *wingettest.Vendor, version, productCode, signer string, fields ...string) string {
	t.Helper()
	path := v.Build(t, wingettest.MSI{Name: "Tool", Maker: "Maker", Version: version, ProductCode: productCode, UpgradeCode: appFamily})
	if signer != "" {
		v.Sign(t, path, signer)
	}
	fields = append([]string{"Scope: machine", "ProductCode: '" + productCode + "'", "AppsAndFeaturesEntries:", "- UpgradeCode: '" + appFamily + "'"}, fields...)
	v.Publish(t, "Maker.Tool", version, "Tool", "Maker Inc.", version == "2.0.0", wingettest.Installer{Arch: "x64", Type: "wix", Path: path, Fields: fields})
	return path
}

// TestWingetPublishes: from a folder of manifests to a signed catalog that says
// what a machine lacks and whose installer it is.
func TestWingetPublishes(t *testing.T) {
	w, v := newApps(t)
	publishTool(t, v, "1.0.0", code1, "Maker Inc")
	path := publishTool(t, v, "2.0.0", code2, "Maker Inc", "InstallerSwitches:", "  Custom: ADDLOCAL=ALL", "ExpectedReturnCodes:", "- InstallerReturnCode: 5", "  ReturnResponse: packageInUse")
	w.open()
	r := w.once()
	if len(r.Rejected) > 0 || len(r.Shards) != 2 || r.Sources[0].Counts.Patches != 4 {
		t.Fatalf("%+v", r)
	}
	p := w.patch("windows-apps-amd64", "winget:Maker.Tool:2.0.0:amd64:wix")
	sum := wingettest.Sum(t, path)
	want := patch.Payload{SHA256: sum, Size: size(t, path), Name: "Maker.Tool_amd64.msi", URL: "file://" + path, Signer: "Maker Inc"}
	for _, it := range p.Items {
		if diff := cmp.Diff(want, it.Payload); diff != "" {
			t.Errorf("payload (-want +got):\n%s", diff)
		}
	}
	manifest := patch.Manifest{
		Kind: "msi", Argv: []string{"ADDLOCAL=ALL"}, UninstallArgv: []string{code2}, Restores: "winget:Maker.Tool:1.0.0:amd64:wix",
		Scope: "machine", ExitCodes: map[int]patch.ExitMeaning{5: patch.ExitBusy}, Reboot: patch.RebootMaybe,
	}
	if diff := cmp.Diff(manifest, p.Install); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	if p.Evidence.Verdict != patch.Proven || !strings.Contains(strings.Join(p.Evidence.Checks, "\n"), "Authenticode signature by Maker Inc (Maker Inc Organization), issued by Test Root") {
		t.Errorf("evidence %+v", p.Evidence)
	}
	s, _ := w.shard("windows-apps-amd64")
	if c := s.Header().CodeSigning; c == nil || len(c.Roots) != 1 {
		t.Errorf("code signing %+v", c)
	}
	machine := &inventory.Snapshot{OS: inventory.OS{Family: "windows", ID: "windows", Version: "10-1903", Arch: "amd64"}, Packages: []inventory.Package{
		{Kind: "arp", Name: code1, Arch: "amd64", Version: "1.0.0", Title: "Tool", Publisher: "Maker", UpgradeCode: appFamily},
	}}
	found, err := catalog.Assess([]*catalog.Shard{s}, machine, nil)
	if err != nil || len(found) != 1 || found[0].Patch != p.ID || found[0].State != catalog.Missing {
		t.Errorf("found %+v, %v", found, err)
	}
	if err := w.p.Payload(t.Context(), sum); err != nil {
		t.Errorf("the payload does not come into the repository: %v", err)
	}
	proven, err := w.p.Prove(t.Context(), []patch.ID{p.ID}, "ada", nil)
	if err != nil || len(proven) != 1 || !proven[0].OK {
		t.Errorf("proving: %+v, %v", proven, err)
	}
	if err := w.p.Stage(t.Context(), []patch.ID{"winget:Maker.Tool:1.0.0:amd64:wix"}, nil); err != nil {
		t.Errorf("staging: %v", err)
	}
	if again := w.once(); again.Changed {
		t.Error("a second run without news makes a new catalog")
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestWingetSignerChanges: who signs a product is pinned; another signer is
// refused until the operator says that it is right. Unsigned installers are
// told of and never offered.
func TestWingetSignerChanges(t *testing.T) {
	w, v := newApps(t)
	publishTool(t, v, "1.0.0", code1, "Maker Inc")
	w.open()
	w.once()
	publishTool(t, v, "2.0.0", code2, "Taker Inc")
	publishTool(t, v, "3.0.0", code3, "")
	r := w.once()
	if len(r.Rejected) != 2 || !strings.Contains(r.Rejected[0].Reason, "signed by Taker Inc (Taker Inc Organization), but Maker.Tool must be signed by Maker Inc") {
		t.Errorf("rejected %+v", r.Rejected)
	}
	unsigned := w.patch("windows-apps-amd64", "winget:Maker.Tool:3.0.0:amd64:wix")
	if unsigned.Evidence.Verdict != patch.Unproven || !strings.Contains(unsigned.Evidence.Checks[0], "nothing is installed from it") ||
		unsigned.Items[0].Payload != (patch.Payload{}) || len(unsigned.Install.Argv)+len(unsigned.Install.UninstallArgv) > 0 || unsigned.Install.Restores != "" {
		t.Errorf("unsigned: %+v", unsigned)
	}
	w.p.Close()
	w.cfg.Authenticode.Publishers = map[string]string{"maker.tool": "Taker Inc Organization"}
	w.open()
	r = w.once()
	if len(r.Rejected) != 2 || !strings.Contains(r.Rejected[0].Reason, "must be signed by Taker Inc Organization") {
		t.Errorf("rejected %+v", r.Rejected)
	}
	if p := w.patch("windows-apps-amd64", "winget:Maker.Tool:2.0.0:amd64:wix"); p.Items[0].Payload.Signer != "Taker Inc Organization" || p.Install.Restores != "" {
		t.Errorf("confirmed: %+v", p)
	}
}

// TestWingetWithoutRoots: without roots nobody is believed.
func TestWingetWithoutRoots(t *testing.T) {
	w, v := newApps(t)
	w.cfg.Authenticode.Roots = nil
	publishTool(t, v, "1.0.0", code1, "Maker Inc")
	w.open()
	w.once()
	p := w.patch("windows-apps-amd64", "winget:Maker.Tool:1.0.0:amd64:wix")
	if p.Evidence.Verdict != patch.Unproven || !strings.Contains(p.Evidence.Checks[0], "no roots of code-signing certificates are configured") {
		t.Errorf("%+v", p.Evidence)
	}
	w.p.Close()
	w.cfg.Authenticode.Roots = []string{v.Root}
	w.open()
	w.once()
	if p := w.patch("windows-apps-amd64", "winget:Maker.Tool:1.0.0:amd64:wix"); p.Evidence.Verdict != patch.Proven {
		t.Errorf("after the roots were named: %+v", p.Evidence)
	}
}

// TestWingetDownloads: installers come over HTTP, and one that differs from its
// manifest, is too large or is gone is told with the reason.
func TestWingetDownloads(t *testing.T) {
	w, v := newApps(t)
	srv := httptest.NewServer(http.FileServer(http.Dir(v.Dir)))
	t.Cleanup(srv.Close)
	path := publishTool(t, v, "1.0.0", code1, "Maker Inc")
	v.Publish(t, "Maker.Tool", "1.0.0", "Tool", "Maker", false, wingettest.Installer{Arch: "x64", Type: "wix", Path: path, URL: srv.URL + "/Tool-1.0.0.msi", Fields: []string{"ProductCode: '" + code1 + "'"}})
	v.Publish(t, "Maker.Gone", "1.0.0", "Gone", "Maker", false, wingettest.Installer{Arch: "x64", Type: "wix", Path: v.Root, URL: srv.URL + "/gone.msi"})
	other := publishTool(t, v, "1.5.0", code2, "Maker Inc")
	v.Publish(t, "Maker.Other", "1.0.0", "Other", "Maker", false, wingettest.Installer{Arch: "x64", Type: "wix", Path: other, URL: srv.URL + "/Tool-1.0.0.msi"})
	w.cfg.Winget.Packages = []string{"maker.tool", "Maker.Gone", "Maker.Oth*"}
	w.open()
	w.once()
	for id, says := range map[patch.ID]string{
		"winget:Maker.Tool:1.0.0:amd64:wix": "", "winget:Maker.Gone:1.0.0:amd64:wix": "404", "winget:Maker.Other:1.0.0:amd64:wix": "could not be fetched",
	} {
		p := w.patch("windows-apps-amd64", id)
		text := strings.Join(p.Evidence.Checks, "; ")
		if (says == "") != (p.Evidence.Verdict == patch.Proven) || !strings.Contains(text, says) {
			t.Errorf("%s: %+v", id, p.Evidence)
		}
	}
}

// TestLoadWinget: package identifiers have dots, which are no levels.
func TestLoadWinget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "publisher.yaml")
	text := `
data: /d
repository: /r
keys: /k
winget:
  manifests: /srv/manifests
  index: /srv/index.json
  packages: [Mozilla.Firefox, "Acme.**"]
  keep: 2
  max_installer_mib: 100
  cves: file:///srv/cves.json
  mozilla: /srv/mfsa
authenticode:
  roots: [/etc/roots.pem]
  timestamp_roots: [/etc/tsa.pem]
  publishers:
    Mozilla.Firefox: Mozilla Corporation
    Acme.Tool.x64: Acme
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := publisher.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := publisher.Winget{
		Manifests: "/srv/manifests", Index: "/srv/index.json", Packages: []string{"Mozilla.Firefox", "Acme.**"}, Keep: 2, MaxInstaller: 100, CVEs: "file:///srv/cves.json", Mozilla: "/srv/mfsa",
	}
	if diff := cmp.Diff(want, got.Winget); diff != "" {
		t.Errorf("winget (-want +got):\n%s", diff)
	}
	code := publisher.Authenticode{
		Roots: []string{"/etc/roots.pem"}, TimestampRoots: []string{"/etc/tsa.pem"},
		Publishers: map[string]string{"Mozilla.Firefox": "Mozilla Corporation", "Acme.Tool.x64": "Acme"},
	}
	if diff := cmp.Diff(code, got.Authenticode); diff != "" {
		t.Errorf("authenticode (-want +got):\n%s", diff)
	}
}

// TestCircleIsRefused: of packages that need each other the one that came last
// is rejected by name, and what needs it is left out; the rest is published.
func TestCircleIsRefused(t *testing.T) {
	w, v := newApps(t)
	needs := func(id string, day, other string) {
		path := v.Build(t, wingettest.MSI{Name: id, Maker: "Maker", Version: "1.0.0", ProductCode: code1, UpgradeCode: appFamily})
		v.Sign(t, path, "Maker Inc")
		v.Publish(t, "Maker."+id, "1.0.0", id, "Maker", false, wingettest.Installer{Arch: "x64", Type: "wix", Path: path, Fields: []string{
			"ReleaseDate: " + day, "Dependencies:", "  PackageDependencies:", "  - PackageIdentifier: " + other,
		}})
	}
	needs("Apple", "2026-01-02", "Maker.Pear")
	needs("Pear", "2026-01-01", "Maker.Apple")
	publishTool(t, v, "1.0.0", code2, "Maker Inc")
	w.open()
	r := w.once()
	if len(r.Rejected) != 2 || r.Rejected[0].Patch != "winget:Maker.Apple:1.0.0:amd64:wix" ||
		!strings.Contains(r.Rejected[0].Reason, "winget:Maker.Apple:1.0.0:amd64:wix -> winget:Maker.Pear:1.0.0:amd64:wix -> winget:Maker.Apple:1.0.0:amd64:wix") {
		t.Errorf("rejected %+v", r.Rejected)
	}
	s, _ := w.shard("windows-apps-amd64")
	if n := s.Counts().Patches; n != 1 || !strings.Contains(strings.Join(s.Header().Notes, "\n"), "Maker.Pear:1.0.0:amd64:wix is left out: it requires") {
		t.Errorf("%d patches, notes %q", n, s.Header().Notes)
	}
}

// TestWingetReadsPackages: a package's own codes count where the manifest names
// none, and one that is another than the manifest says is not offered.
func TestWingetReadsPackages(t *testing.T) {
	w, v := newApps(t)
	path := v.Build(t, wingettest.MSI{Name: "Tool", Maker: "Maker", Version: "1.0.0", ProductCode: code1, UpgradeCode: appFamily})
	v.Sign(t, path, "Maker Inc")
	v.Publish(t, "Maker.Tool.7", "1.0.0", "Tool", "Maker", false, wingettest.Installer{Arch: "x64", Type: "msi", Path: path})
	v.Publish(t, "Maker.Fool", "1.0.0", "Fool", "Maker", false, wingettest.Installer{Arch: "x64", Type: "msi", Path: path, Fields: []string{"ProductCode: '" + code2 + "'"}})
	v.Publish(t, "Maker.None", "1.0.0", "None", "Maker", false, wingettest.Installer{Arch: "x64", Type: "msi", Path: v.Root})
	w.open()
	w.once()
	p := w.patch("windows-apps-amd64", "winget:Maker.Tool.7:1.0.0:amd64:msi")
	var names []string
	for _, it := range p.Items {
		names = append(names, it.Kind+" "+it.Name)
	}
	if diff := cmp.Diff([]string{"arp " + code1, "upgrade " + appFamily}, names); diff != "" || p.Evidence.Verdict != patch.Proven || p.Install.UninstallArgv[0] != code1 {
		t.Errorf("%+v %s", p, diff)
	}
	for id, says := range map[patch.ID]string{
		"winget:Maker.Fool:1.0.0:amd64:msi": "the manifest names product code " + code2 + ", the package itself " + code1,
		"winget:Maker.None:1.0.0:amd64:msi": "not a compound file",
	} {
		if p := w.patch("windows-apps-amd64", id); p.Evidence.Verdict != patch.Unproven || !strings.Contains(p.Evidence.Checks[0], says) {
			t.Errorf("%s: %+v, want %q", id, p.Evidence, says)
		}
	}
}

// TestWingetLost: when the source's folder is lost and the manifests are out of
// reach, nothing is published, rather than a catalog without applications.
func TestWingetLost(t *testing.T) {
	w, v := newApps(t)
	publishTool(t, v, "1.0.0", code1, "Maker Inc")
	w.open()
	w.once()
	for _, dir := range []string{v.Manifests, filepath.Join(w.cfg.Data, "sources", "winget", "blobs")} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(w.cfg.Data, "sources", "winget", "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.Once(t.Context(), nil); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "winget") {
		t.Errorf("it says %v", err)
	}
	w.patch("windows-apps-amd64", "winget:Maker.Tool:1.0.0:amd64:wix")
}

// TestWingetDelta: a new version of one application travels as a delta.
func TestWingetDelta(t *testing.T) {
	w, v := newApps(t)
	file := filepath.Join(v.Dir, "setup.exe")
	if err := os.WriteFile(file, []byte("unsigned"), 0o600); err != nil {
		t.Fatal(err)
	}
	offer := func(name, version string) {
		v.Publish(t, "Maker."+name, version, "Application "+name, "Maker", false, wingettest.Installer{
			Arch: "x64", Type: "inno", Path: file, Fields: []string{"ProductCode: " + wingettest.Sum(t, v.Root)[:20] + name},
		})
	}
	for i := range 40 {
		offer("App"+strconv.Itoa(i), "1."+strconv.Itoa(i*7919))
	}
	w.open()
	w.once()
	_, before := w.shard("windows-apps-amd64")
	if err := os.WriteFile(file, []byte("unsigned, and newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	offer("App7", "99.0")
	r := w.once()
	if r.Version != 2 || r.Shards[0].Platform != "windows-apps-amd64" || r.Shards[0].Delta == 0 {
		t.Fatalf("%+v", r.Shards)
	}
	_, after := w.shard("windows-apps-amd64")
	w.checkDelta("windows-apps-amd64", 1, 2, before, after)
}
