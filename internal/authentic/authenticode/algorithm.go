package authenticode

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
)

// minRSA is the least size of an RSA key in bits that the CA/Browser Forum has allowed for signing code since 2011.
const minRSA = 2048

// algorithm is an AlgorithmIdentifier.
type algorithm struct {
	Algorithm  asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

// String names the algorithm for people.
func (a algorithm) String() string {
	if h, ok := a.hash(); ok {
		return h.String()
	}
	return a.Algorithm.String()
}

// hash is the hash function that a digest algorithm means.
func (a algorithm) hash() (crypto.Hash, bool) {
	switch a.Algorithm.String() {
	case "1.2.840.113549.2.5":
		return crypto.MD5, true
	case "1.3.14.3.2.26":
		return crypto.SHA1, true
	case "2.16.840.1.101.3.4.2.1":
		return crypto.SHA256, true
	case "2.16.840.1.101.3.4.2.2":
		return crypto.SHA384, true
	case "2.16.840.1.101.3.4.2.3":
		return crypto.SHA512, true
	}
	return 0, false
}

// weakHash tells whether others could make a file of the same hash.
func weakHash(h crypto.Hash) bool {
	return h != crypto.SHA256 && h != crypto.SHA384 && h != crypto.SHA512
}

// scheme is how a key makes a signature from a hash.
type scheme byte

const (
	pkcs1 scheme = iota + 1
	pss
	ec
)

// signature is the signature algorithm for a hash, x509.UnknownSignatureAlgorithm if the two don't go together or are
// not accepted. Signers name the bare key algorithm or the combination with the hash.
func (a algorithm) signature(h crypto.Hash) x509.SignatureAlgorithm {
	var s scheme
	of := h
	switch a.Algorithm.String() {
	case "1.2.840.113549.1.1.1": // rsaEncryption
		s = pkcs1
	case "1.2.840.113549.1.1.5":
		s, of = pkcs1, crypto.SHA1
	case "1.2.840.113549.1.1.11":
		s, of = pkcs1, crypto.SHA256
	case "1.2.840.113549.1.1.12":
		s, of = pkcs1, crypto.SHA384
	case "1.2.840.113549.1.1.13":
		s, of = pkcs1, crypto.SHA512
	case "1.2.840.113549.1.1.10":
		s, of = pss, pssHash(a.Parameters.FullBytes)
	case "1.2.840.10045.2.1": // id-ecPublicKey
		s = ec
	case "1.2.840.10045.4.3.2":
		s, of = ec, crypto.SHA256
	case "1.2.840.10045.4.3.3":
		s, of = ec, crypto.SHA384
	case "1.2.840.10045.4.3.4":
		s, of = ec, crypto.SHA512
	}
	if s == 0 || of != h {
		return x509.UnknownSignatureAlgorithm
	}
	return map[scheme]map[crypto.Hash]x509.SignatureAlgorithm{
		pkcs1: {crypto.SHA1: x509.SHA1WithRSA, crypto.SHA256: x509.SHA256WithRSA, crypto.SHA384: x509.SHA384WithRSA, crypto.SHA512: x509.SHA512WithRSA},
		pss:   {crypto.SHA256: x509.SHA256WithRSAPSS, crypto.SHA384: x509.SHA384WithRSAPSS, crypto.SHA512: x509.SHA512WithRSAPSS},
		ec:    {crypto.SHA256: x509.ECDSAWithSHA256, crypto.SHA384: x509.ECDSAWithSHA384, crypto.SHA512: x509.ECDSAWithSHA512},
	}[s][h]
}

// pssHash is the hash in RSASSA-PSS parameters (RFC 4055, section 3.1), 0 if it isn't there: SHA-1 then.
func pssHash(der []byte) crypto.Hash {
	var p struct {
		Hash algorithm `asn1:"explicit,optional,tag:0"`
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil {
		return 0
	}
	h, _ := p.Hash.hash()
	return h
}

// weakKey refuses keys that others could break.
func weakKey(c *x509.Certificate) error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA {
			return refuse(Weak, "the certificate of %s has an RSA key of %d bits, which is too weak", name(c.Subject), bits)
		}
	case *ecdsa.PublicKey:
		if bits := key.Params().BitSize; bits < 256 {
			return refuse(Weak, "the certificate of %s has an elliptic key of %d bits, which is too weak", name(c.Subject), bits)
		}
	default:
		return refuse(Weak, "the certificate of %s has a key of a kind that is not accepted", name(c.Subject))
	}
	return nil
}

// name is how a certificate's holder is named to people: the common name, with the organization if it tells more.
func name(n pkix.Name) string {
	org := strings.Join(n.Organization, ", ")
	switch {
	case n.CommonName == "" && org == "":
		return n.String()
	case n.CommonName == "":
		return org
	case org == "" || org == n.CommonName:
		return n.CommonName
	}
	return n.CommonName + " (" + org + ")"
}
