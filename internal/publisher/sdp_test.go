package publisher_test

import (
	"crypto/sha1" //nolint:gosec // what packages name
	"encoding/base64"
	"fmt"
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
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget/wingettest"
)

// sdpPackage writes a software distribution package whose installer is a file.
func sdpPackage(t *testing.T, dir, id, kb, installer string) {
	t.Helper()
	raw, err := os.ReadFile(installer)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(raw) //nolint:gosec // what packages name
	text := fmt.Sprintf(`<sdp:SoftwareDistributionPackage xmlns:sdp="urn:sdp" xmlns:bar="urn:bar" xmlns:msi="urn:msi">
<sdp:Properties PackageID="%[1]s" VendorName="Maker" CreationDate="2031-01-01T00:00:00Z"><sdp:ProductName>Driver</sdp:ProductName></sdp:Properties>
<sdp:LocalizedProperties><sdp:Language>en</sdp:Language><sdp:Title>Driver %[2]s [1.0.0]</sdp:Title></sdp:LocalizedProperties>
<sdp:UpdateSpecificData MsrcSeverity="Important" UpdateClassification="Updates"><sdp:KBArticleID>%[2]s</sdp:KBArticleID></sdp:UpdateSpecificData>
<sdp:IsInstallable><bar:Processor Architecture="9"/></sdp:IsInstallable>
<sdp:InstallableItem ID="i%[1]s"><sdp:ApplicabilityRules><sdp:IsInstalled><bar:FileVersion Csidl="37" Path="drivers\a.sys" Comparison="GreaterThanOrEqualTo" Version="1.0.0.0"/></sdp:IsInstalled></sdp:ApplicabilityRules>
<sdp:InstallProperties RebootBehavior="NeverReboots"/><msi:MsiInstallerData MsiFile="%[3]s" CommandLine="REBOOT=ReallySuppress" ProductCode="{1}"/>
<sdp:OriginFile Digest="%[4]s" FileName="%[3]s" Size="%[5]d" OriginUri="file://%[6]s"/></sdp:InstallableItem></sdp:SoftwareDistributionPackage>`,
		id, kb, filepath.Base(installer), base64.StdEncoding.EncodeToString(sum[:]), len(raw), installer)
	if err := os.WriteFile(filepath.Join(dir, id+".sdp"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSDPPublishes: a package whose installer is named with SHA-1 is published
// with its rules; what is to be proven is fetched, its SHA-256 is learned and
// its signature held, and only then it can be installed.
func TestSDPPublishes(t *testing.T) {
	v := wingettest.New(t, day1)
	build := func(version, code, signer string) string {
		path := v.Build(t, wingettest.MSI{Name: "Driver", Maker: "Maker", Version: version, ProductCode: code, UpgradeCode: appFamily})
		v.Sign(t, path, signer)
		return path
	}
	right, other := build("1.0.0", code1, "Maker Inc"), build("2.0.0", code2, "Taker Inc")
	from, dir := t.TempDir(), t.TempDir()
	sdpPackage(t, from, "aa", "sp1", right)
	sdpPackage(t, from, "bb", "sp2", other)
	w := &world{t: t, now: day1, cfg: publisher.Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repository"), Keys: filepath.Join(dir, "keys"),
		SDP:          []publisher.SDP{{Name: "maker", Location: from, Signer: "Maker Inc"}},
		Authenticode: publisher.Authenticode{Roots: []string{v.Root}},
	}}
	w.opt = publisher.Options{Now: func() time.Time { return w.now }, Client: loopback(t)}
	w.open()
	if r := w.once(); len(r.Rejected) > 0 || len(r.Shards) != 1 {
		t.Fatalf("%+v", r)
	}
	p := w.patch("windows-apps-amd64", "sdp:maker:aa:amd64")
	if p.Evidence.Verdict != patch.Unproven || !strings.Contains(p.Evidence.Checks[0], "SHA1 alone") || len(p.Install.Argv) > 0 || p.Items[0].Payload != (patch.Payload{}) || p.Installed == nil {
		t.Errorf("not proven: %+v", p)
	}

	w.p.Close()
	w.cfg.SDP[0].Prove = []string{"sp1", "sp2"}
	w.open()
	r := w.once()
	if len(r.Rejected) != 1 || !strings.Contains(r.Rejected[0].Reason, "signed by Taker Inc") || r.Rejected[0].Patch != "sdp:maker:bb:amd64" {
		t.Errorf("rejected %+v", r.Rejected)
	}
	p = w.patch("windows-apps-amd64", "sdp:maker:aa:amd64")
	sum := wingettest.Sum(t, right)
	if pay := p.Items[0].Payload; p.Evidence.Verdict != patch.Proven || pay.SHA256 != sum || pay.Signer != "Maker Inc" || pay.Size != size(t, right) || p.Install.Kind != "msi" || len(p.Install.Argv) != 1 {
		t.Errorf("proven: %+v", p)
	}
	if s, _ := w.shard("windows-apps-amd64"); s.Header().CodeSigning == nil {
		t.Error("the catalog does not say whose signatures count")
	}
	if err := w.p.Stage(t.Context(), []patch.ID{p.ID}, nil); err != nil {
		t.Errorf("staging: %v", err)
	}
	if again := w.once(); again.Changed {
		t.Error("a second run without news makes a new catalog")
	}
}

// pack makes a cabinet of a folder's files.
func pack(t *testing.T, from, cab string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	_ = os.Remove(cab) // gcab would not replace it
	if said, err := exec.Command("gcab", append([]string{"-c", "-z", "-n", cab}, names...)...).CombinedOutput(); err != nil {
		t.Fatalf("gcab: %v %s", err, said)
	}
}

// TestTrustRow2CatalogSignature: a catalog whose signer is configured counts only
// with his signature; one that bears another's, that was changed, or that is not
// signed leaves the one before in force with a note. What it names says who
// signed it.
func TestTrustRow2CatalogSignature(t *testing.T) {
	v := wingettest.New(t, day1)
	installer := v.Build(t, wingettest.MSI{Name: "Driver", Maker: "Maker", Version: "1.0.0", ProductCode: code1, UpgradeCode: appFamily})
	v.Sign(t, installer, "Maker Inc")
	from, dir := t.TempDir(), t.TempDir()
	sdpPackage(t, from, "aa", "sp1", installer)
	cab := filepath.Join(dir, "catalog.cab")
	pack(t, from, cab)
	v.Sign(t, cab, "Maker Inc")
	w := &world{t: t, now: day1, cfg: publisher.Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repository"), Keys: filepath.Join(dir, "keys"),
		SDP:          []publisher.SDP{{Name: "maker", Location: cab, Signer: "Maker Inc", CatalogSigner: "Maker Inc", Prove: []string{"sp1"}}},
		Authenticode: publisher.Authenticode{Roots: []string{v.Root}},
	}}
	w.opt = publisher.Options{Now: func() time.Time { return w.now }, Client: loopback(t)}
	w.open()
	first := w.once()
	p := w.patch("windows-apps-amd64", "sdp:maker:aa:amd64")
	if p.Evidence.Verdict != patch.Proven || !strings.Contains(strings.Join(p.Evidence.Checks, "\n"), "the catalog that names it is signed by Maker Inc") {
		t.Fatalf("%+v", p.Evidence)
	}

	other := v.Build(t, wingettest.MSI{Name: "Driver", Maker: "Maker", Version: "2.0.0", ProductCode: code2, UpgradeCode: appFamily})
	sdpPackage(t, from, "bb", "sp2", other)
	good, err := os.ReadFile(cab)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]func(){
		"unsigned": func() { pack(t, from, cab) },
		"signed by somebody else": func() {
			pack(t, from, cab)
			v.Sign(t, cab, "Taker Inc")
		},
		"changed": func() { put(t, cab, flipped(good, len(good)/2)) },
		"no cabinet": func() {
			text, err := os.ReadFile(filepath.Join(from, "bb.sdp"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, cab, text)
		},
	} {
		bad()
		touch(t, cab)
		r := w.once()
		if r.Changed && len(r.Notes) == 0 || len(r.Sources) != 1 || !strings.Contains(r.Sources[0].LastError, "the catalog's own signature") || !strings.Contains(strings.Join(r.Notes, "\n"), "sdp-maker: stands as of") {
			t.Errorf("%s: changed %v, %+v, %v", name, r.Changed, r.Sources[0], r.Notes)
		}
		if w.patch("windows-apps-amd64", p.ID).Evidence.Verdict != patch.Proven || w.has("windows-apps-amd64", "sdp:maker:bb:amd64") {
			t.Errorf("%s: it is believed", name)
		}
	}
	pack(t, from, cab)
	v.Sign(t, cab, "Maker Inc")
	touch(t, cab)
	if r := w.once(); !r.Changed || len(r.Notes) > 0 || r.Version <= first.Version || !w.has("windows-apps-amd64", "sdp:maker:bb:amd64") {
		t.Errorf("%+v", r)
	}
	bulletin := w.patch("windows-apps-amd64", "sdp:maker:bb:amd64")
	if checks := strings.Join(bulletin.Evidence.Checks, "\n"); bulletin.Evidence.Verdict != patch.Unproven || !strings.Contains(checks, "the catalog that names it is signed by Maker Inc, issued by Test Root, certificate ") {
		t.Errorf("%+v", bulletin.Evidence)
	}

	w.p.Close()
	w.cfg.Authenticode.Roots = nil
	if _, err := publisher.New(t.Context(), w.cfg, w.opt); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "authenticode.roots") {
		t.Errorf("a signature that nothing can meet: %v", err)
	}
}

// has says whether the published shard names the patch.
func (w *world) has(platform string, id patch.ID) bool {
	w.t.Helper()
	s, _ := w.shard(platform)
	_, _, err := s.Patch(id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		w.t.Fatal(err)
	}
	return err == nil
}

// flipped is the text with one bit changed.
func flipped(text []byte, at int) []byte {
	out := slices.Clone(text)
	out[at] ^= 1
	return out
}

func put(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// touch makes a file look new, however fast the test is.
func touch(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	at := info.ModTime().Add(time.Duration(info.Size()+1) * time.Second)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// loopback fetches from this machine alone.
func loopback(t *testing.T) *fetch.Client {
	t.Helper()
	c, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1, Proxy: "direct"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
