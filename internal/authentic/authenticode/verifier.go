package authenticode

import (
	"crypto"
	"crypto/sha1" //nolint:gosec // Windows names certificates by it
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
)

// verifier checks the signatures of one file.
type verifier struct {
	container container
	kind      Kind
	trust     Trust
	expect    Expect
	now       time.Time
	hashes    map[crypto.Hash][]byte
}

// best checks all signatures and those nested in them.
func (v *verifier) best(blobs [][]byte) (Signature, error) {
	var best Signature
	var strength int
	var refused error
	for n := 0; len(blobs) > 0; n++ {
		if n == maxSignatures {
			return Signature{}, refuse(Malformed, "it has more than %d signatures", maxSignatures)
		}
		blob := blobs[0]
		blobs = blobs[1:]
		sd, err := parseSignedData(blob)
		if err == nil {
			nested, bad := sd.signer.unsigned.all(oidNestedSignature)
			if bad != nil {
				return Signature{}, refuse(Malformed, "its nested signature is damaged")
			}
			blobs = append(blobs, nested...)
			var sig Signature
			var hash crypto.Hash
			if sig, hash, err = v.one(sd); err == nil && hash.Size() > strength {
				best, strength = sig, hash.Size()
			}
		}
		if err != nil && !isRefusal(err) {
			return Signature{}, err // the file can't be read
		}
		if err != nil && (refused == nil || further(err, refused)) {
			refused = err
		}
	}
	if strength > 0 {
		return best, nil
	}
	return Signature{}, refused
}

// one checks one signature from the file's hash to the publisher's name.
func (v *verifier) one(sd *signedData) (Signature, crypto.Hash, error) {
	hash, want, err := v.indirect(sd)
	if err != nil {
		return Signature{}, 0, err
	}
	leaf, err := sd.verify(sd.content, false)
	if err != nil {
		return Signature{}, 0, err
	}
	if err := v.compare(hash, want); err != nil {
		return Signature{}, 0, err
	}
	stamp, reason := v.timestamp(sd)
	if err := v.chain(leaf, sd.certs, stamp, reason); err != nil {
		return Signature{}, 0, err
	}
	if err := v.publisher(leaf); err != nil {
		return Signature{}, 0, err
	}
	return v.describe(leaf, hash, stamp), hash, nil
}

// spcIndirectData is SpcIndirectDataContent: what is signed instead of the file itself.
type spcIndirectData struct {
	Data   struct{ Type asn1.ObjectIdentifier }
	Digest struct {
		Algorithm algorithm
		Digest    []byte
	}
}

// indirect reads the hash that the signer has put down for the file.
func (v *verifier) indirect(sd *signedData) (crypto.Hash, []byte, error) {
	var data spcIndirectData
	if !sd.contentType.Equal(oidIndirectData) {
		return 0, nil, refuse(Malformed, "its signature is not an Authenticode signature")
	}
	if rest, err := asn1.Unmarshal(sd.contentDER, &data); err != nil || len(rest) > 0 {
		return 0, nil, refuse(Malformed, "its signature does not say in the known way what it signs")
	}
	allowed := map[Kind][]string{PE: {oidPEImage}, CAB: {oidCABData, oidPEImage}, MSI: {oidSIPInfo}}[v.kind]
	if !slices.Contains(allowed, data.Data.Type.String()) {
		return 0, nil, refuse(Malformed, "its signature was made for a file of another kind")
	}
	hash, known := data.Digest.Algorithm.hash()
	switch {
	case !known:
		return 0, nil, refuse(Weak, "its signature uses the hash %s, which proves nothing", data.Digest.Algorithm.Algorithm)
	case weakHash(hash):
		return 0, nil, refuse(Weak, "its signature uses the hash %s, which is too weak", hash)
	case len(data.Digest.Digest) != hash.Size():
		return 0, nil, refuse(Malformed, "its signature has a hash of the wrong length")
	}
	return hash, data.Digest.Digest, nil
}

// compare hashes the file, once for each algorithm.
func (v *verifier) compare(hash crypto.Hash, want []byte) error {
	if v.hashes[hash] == nil {
		sum, err := v.container.digest(hash)
		if err != nil {
			return err
		}
		v.hashes[hash] = sum
	}
	if subtle.ConstantTimeCompare(v.hashes[hash], want) != 1 {
		return refuse(Tampered, "it was changed after it was signed")
	}
	return nil
}

// publisher checks who signed against what was expected.
func (v *verifier) publisher(leaf *x509.Certificate) error {
	want := v.expect.Publisher
	if want != "" && leaf.Subject.CommonName != want && !slices.Contains(leaf.Subject.Organization, want) {
		return refuse(WrongPublisher, "it was signed by %s, not by %q", name(leaf.Subject), want)
	}
	if len(v.expect.Thumbprints) == 0 {
		return nil
	}
	strong, windows := thumbprints(leaf)
	for _, t := range v.expect.Thumbprints {
		t = strings.ToLower(strings.NewReplacer(" ", "", ":", "").Replace(t))
		if t == strong || t == windows {
			return nil
		}
	}
	return refuse(WrongPublisher, "it was signed with the certificate %s of %s, which is not among the expected", strong, name(leaf.Subject))
}

func (v *verifier) describe(leaf *x509.Certificate, hash crypto.Hash, stamp time.Time) Signature {
	s := Signature{
		Kind: v.kind, Publisher: leaf.Subject.CommonName, Issuer: leaf.Issuer.CommonName, Serial: leaf.SerialNumber.Text(16),
		Timestamped: !stamp.IsZero(), SignedAt: stamp.UTC(),
		Digest: strings.ToLower(strings.ReplaceAll(hash.String(), "-", "")),
	}
	if len(leaf.Subject.Organization) > 0 {
		s.Organization = leaf.Subject.Organization[0]
	}
	if s.Publisher == "" {
		s.Publisher = s.Organization
	}
	s.Thumbprint, s.ThumbprintSHA1 = thumbprints(leaf)
	return s
}

func thumbprints(c *x509.Certificate) (strong, windows string) {
	a, b := sha256.Sum256(c.Raw), sha1.Sum(c.Raw)
	return hex.EncodeToString(a[:]), hex.EncodeToString(b[:])
}

func isRefusal(err error) bool {
	var r Refusal
	return errors.As(err, &r)
}

// further tells whether the signature that gave err came further than the one that gave than.
func further(err, than error) bool {
	var a, b Refusal
	errors.As(err, &a)
	errors.As(than, &b)
	return a.rank() > b.rank()
}
