package authenticode

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The calendar of the tests: files are signed in 2024 and judged at now, when short certificates have expired.
func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

// party holds a certificate and its key.
type party struct {
	cert *x509.Certificate
	key  crypto.Signer
	file string // <file>.pem and <file>.key
}

// lab makes certificates and signs files with osslsigncode.
type lab struct {
	t   testing.TB
	dir string

	root, stranger, tsa, strangerTSA       party
	signer, short, issued, selfMade, small party
	noUsage, server, issuer, elliptic      party
}

const signTime, laterTime = "2024-06-01", "2025-06-01"

func newLab(t testing.TB) *lab {
	t.Helper()
	for _, tool := range []string{"osslsigncode", "wixl", "gcab"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: run scripts/setup test", tool)
		}
	}
	l := &lab{t: t, dir: t.TempDir()}
	code, stamping := []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}
	l.root = l.party("root", nil, true, nil, "2030-01-01")
	l.stranger = l.party("stranger", nil, true, nil, "2030-01-01")
	l.issuer = l.party("issuer", &l.root, true, nil, "2029-01-01")
	l.signer = l.party("signer", &l.root, false, code, "2029-01-01")
	l.short = l.party("short", &l.root, false, code, "2025-01-01")
	l.issued = l.party("issued", &l.issuer, false, code, "2029-01-01")
	l.selfMade = l.party("self", nil, false, code, "2029-01-01")
	l.noUsage = l.party("nousage", &l.root, false, nil, "2029-01-01")
	l.server = l.party("server", &l.root, false, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, "2029-01-01")
	l.small = l.party("small", &l.root, false, code, "2029-01-01")
	l.elliptic = l.party("elliptic", &l.root, false, code, "2029-01-01")
	l.tsa = l.party("tsa", &l.root, false, stamping, "2025-12-01") // has expired at now
	l.strangerTSA = l.party("strangertsa", &l.stranger, false, stamping, "2029-01-01")
	return l
}

// rsaKey is the one key of all who sign with RSA: making one takes long, and who they are is in the certificate.
var rsaKey = sync.OnceValue(func() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// party makes a certificate that is valid from 2024 on.
func (l *lab) party(name string, issuer *party, ca bool, usage []x509.ExtKeyUsage, until string) party {
	l.t.Helper()
	var key crypto.Signer
	var err error
	switch name {
	case "elliptic", "root", "stranger", "issuer":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "small":
		key, err = rsa.GenerateKey(rand.Reader, 1024)
	default:
		key = rsaKey()
	}
	l.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "Acme " + name, Organization: []string{"Acme"}},
		NotBefore: day("2024-01-01"), NotAfter: day(until), ExtKeyUsage: usage, IsCA: ca, BasicConstraintsValid: ca,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ca {
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	if name == "lifetime" {
		template.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidLifetimeSigning}
	}
	if len(usage) > 0 && usage[0] == x509.ExtKeyUsageTimeStamping { // RFC 3161, 2.3: critical, which Go would not make it
		template.ExtKeyUsage = nil
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 3, 8}}}
	}
	p := party{key: key, file: filepath.Join(l.dir, name)}
	by := party{cert: template, key: key}
	if issuer != nil {
		by = *issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	l.must(err)
	p.cert, err = x509.ParseCertificate(der)
	l.must(err)
	l.must(os.WriteFile(p.file+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	private, err := x509.MarshalPKCS8PrivateKey(key)
	l.must(err)
	l.must(os.WriteFile(p.file+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return p
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// run runs a program in the lab's folder and fails the test if it fails.
func (l *lab) run(argv ...string) {
	l.t.Helper()
	cmd := exec.CommandContext(l.t.Context(), argv[0], argv[1:]...)
	cmd.Dir = l.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// unsigned makes a small file of a kind.
func (l *lab) unsigned(kind Kind) string {
	file := filepath.Join(l.dir, "plain."+map[Kind]string{PE: "exe", MSI: "msi", CAB: "cab"}[kind])
	if _, err := os.Stat(file); err == nil {
		return file
	}
	payload := fillText()
	l.must(os.WriteFile(filepath.Join(l.dir, "payload.txt"), payload, 0o600))
	switch kind {
	case PE:
		l.must(os.WriteFile(file, minimalPE(payload), 0o600))
	case CAB:
		l.run("gcab", "-c", file, "payload.txt")
	case MSI:
		l.must(os.WriteFile(filepath.Join(l.dir, "app.wxs"), []byte(wxs), 0o600))
		l.run("wixl", "-o", file, "app.wxs")
	}
	return file
}

const wxs = `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Id="*" Name="Acme App" Language="1033" Version="1.0.0" Manufacturer="Acme" UpgradeCode="4B1E3B5C-0C5B-4B8E-9E0B-0A6C1C1D2E3F">
    <Package InstallerVersion="200" Compressed="yes" InstallScope="perMachine"/>
    <Media Id="1" Cabinet="app.cab" EmbedCab="yes"/>
    <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFilesFolder"><Directory Id="INSTALLDIR" Name="Acme">
      <Component Id="Main" Guid="8C1A4B0E-3F0A-4D9E-8A55-0A0B0C0D0E0F"><File Id="App" Source="payload.txt"/></Component>
    </Directory></Directory></Directory>
    <Feature Id="All" Level="1"><ComponentRef Id="Main"/></Feature>
  </Product>
</Wix>
`

// sign signs a file and returns the path of the result. Further arguments go to osslsigncode sign.
func (l *lab) sign(in string, p party, args ...string) string {
	l.t.Helper()
	out := filepath.Join(l.dir, strconv.FormatInt(time.Now().UnixNano(), 36)+filepath.Ext(in))
	argv := []string{"osslsigncode", "sign", "-certs", p.file + ".pem", "-key", p.file + ".key", "-in", in, "-out", out, "-time", unix(signTime)}
	if len(args) == 0 || args[0] != "-h" {
		argv = append(argv, "-h", "sha256")
	}
	l.run(append(argv, args...)...)
	return out
}

func unix(date string) string { return strconv.FormatInt(day(date).Unix(), 10) }

// minimalPE is a PE32+ image that Windows would load, with one section of data.
func minimalPE(data []byte) []byte {
	const align = 512
	size := (len(data) + align - 1) / align * align
	b := make([]byte, align+size)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[0x3c:], 0x80)
	pe := b[0x80:]
	copy(pe, "PE\x00\x00")
	le.PutUint16(pe[4:], 0x8664)  // machine
	le.PutUint16(pe[6:], 1)       // sections
	le.PutUint16(pe[20:], 240)    // optional header
	le.PutUint16(pe[22:], 0x0022) // executable, large addresses
	opt := pe[24:]
	le.PutUint16(opt, 0x20b)
	le.PutUint64(opt[24:], 0x140000000)
	le.PutUint32(opt[32:], 4096)
	le.PutUint32(opt[36:], align)
	le.PutUint16(opt[48:], 6)
	le.PutUint32(opt[56:], 0x10000)
	le.PutUint32(opt[60:], align)
	le.PutUint16(opt[68:], 3)
	le.PutUint32(opt[108:], 16)
	sec := opt[240:]
	copy(sec, ".data")
	le.PutUint32(sec[8:], uint32(len(data)))
	le.PutUint32(sec[12:], 4096)
	le.PutUint32(sec[16:], uint32(size))
	le.PutUint32(sec[20:], align)
	le.PutUint32(sec[36:], 0x40000040)
	copy(b[align:], data)
	return b
}
