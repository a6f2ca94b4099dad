package authenticode

import (
	"bytes"
	"crypto"
	_ "crypto/sha512" // linked for SHA-384 and SHA-512
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
)

// The object identifiers of PKCS #7 (RFC 2315, 5652), PKCS #9 (RFC 2985), RFC 3161 and Authenticode.
var (
	oidSignedData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidData            = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidContentType     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidCounterSign     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 6}
	oidTSTInfo         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidTimestampToken  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}
	oidMSTimestamp     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 3, 3, 1}
	oidIndirectData    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
	oidNestedSignature = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 4, 1}
	oidLifetimeSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 13}
)

// What kind of file is signed (SpcAttributeTypeAndOptionalValue.type).
const (
	oidPEImage = "1.3.6.1.4.1.311.2.1.15"
	oidCABData = "1.3.6.1.4.1.311.2.1.25"
	oidSIPInfo = "1.3.6.1.4.1.311.2.1.30"
)

// maxCertificates bounds what a signature may carry along. Four to eight are usual.
const maxCertificates = 64

// signedData is a PKCS #7 SignedData with its one signer.
type signedData struct {
	contentType asn1.ObjectIdentifier
	content     []byte // the signed bytes: the content without its tag and length
	contentDER  []byte // the content with them
	certs       []*x509.Certificate
	signer      signerInfo
}

// signerInfo is one signature over some content.
type signerInfo struct {
	sid       asn1.RawValue
	digestAlg algorithm
	sigAlg    algorithm
	signedDER []byte // the signed attributes as a SET: what the signature is over
	signed    attributes
	unsigned  attributes
	signature []byte
}

type rawContentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
}

type rawSignedData struct {
	Version          int
	DigestAlgorithms asn1.RawValue
	ContentInfo      rawContentInfo
	Certificates     asn1.RawValue   `asn1:"optional,tag:0"`
	CRLs             asn1.RawValue   `asn1:"optional,tag:1"`
	SignerInfos      []asn1.RawValue `asn1:"set"`
}

type rawSignerInfo struct {
	Version      int
	SID          asn1.RawValue
	DigestAlg    algorithm
	SignedAttrs  asn1.RawValue `asn1:"optional,tag:0"`
	SigAlg       algorithm
	Signature    []byte
	UnsignedAttr asn1.RawValue `asn1:"optional,tag:1"`
}

// parseSignedData reads a ContentInfo with SignedData. Behind it only zeros may stand: Windows leaves bytes there out of
// account unless EnableCertPaddingCheck is set, so that anyone can add some (CVE-2013-3900).
func parseSignedData(der []byte) (*signedData, error) {
	var outer rawContentInfo
	rest, err := asn1.Unmarshal(der, &outer)
	if err != nil || !outer.Type.Equal(oidSignedData) {
		return nil, refuse(Malformed, "its signature is damaged")
	}
	if len(bytes.Trim(rest, "\x00")) > 0 {
		return nil, refuse(Tampered, "%d bytes stand behind its signature, which does not cover them", len(rest))
	}
	var raw rawSignedData
	if err := unmarshalAll(outer.Content.Bytes, &raw); err != nil {
		return nil, refuse(Malformed, "its signature is damaged")
	}
	if len(raw.SignerInfos) != 1 {
		return nil, refuse(Malformed, "its signature has %d signers instead of one", len(raw.SignerInfos))
	}
	sd := &signedData{contentType: raw.ContentInfo.Type, contentDER: raw.ContentInfo.Content.Bytes}
	var content asn1.RawValue
	if err := unmarshalAll(sd.contentDER, &content); err != nil {
		return nil, refuse(Malformed, "its signature holds no content")
	}
	sd.content = content.Bytes
	if sd.signer, err = parseSigner(raw.SignerInfos[0].FullBytes); err != nil {
		return nil, err
	}
	sd.certs, err = parseCertificates(raw.Certificates.Bytes)
	return sd, err
}

