package authenticode

import (
	"crypto"
	"crypto/rand"
	_ "crypto/sha1" //nolint:gosec // what is tested is that it does not count
	"encoding/asn1"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// authority plays a time-stamping authority for osslsigncode: RFC 3161, and what was usual before.
type authority struct {
	l    *lab
	who  party
	when time.Time
	hash crypto.Hash
}

// stamped are the arguments of osslsigncode that let an authority confirm a time as RFC 3161 wants it.
func (l *lab) stamped(tsa party, when string) []string {
	return []string{"-ts", l.serve(authority{l, tsa, day(when), crypto.SHA256}.token)}
}

// counterSigned are the arguments for a counter-signature.
func (l *lab) counterSigned(tsa party, hash crypto.Hash) []string {
	return []string{"-t", l.serve(authority{l, tsa, day(signTime), hash}.counterSignature)}
}

// check is for the server's goroutines, which can't end the test.
func (a authority) check(err error) {
	if err != nil {
		a.l.t.Error(err)
	}
}

func (l *lab) serve(h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	l.t.Cleanup(server.Close)
	return server.URL
}

// token answers a TimeStampReq (RFC 3161, 2.4).
func (a authority) token(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	a.check(err)
	var request struct {
		Version int
		Imprint asn1.RawValue
		Policy  asn1.ObjectIdentifier `asn1:"optional"`
		Nonce   *big.Int              `asn1:"optional"`
		Certs   bool                  `asn1:"optional"`
	}
	_, err = asn1.Unmarshal(body, &request)
	a.check(err)
	info := der(a.l.t, struct {
		Version int
		Policy  asn1.ObjectIdentifier
		Imprint asn1.RawValue
		Serial  int
		Time    time.Time `asn1:"generalized"`
		Nonce   *big.Int  `asn1:"optional"`
	}{1, asn1.ObjectIdentifier{1, 2, 3, 4, 1}, request.Imprint, 7, a.when, request.Nonce})
	w.Header().Set("Content-Type", "application/timestamp-reply")
	_, _ = w.Write(der(a.l.t, struct {
		Status struct{ Status int }
		Token  asn1.RawValue
	}{Token: asn1.RawValue{FullBytes: a.sign(oidTSTInfo, info)}}))
}

// counterSignature answers a TimeStampRequest of Microsoft's with a PKCS #7 over the signature's bytes.
func (a authority) counterSignature(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, r.Body))
	a.check(err)
	var request struct {
		Type    asn1.ObjectIdentifier
		Content struct {
			Type    asn1.ObjectIdentifier
			Content []byte `asn1:"explicit,tag:0"`
		}
	}
	_, err = asn1.Unmarshal(body, &request)
	a.check(err)
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write([]byte(base64.StdEncoding.EncodeToString(a.sign(oidData, request.Content.Content))))
}

// sign makes a PKCS #7 SignedData with one signer over content.
func (a authority) sign(contentType asn1.ObjectIdentifier, content []byte) []byte {
	t, p, hash := a.l.t, a.who, a.hash
	digestOID := map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA1: {1, 3, 14, 3, 2, 26}, crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1}}[hash]
	h := hash.New()
	h.Write(content)
	attr := func(oid asn1.ObjectIdentifier, value any) []byte {
		return der(t, struct {
			OID    asn1.ObjectIdentifier
			Values []any `asn1:"set"`
		}{oid, []any{value}})
	}
	attrs := append(attr(oidContentType, contentType), attr(oidSigningTime, a.when)...)
	attrs = append(attrs, attr(oidMessageDigest, h.Sum(nil))...)
	h = hash.New()
	h.Write(der(t, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: attrs}))
	signature, err := p.key.Sign(rand.Reader, h.Sum(nil), hash)
	if err != nil {
		t.Fatal(err)
	}
	type alg struct{ OID asn1.ObjectIdentifier }
	signer := der(t, struct {
		Version   int
		ID        any
		Digest    alg
		Attrs     asn1.RawValue
		Algorithm alg
		Signature []byte
	}{
		1,
		struct {
			Issuer asn1.RawValue
			Serial *big.Int
		}{asn1.RawValue{FullBytes: p.cert.RawIssuer}, p.cert.SerialNumber},
		alg{digestOID},
		asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: attrs},
		alg{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}},
		signature,
	})
	explicit := func(b []byte) asn1.RawValue { return asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: b} }
	set := func(b []byte) asn1.RawValue { return asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: b} }
	type info struct {
		OID     asn1.ObjectIdentifier
		Content asn1.RawValue
	}
	return der(t, info{oidSignedData, explicit(der(t, struct {
		Version int
		Digests asn1.RawValue
		Content info
		Certs   asn1.RawValue
		Signers asn1.RawValue
	}{1, set(der(t, alg{digestOID})), info{contentType, explicit(der(t, content))}, explicit(p.cert.Raw), set(signer)}))})
}

func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
