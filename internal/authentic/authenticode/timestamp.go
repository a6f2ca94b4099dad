package authenticode

import (
	"crypto"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// stamp is what a time-stamping authority has said of a signature; whether it is trusted is another question.
type stamp struct {
	when   time.Time
	signer *x509.Certificate
	certs  []*x509.Certificate
}

// findTimestamp reads and checks a signature's timestamp: an RFC 3161 token, under Microsoft's or the standard's attribute,
// or the counter-signature of PKCS #9 that was usual before. None is nil without an error.
func findTimestamp(sd *signedData, sha1OK bool) (*stamp, error) {
	for _, oid := range []asn1.ObjectIdentifier{oidMSTimestamp, oidTimestampToken, oidCounterSign} {
		values, err := sd.signer.unsigned.all(oid)
		if err != nil {
			return nil, err
		}
		switch {
		case len(values) == 0:
		case len(values) > 1:
			return nil, refuse(Malformed, "its signature has %d timestamps", len(values))
		case oid.Equal(oidCounterSign):
			return counterSignature(values[0], sd, sha1OK)
		default:
			return token(values[0], sd.signer.signature, sha1OK)
		}
	}
	return nil, nil
}

// tstInfo is the beginning of RFC 3161's TSTInfo.
type tstInfo struct {
	Version int
	Policy  asn1.ObjectIdentifier
	Imprint struct {
		Algorithm algorithm
		Digest    []byte
	}
	Serial *big.Int
	Time   asn1.RawValue
}

// token checks an RFC 3161 token over the bytes of a signature.
func token(der, signature []byte, sha1OK bool) (*stamp, error) {
	sd, err := parseSignedData(der)
	if err != nil {
		return nil, err
	}
	var info tstInfo
	if !sd.contentType.Equal(oidTSTInfo) || unmarshalAll(sd.content, &info) != nil {
		return nil, refuse(Malformed, "its timestamp is damaged")
	}
	hash, known := info.Imprint.Algorithm.hash()
	if !known || weakHash(hash) && !(sha1OK && hash == crypto.SHA1) {
		return nil, refuse(Weak, "its timestamp uses the hash %s, which is too weak", info.Imprint.Algorithm)
	}
	h := hash.New()
	h.Write(signature)
	if subtle.ConstantTimeCompare(h.Sum(nil), info.Imprint.Digest) != 1 {
		return nil, refuse(Tampered, "its timestamp belongs to another signature")
	}
	signer, err := sd.verify(sd.content, sha1OK)
	if err != nil {
		return nil, err
	}
	when, err := parseTime(info.Time)
	return &stamp{when: when, signer: signer, certs: sd.certs}, err
}

// counterSignature checks a PKCS #9 counter-signature (RFC 2985, 5.3.6): a signer of its own over the signature's bytes,
// with its certificates among the file's and the time in a signed attribute.
func counterSignature(der []byte, sd *signedData, sha1OK bool) (*stamp, error) {
	si, err := parseSigner(der)
	if err != nil {
		return nil, err
	}
	signer, err := si.verify(sd.signer.signature, oidData, sd.certs, sha1OK)
	if err != nil {
		return nil, err
	}
	var raw asn1.RawValue
	if err := si.signed.one(oidSigningTime, &raw); err != nil {
		return nil, refuse(Malformed, "its timestamp says no time")
	}
	when, err := parseTime(raw)
	return &stamp{when: when, signer: signer}, err
}

// parseTime reads GeneralizedTime, fractions of a second included, and UTCTime.
func parseTime(raw asn1.RawValue) (time.Time, error) {
	layout := map[int]string{asn1.TagGeneralizedTime: "20060102150405Z0700", asn1.TagUTCTime: "060102150405Z0700"}[raw.Tag]
	t, err := time.Parse(layout, string(raw.Bytes))
	if err != nil || layout == "" || raw.Class != asn1.ClassUniversal {
		return time.Time{}, refuse(Malformed, "its timestamp says no time")
	}
	if raw.Tag == asn1.TagUTCTime && t.Year() >= 2050 { // RFC 5280, 4.1.2.5.1; Go turns at 1969
		t = t.AddDate(-100, 0, 0)
	}
	return t, nil
}

// reason is what a refusal says, without whom it speaks for.
func reason(err error) string {
	return strings.TrimPrefix(fault.Public(err), "refused the file: ")
}
