package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
)

// Life times of what is issued. A certificate never outlives its CA.
const (
	// CALife is that of a CA; rotate it well before.
	CALife = 10 * 365 * 24 * time.Hour
	// ServerLife is that of a server's certificate.
	ServerLife = 365 * 24 * time.Hour
	// AgentLife is that of an agent's certificate. A machine that was off for
	// longer enrols again.
	AgentLife = 180 * 24 * time.Hour
	// backdate is how far a certificate reaches into the past, for machines
	// whose clocks are slow.
	backdate = time.Hour
)

const (
	certFile = "ca.pem"
	keyFile  = "ca.key"
)

// CA signs certificates. It is safe for concurrent use.
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// CreateCA makes a CA called name and stores it in dir: ca.pem, which is
// public, and ca.key, which is not (mode 0600). A CA that is there already is
// never replaced: that gives fault.Conflict.
func CreateCA(dir, name string, now time.Time) (*CA, error) {
	for _, f := range []string{certFile, keyFile} {
		if _, err := os.Lstat(filepath.Join(dir, f)); err == nil {
			return nil, fault.New(fault.Conflict, "pki: %s holds a CA already", dir)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "pki: no key could be generated")
	}
	cert, err := selfSign(key, name, now)
	if err != nil {
		return nil, err
	}
	keyPEM, err := KeyPEM(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "pki: the CA's folder can't be made")
	}
	// The key first: a certificate without a key would look complete.
	if err := atomicfile.Write(filepath.Join(dir, keyFile), keyPEM, 0o600); err != nil {
		return nil, fault.Wrap(err, fault.CodeOf(err), "pki: the CA's key can't be stored")
	}
	return keepCert(dir, cert, key)
}

// FinishCA makes the certificate of a CA of which only the key is there: the
// program or the machine was stopped between the two files. Whoever calls it
// knows that the CA has issued nothing: the certificate has another fingerprint
// than one that may have been lost. Conflict when there is a certificate,
// NotFound when there is no key.
func FinishCA(dir, name string, now time.Time) (*CA, error) {
	if _, err := os.Lstat(filepath.Join(dir, certFile)); err == nil {
		return nil, fault.New(fault.Conflict, "pki: %s holds a CA already", dir)
	}
	keyPEM, err := readFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	cert, err := selfSign(key, name, now)
	if err != nil {
		return nil, err
	}
	return keepCert(dir, cert, key)
}

func keepCert(dir string, cert *x509.Certificate, key crypto.Signer) (*CA, error) {
	if err := atomicfile.Write(filepath.Join(dir, certFile), EncodeCerts(cert), 0o644); err != nil {
		return nil, fault.Wrap(err, fault.CodeOf(err), "pki: the CA can't be stored")
	}
	return &CA{cert: cert, key: key}, nil
}

func selfSign(key crypto.Signer, name string, now time.Time) (*x509.Certificate, error) {
	tmpl := template(now, CALife)
	tmpl.Subject = pkix.Name{CommonName: name, Organization: []string{"Fettle"}}
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.MaxPathLenZero = true // it signs no other CA
	tmpl.KeyUsage = x509.KeyUsageCertSign
	return signCert(tmpl, tmpl, key.Public(), key)
}

// LoadCA reads what CreateCA stored. It returns fault.NotFound when there is
// none and fault.Untrusted when certificate and key are damaged or no pair.
func LoadCA(dir string) (*CA, error) {
	certs, err := readFile(filepath.Join(dir, certFile))
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	list, err := ParseCAs(certs)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(*ecdsa.PublicKey)
	if len(list) != 1 || !ok || !public.Equal(list[0].PublicKey) {
		return nil, fault.New(fault.Untrusted, "pki: %s and %s in %s do not belong together", certFile, keyFile, dir)
	}
	return &CA{cert: list[0], key: key}, nil
}

// Certificate returns the CA's own certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Fingerprint returns Fingerprint of the CA's certificate.
func (ca *CA) Fingerprint() string { return Fingerprint(ca.cert) }

// Fingerprint returns "sha256:" and the 64 hex digits of the SHA-256 of the
// whole certificate in DER: what an enrolment command carries.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return fingerprintPrefix + hex.EncodeToString(sum[:])
}

const fingerprintPrefix = "sha256:"

// ParseFingerprint brings a fingerprint that a person typed or pasted into the
// form of Fingerprint: space around it and letter case do not matter. Other
// text gives fault.Invalid.
func ParseFingerprint(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	digits, ok := strings.CutPrefix(s, fingerprintPrefix)
	if !ok || len(digits) != 64 || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", fault.New(fault.Invalid, "pki: %q is no fingerprint", clip(s)).
			WithHint("A fingerprint is %q and 64 hex digits; copy the enrolment command once more.", fingerprintPrefix)
	}
	return s, nil
}

// EncodeCerts returns the certificates in PEM, one after the other.
func EncodeCerts(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// ParseCAs reads one or more CA certificates in PEM, at most 64 KB. Anything
// else in it gives fault.Untrusted.
func ParseCAs(data []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for rest := data; len(strings.TrimSpace(string(rest))) > 0; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(data) > 64<<10 {
			return nil, fault.New(fault.Untrusted, "pki: the CA file is damaged")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !cert.IsCA || !cert.BasicConstraintsValid {
			return nil, fault.Wrap(err, fault.Untrusted, "pki: the CA file holds something else than a CA")
		}
		list = append(list, cert)
	}
	if len(list) == 0 {
		return nil, fault.New(fault.Untrusted, "pki: the CA file is empty")
	}
	return list, nil
}

// KeyPEM returns a private key in PEM (PKCS #8). It is a secret.
func KeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "pki: the key can't be encoded")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads what KeyPEM gave. Other bytes give fault.Untrusted.
func ParseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fault.New(fault.Untrusted, "pki: the key file is damaged")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault.Wrap(err, fault.Untrusted, "pki: the key file is damaged")
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fault.New(fault.Untrusted, "pki: the key file holds another kind of key")
	}
	return ec, nil
}

// template is what all certificates have in common: a serial number of 127
// random bits and a life time.
func template(now time.Time, life time.Duration) *x509.Certificate {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // documented never to fail
	raw[0] = raw[0]&0x7f | 0x40
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(raw),
		NotBefore:    now.Add(-backdate).UTC(),
		NotAfter:     now.Add(life).UTC(),
	}
}

// signCert signs and parses, so that what is handed out is known to be readable.
func signCert(tmpl, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, key)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "pki: the certificate can't be signed")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "pki: the certificate can't be read back")
	}
	return cert, nil
}

func readFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Wrap(err, fault.NotFound, "pki: there is no %s", path)
	case err != nil:
		return nil, fault.Wrap(err, fault.Unavailable, "pki: %s can't be read", path)
	}
	return data, nil
}
