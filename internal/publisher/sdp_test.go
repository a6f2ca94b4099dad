package publisher_test

import (
	"crypto/sha1" //nolint:gosec // what packages name
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	fetcher, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1, Proxy: "direct"})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: day1, cfg: publisher.Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repository"), Keys: filepath.Join(dir, "keys"),
		SDP:          []publisher.SDP{{Name: "maker", Location: from, Signer: "Maker Inc"}},
		Authenticode: publisher.Authenticode{Roots: []string{v.Root}},
	}}
	w.opt = publisher.Options{Now: func() time.Time { return w.now }, Client: fetcher}
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
