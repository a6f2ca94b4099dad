package vendor

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The publishers whose signature software can bear: both under the same root.
const (
	Publisher = "Fettle Lab Software"
	Stranger  = "Somebody Else Software"
)

// party is a certificate with its key, in files that osslsigncode reads.
type party struct {
	cert *x509.Certificate
	key  crypto.Signer
	file string // <file>.pem and <file>.key
}

// makeParties makes a root, the two publishers and a time-stamping authority.
func (v *Vendor) makeParties() error {
	// One key for all: making one takes long, and who they are is in the certificate.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("vendor: %w", err)
	}
	if v.root, err = v.makeParty("root", "Fettle Lab Root", key, nil, nil); err != nil {
		return err
	}
	v.signers = map[string]party{}
	for name, file := range map[string]string{Publisher: "publisher", Stranger: "stranger"} {
		p, err := v.makeParty(file, name, key, &v.root, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning})
		if err != nil {
			return err
		}
		v.signers[name] = p
	}
	v.stamper, err = v.makeParty("stamper", "Fettle Lab Time", key, &v.root, []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping})
	return err
}

// makeParty makes one certificate; without an issuer it is a root.
func (v *Vendor) makeParty(file, name string, key crypto.Signer, issuer *party, usage []x509.ExtKeyUsage) (party, error) {
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{name}},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(365 * 24 * time.Hour), ExtKeyUsage: usage,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	by := party{cert: template, key: key}
	if issuer == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	} else {
		by = *issuer
	}
	if len(usage) > 0 && usage[0] == x509.ExtKeyUsageTimeStamping { // RFC 3161, 2.3: critical, which Go would not make it
		template.ExtKeyUsage = nil
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 3, 8}}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return party{}, fmt.Errorf("vendor: certificate of %s: %w", name, err)
	}
	p := party{key: key, file: filepath.Join(v.scratch, file)}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		return party{}, fmt.Errorf("vendor: certificate of %s: %w", name, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return party{}, fmt.Errorf("vendor: key of %s: %w", name, err)
	}
	if err := writePEM(p.file+".pem", "CERTIFICATE", der); err != nil {
		return party{}, err
	}
	return p, writePEM(p.file+".key", "PRIVATE KEY", private)
}

func writePEM(file, kind string, der []byte) error {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("vendor: %w", err)
	}
	return nil
}

// RootFile is the PEM file with the root of all publishers and of the
// time-stamping authority.
func (v *Vendor) RootFile() string { return v.root.file + ".pem" }

// SignerFiles are the PEM files of a publisher's certificate and key.
func (v *Vendor) SignerFiles(publisher string) (cert, key string) {
	p := v.signers[publisher]
	return p.file + ".pem", p.file + ".key"
}

// Sign signs a PE, MSI or CAB file in place as one of the publishers.
func (v *Vendor) Sign(ctx context.Context, publisher, file string) error {
	p, ok := v.signers[publisher]
	if !ok {
		return fmt.Errorf("vendor: nobody here is called %q", publisher)
	}
	argv := []string{"sign", "-h", "sha256", "-certs", p.file + ".pem", "-key", p.file + ".key", "-in", file, "-out", file + ".signed"}
	if v.stamps {
		argv = append(argv, "-TSA-certs", v.stamper.file+".pem", "-TSA-key", v.stamper.file+".key")
	}
	if err := v.command(ctx, append([]string{"osslsigncode"}, argv...)...); err != nil {
		return err
	}
	if err := os.Rename(file+".signed", file); err != nil {
		return fmt.Errorf("vendor: %w", err)
	}
	return nil
}

// Stamps reports whether signatures carry a timestamp; see canStamp.
func (v *Vendor) Stamps() bool { return v.stamps }

// canStamp reports whether this osslsigncode has a time-stamping authority
// built in, which came with version 2.6.
func canStamp(ctx context.Context) bool {
	said, _ := exec.CommandContext(ctx, "osslsigncode", "sign", "--help").CombinedOutput() // it ends with 1
	return strings.Contains(string(said), "-TSA-key")
}
