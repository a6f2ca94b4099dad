// Package wingettest makes what a vendor of Windows applications offers:
// installers signed with Authenticode, and manifests of them in the form of
// winget-pkgs. Tests serve them from a folder or on loopback.
package wingettest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Vendor signs installers and writes manifests.
type Vendor struct {
	// Dir holds the installers, Manifests the manifests as winget-pkgs lays
	// them out below its folder of that name. Root is the certificate that the
	// signers' chains end in, a PEM file.
	Dir, Manifests, Root string

	root *x509.Certificate
	key  *ecdsa.PrivateKey
	from time.Time
}

// New makes a vendor whose certificates are valid for two years around now. It
// needs osslsigncode, wixl and makensis.
func New(t testing.TB, now time.Time) *Vendor {
	t.Helper()
	for _, tool := range []string{"osslsigncode", "wixl", "makensis"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: run scripts/setup test", tool)
		}
	}
	v := &Vendor{Dir: t.TempDir(), Manifests: t.TempDir(), from: now.AddDate(-1, 0, 0)}
	v.key = key(t)
	v.root = v.certificate(t, "Test Root", v.key, true)
	v.Root = filepath.Join(v.Dir, "root.pem")
	write(t, v.Root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.root.Raw}))
	return v
}

func key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v *Vendor) certificate(t testing.TB, name string, k *ecdsa.PrivateKey, ca bool) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{name + " Organization"}},
		NotBefore: v.from, NotAfter: v.from.AddDate(2, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	by := v.root
	if ca {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage, by = true, true, x509.KeyUsageCertSign, nil, c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, k.Public(), v.key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Sign signs a file as the named publisher, in place.
func (v *Vendor) Sign(t testing.TB, path, publisher string) {
	t.Helper()
	k := key(t)
	cert := v.certificate(t, publisher, k, false)
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	out := filepath.Join(dir, "signed"+filepath.Ext(path))
	run(t, dir, "osslsigncode", "sign", "-certs", "cert.pem", "-key", "key.pem", "-h", "sha256", "-in", path, "-out", out)
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, data)
}

// MSI is a Windows Installer package.
type MSI struct {
	Name, Maker, Version     string
	ProductCode, UpgradeCode string // "{GUID}"
}

// Build makes an unsigned package in the vendor's folder and returns its path.
func (v *Vendor) Build(t testing.TB, m MSI) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "payload.txt"), []byte(m.Name+" "+m.Version+"\n"))
	bare := func(guid string) string { return strings.Trim(guid, "{}") }
	write(t, filepath.Join(dir, "app.wxs"), fmt.Appendf(nil, wxs, bare(m.ProductCode), m.Name, m.Version, m.Maker, bare(m.UpgradeCode)))
	path := filepath.Join(v.Dir, strings.ReplaceAll(m.Name, " ", "")+"-"+m.Version+".msi")
	run(t, dir, "wixl", "-o", path, "app.wxs")
	return path
}

// Program is an installer program with a version resource; without Version it
// has none.
type Program struct {
	Name, Maker, Version string // four numbers at the most
}

// BuildProgram makes an unsigned installer program in the vendor's folder, named
// as file says, and returns its path.
func (v *Vendor) BuildProgram(t testing.TB, file string, p Program) string {
	t.Helper()
	dir, path := t.TempDir(), filepath.Join(v.Dir, file)
	var script strings.Builder
	fmt.Fprintf(&script, "Name \"%s\"\nOutFile \"%s\"\n", p.Name, path)
	if p.Version != "" {
		fmt.Fprintf(&script, "VIProductVersion %s\n", p.Version+strings.Repeat(".0", 3-strings.Count(p.Version, ".")))
		for _, line := range [][2]string{
			{"ProductName", p.Name}, {"CompanyName", p.Maker}, {"ProductVersion", p.Version}, {"FileVersion", p.Version}, {"FileDescription", p.Name + " Setup"}, {"LegalCopyright", p.Maker},
		} {
			fmt.Fprintf(&script, "VIAddVersionKey \"%s\" \"%s\"\n", line[0], line[1])
		}
	}
	fmt.Fprintf(&script, "Section\nDetailPrint \"%s\"\nSectionEnd\n", file)
	write(t, filepath.Join(dir, "setup.nsi"), []byte(script.String()))
	run(t, dir, "makensis", "-V1", "setup.nsi")
	return path
}

const wxs = `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Id="%s" Name="%s" Language="1033" Version="%s" Manufacturer="%s" UpgradeCode="%s">
    <Package InstallerVersion="200" Compressed="yes" InstallScope="perMachine"/>
    <Media Id="1" Cabinet="app.cab" EmbedCab="yes"/>
    <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFilesFolder"><Directory Id="INSTALLDIR" Name="App">
      <Component Id="Main" Guid="8C1A4B0E-3F0A-4D9E-8A55-0A0B0C0D0E0F"><File Id="App" Source="payload.txt"/></Component>
    </Directory></Directory></Directory>
    <Feature Id="All" Level="1"><ComponentRef Id="Main"/></Feature>
  </Product>
</Wix>
`

// Installer is an entry of a manifest; Fields are further YAML lines of it.
type Installer struct {
	Arch, Type, URL, Path string
	Fields                []string
}

// Publish writes the three manifest files of a version. An installer without
// URL is offered from its path. CRLF ends the lines where crlf is set.
func (v *Vendor) Publish(t testing.TB, id, version, name, publisher string, crlf bool, installers ...Installer) {
	t.Helper()
	head := "PackageIdentifier: " + id + "\nPackageVersion: \"" + version + "\"\n"
	dir := filepath.Join(v.Manifests, strings.ToLower(id[:1]), strings.ReplaceAll(id, ".", "/"), version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := func(suffix, text string) {
		if crlf {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		write(t, filepath.Join(dir, id+suffix+".yaml"), []byte(text))
	}
	file("", head+"DefaultLocale: en-US\nManifestType: version\nManifestVersion: 1.6.0\n")
	file(".locale.en-US", head+"PackageLocale: en-US\nPublisher: "+publisher+"\nPackageName: "+name+"\nLicense: MIT\nManifestType: defaultLocale\nManifestVersion: 1.6.0\n")
	var text strings.Builder
	text.WriteString(head + "Installers:\n")
	for _, in := range installers {
		if in.URL == "" {
			in.URL = "file://" + filepath.ToSlash(in.Path)
		}
		text.WriteString("- Architecture: " + in.Arch + "\n  InstallerType: " + in.Type + "\n  InstallerUrl: " + in.URL + "\n  InstallerSha256: " + strings.ToUpper(Sum(t, in.Path)) + "\n")
		for _, f := range in.Fields {
			text.WriteString("  " + f + "\n")
		}
	}
	file(".installer", text.String()+"ManifestType: installer\nManifestVersion: 1.6.0\n")
}

// Sum is a file's SHA-256.
func Sum(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, dir string, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}