// parseCertificates leaves out what Go can't parse: if it is needed, the chain will not reach a root.
func parseCertificates(der []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for n := 0; len(der) > 0; n++ {
		var raw asn1.RawValue
		rest, err := asn1.Unmarshal(der, &raw)
		if err != nil || n == maxCertificates {
			return nil, refuse(Malformed, "its signature has damaged or too many certificates")
		}
		if cert, err := x509.ParseCertificate(raw.FullBytes); err == nil {
			certs = append(certs, cert)
		}
		der = rest
	}
	return certs, nil
}

func parseSigner(der []byte) (signerInfo, error) {
	var raw rawSignerInfo
	if err := unmarshalAll(der, &raw); err != nil {
		return signerInfo{}, refuse(Malformed, "its signature is damaged")
	}
	si := signerInfo{sid: raw.SID, digestAlg: raw.DigestAlg, sigAlg: raw.SigAlg, signature: raw.Signature}
	var err error
	if si.signed, err = parseAttributes(raw.SignedAttrs.Bytes); err != nil {
		return signerInfo{}, err
	}
	if si.unsigned, err = parseAttributes(raw.UnsignedAttr.Bytes); err != nil {
		return signerInfo{}, err
	}
	// RFC 5652, 5.4: signed is the SET OF, though [0] stands in its place.
	si.signedDER = bytes.Clone(raw.SignedAttrs.FullBytes)
	if len(si.signedDER) > 0 {
		si.signedDER[0] = asn1.TagSet | 0x20
	}
	return si, nil
}

// verify checks that the signer has signed content, and returns its certificate. Nothing is said about who that is.
func (sd *signedData) verify(content []byte, sha1OK bool) (*x509.Certificate, error) {
	return sd.signer.verify(content, sd.contentType, sd.certs, sha1OK)
}

func (si *signerInfo) verify(content []byte, contentType asn1.ObjectIdentifier, certs []*x509.Certificate, sha1OK bool) (*x509.Certificate, error) {
	hash, known := si.digestAlg.hash()
	if !known || weakHash(hash) && !(sha1OK && hash == crypto.SHA1) {
		return nil, refuse(Weak, "its signature uses the hash %s, which is too weak", si.digestAlg)
	}
	// Without signed attributes the same bytes could be taken for content and for attributes.
	var gotType asn1.ObjectIdentifier
	var gotDigest []byte
	if si.signed.one(oidContentType, &gotType) != nil || !gotType.Equal(contentType) || si.signed.one(oidMessageDigest, &gotDigest) != nil {
		return nil, refuse(Malformed, "its signature does not say in the known way what it signs")
	}
	h := hash.New()
	h.Write(content)
	if subtle.ConstantTimeCompare(h.Sum(nil), gotDigest) != 1 {
		return nil, refuse(Tampered, "its signature was changed after it was made")
	}
	cert := si.certificate(certs)
	if cert == nil {
		return nil, refuse(Malformed, "its signature lacks the signer's certificate")
	}
	alg := si.sigAlg.signature(hash)
	if alg == x509.UnknownSignatureAlgorithm {
		return nil, refuse(Weak, "its signature uses the algorithm %s, which is not accepted", si.sigAlg)
	}
	if err := weakKey(cert); err != nil {
		return nil, err
	}
	if err := cert.CheckSignature(alg, si.signedDER, si.signature); err != nil {
		return nil, refuse(Tampered, "its signature was not made with the certificate that it names, or was changed")
	}
	return cert, nil
}

// certificate finds the signer's certificate, by issuer and serial number or by subject key identifier.
func (si *signerInfo) certificate(certs []*x509.Certificate) *x509.Certificate {
	var id struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	byKey := si.sid.Class == asn1.ClassContextSpecific && si.sid.Tag == 0
	if !byKey && unmarshalAll(si.sid.FullBytes, &id) != nil {
		return nil
	}
	for _, c := range certs {
		if byKey && len(c.SubjectKeyId) > 0 && bytes.Equal(c.SubjectKeyId, si.sid.Bytes) {
			return c
		}
		if !byKey && bytes.Equal(c.RawIssuer, id.Issuer.FullBytes) && c.SerialNumber.Cmp(id.Serial) == 0 {
			return c
		}
	}
	return nil
}

// unmarshalAll is asn1.Unmarshal without anything left over.
func unmarshalAll(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err == nil && len(rest) > 0 {
		return refuse(Malformed, "its signature has something behind its end")
	}
	return err
}
