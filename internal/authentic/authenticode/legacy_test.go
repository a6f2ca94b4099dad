package authenticode

import (
	"crypto"
	"crypto/rand"
	_ "crypto/sha1" //nolint:gosec // what is tested is that it does not count
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestCounterSignature has osslsigncode ask a time-stamping authority of the kind that was usual before RFC 3161, which
// the test plays, and lets both judge.
func TestCounterSignature(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		name   string
		hash   crypto.Hash
		tsa    party
		accept bool // SHA-1 timestamps
		want   Refusal
		theirs bool
	}{
		{"SHA-256", crypto.SHA256, l.tsa, false, "", true},
		{"SHA-1", crypto.SHA1, l.tsa, false, Expired, true},
		{"SHA-1 is accepted", crypto.SHA1, l.tsa, true, "", true},
		{"a stranger", crypto.SHA256, l.strangerTSA, false, Expired, false},
		{"a signer of code", crypto.SHA256, l.signer, false, Expired, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.t = t
			server := httptest.NewServer(legacyAuthority(t, c.tsa, c.hash))
			defer server.Close()
			file := l.sign(l.unsigned(PE), l.short, "-t", server.URL)
			data := l.load(file)
			trust := l.trust()
			trust.SHA1Timestamps = c.accept
			sig, err := Verify(readerAt(data), int64(len(data)), PE, trust, Expect{}, day(now))
			if c.want == "" && err != nil || c.want != "" && !errors.Is(err, c.want) {
				t.Errorf("ours: %v, want %q", err, c.want)
			}
			if err == nil && !sig.SignedAt.Equal(day(signTime)) {
				t.Errorf("ours: %+v", sig)
			}
			if good, said := l.theirs(file, now); good != c.theirs {
				t.Errorf("osslsigncode accepts: %v\n%s", good, said)
			}
		})
	}
	l.t = t
}

// legacyAuthority answers a TimeStampRequest of Microsoft's with a PKCS #7 over the signature's bytes.
func legacyAuthority(t *testing.T, tsa party, hash crypto.Hash) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, r.Body))
		if err != nil {
			t.Error(err)
		}
		var request struct {
			Type    asn1.ObjectIdentifier
			Content struct {
				Type    asn1.ObjectIdentifier
				Content []byte `asn1:"explicit,tag:0"`
			}
		}
		if _, err := asn1.Unmarshal(body, &request); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write([]byte(base64.StdEncoding.EncodeToString(counterSign(t, tsa, hash, request.Content.Content))))
	})
}

// counterSign makes a PKCS #7 SignedData with one signer over content, signed at signTime.
func counterSign(t testing.TB, p party, hash crypto.Hash, content []byte) []byte {
	digestOID := map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA1: {1, 3, 14, 3, 2, 26}, crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1}}[hash]
	h := hash.New()
	h.Write(content)
	attr := func(oid asn1.ObjectIdentifier, value any) []byte {
		return der(t, struct {
			OID    asn1.ObjectIdentifier
			Values []any `asn1:"set"`
		}{oid, []any{value}})
	}
	attrs := append(attr(oidContentType, oidData), attr(oidSigningTime, day(signTime))...)
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
	}{1, set(der(t, alg{digestOID})), info{oidData, explicit(der(t, content))}, explicit(p.cert.Raw), set(signer)}))})
}

func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
