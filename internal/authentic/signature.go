package authentic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/fettlehq/fettle/internal/fault"
)

// maxSignatures bounds the work that a hostile file can cause. Debian's Release files carry two or three.
const maxSignatures = 16

// Signer is who signed.
type Signer struct {
	// Fingerprint is the certificate's (primary key's) and Key that of the key that made the signature, upper-case hex.
	Fingerprint string `json:"fingerprint"`
	Key         string `json:"key"`
	// UserID is the certificate's primary user id, such as "Debian Archive <...>".
	UserID string `json:"user_id"`
	// When is the time that the signature claims for itself.
	When time.Time `json:"when"`
}

// VerifyInRelease checks a clear-signed file (RFC 9580, section 7) and returns the signed text, with dash escapes removed
// and lines ending in "\n", and the first good signer. One good signature by a key of the keyring is enough. Text
// outside the signed part is refused, because another reader could take it for signed. What it refuses is
// fault.Untrusted, with the reason for every signature.
//
// The rules are gpgv's as apt calls it: a key or signature that has expired at now or has been revoked does not count,
// nor do MD5, SHA-1 and RIPEMD-160; beyond gpgv, neither do DSA, ElGamal and RSA keys under 2048 bits.
func VerifyInRelease(signed []byte, keys Keyring, now time.Time) ([]byte, Signer, error) {
	if !bytes.HasPrefix(signed, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, Signer{}, fault.New(fault.Untrusted, "authentic: refused a file without a signature: it does not start with -----BEGIN PGP SIGNED MESSAGE-----")
	}
	block, rest := clearsign.Decode(signed)
	if block == nil {
		return nil, Signer{}, fault.New(fault.Untrusted, "authentic: refused a file whose signature is damaged or cut off")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, Signer{}, fault.New(fault.Untrusted, "authentic: refused a file with %d bytes behind its signature", len(rest))
	}
	signer, err := verify(bytes.NewReader(block.Bytes), block.ArmoredSignature.Body, keys, now)
	if err != nil {
		return nil, Signer{}, err
	}
	return append(block.Plaintext, '\n'), signer, nil
}

// VerifyDetached checks content against a signature that lies beside it, binary or armored (Release and Release.gpg,
// repomd.xml and repomd.xml.asc). The rules and errors are those of VerifyInRelease; content is read once for each
// signature that a key of the keyring may have made.
func VerifyDetached(content io.ReadSeeker, signature []byte, keys Keyring, now time.Time) (Signer, error) {
	var body io.Reader = bytes.NewReader(signature)
	if trimmed := bytes.TrimSpace(signature); bytes.HasPrefix(trimmed, []byte("-----BEGIN")) {
		block, err := armor.Decode(bytes.NewReader(trimmed))
		if err != nil || block.Type != openpgp.SignatureType {
			return Signer{}, fault.New(fault.Untrusted, "authentic: refused a file whose signature is damaged or cut off")
		}
		body = block.Body
	}
	return verify(content, body, keys, now)
}

// verify goes through the signatures until one is good.
func verify(content io.ReadSeeker, signatures io.Reader, keys Keyring, now time.Time) (Signer, error) {
	var reasons []string
	packets := packet.NewOpaqueReader(signatures)
	for n := 0; ; n++ {
		raw, err := packets.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			reasons = append(reasons, "the signature is damaged or cut off")
			break
		}
		if n == maxSignatures {
			reasons = append(reasons, fmt.Sprintf("more than %d signatures", maxSignatures))
			break
		}
		p, err := raw.Parse()
		sig, ok := p.(*packet.Signature)
		if err != nil || !ok {
			reasons = append(reasons, "a signature of a kind that is not understood")
			continue
		}
		signer, reason, err := keys.good(content, sig, now)
		if err != nil {
			return Signer{}, err
		}
		if reason == "" {
			return signer, nil
		}
		reasons = append(reasons, reason)
	}
	if len(reasons) == 0 {
		reasons = []string{"it holds none"}
	}
	return Signer{}, fault.New(fault.Untrusted, "authentic: refused the signature: %s", strings.Join(reasons, "; "))
}

// good tells who made a signature, or the reason why it does not count. The error is one of reading content.
func (k Keyring) good(content io.ReadSeeker, sig *packet.Signature, now time.Time) (Signer, string, error) {
	if sig.IssuerKeyId == nil {
		return Signer{}, "a signature that does not name its key", nil
	}
	reason := fmt.Sprintf("key %016X is not in the keyring of %d", *sig.IssuerKeyId, len(k.entities))
	for _, e := range k.entities {
		key := findKey(e, *sig.IssuerKeyId)
		if key == nil {
			continue
		}
		signer := Signer{Fingerprint: fingerprint(e.PrimaryKey.Fingerprint), Key: fingerprint(key.Fingerprint), When: sig.CreationTime.UTC()}
		var refused string
		if !k.allows(signer.Fingerprint, signer.Key) {
			refused = "this source may be signed only by " + strings.Join(k.only, ", ")
		}
		if refused == "" {
			refused = weak(key, sig)
		}
		if refused == "" {
			wrong, err := mismatch(content, key, sig)
			if err != nil {
				return Signer{}, "", err
			}
			refused = wrong
		}
		if refused == "" {
			refused = stale(e, key, sig, now)
		}
		if refused == "" {
			signer.UserID = userID(e, now)
			return signer, "", nil
		}
		reason = fmt.Sprintf("by key %s: %s", signer.Key, refused)
	}
	return Signer{}, reason, nil
}

// mismatch tells whether the key made this signature over content: "" if so.
func mismatch(content io.ReadSeeker, key *packet.PublicKey, sig *packet.Signature) (string, error) {
	h, err := sig.PrepareVerify()
	if err != nil {
		return "the hash is not supported", nil //nolint:nilerr // a verdict, not a failure
	}
	var w io.Writer = h
	switch sig.SigType {
	case packet.SigTypeBinary:
	case packet.SigTypeText:
		w = openpgp.NewCanonicalTextHash(h)
	default:
		return "it is not a signature over a document", nil
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "authentic: can't read the signed file")
	}
	if _, err := io.Copy(w, content); err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "authentic: can't read the signed file")
	}
	if err := key.VerifySignature(h, sig); err != nil {
		return "the file was changed after it was signed, or the signature is of another file", nil //nolint:nilerr // a verdict
	}
	return "", nil
}

func findKey(e *openpgp.Entity, id uint64) *packet.PublicKey {
	if e.PrimaryKey.KeyId == id {
		return e.PrimaryKey
	}
	for i := range e.Subkeys {
		if e.Subkeys[i].PublicKey.KeyId == id {
			return e.Subkeys[i].PublicKey
		}
	}
	return nil
}

// stale tells why a genuine signature does not count at now: "" if it does. Keys are judged as they stand now and not as
// they stood when they signed, as a stolen key can sign with any date.
func stale(e *openpgp.Entity, key *packet.PublicKey, sig *packet.Signature, now time.Time) string {
	if sig.CreationTime.Before(key.CreationTime) {
		return "the signature claims to be older than its key"
	}
	if sig.CreationTime.After(now) {
		return fmt.Sprintf("the signature is of %s, which is in the future", sig.CreationTime.UTC().Format(time.RFC3339))
	}
	if sig.SigExpired(now) {
		return "the signature has expired"
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return "the signature has a condition that is not understood: " + n.Name
		}
	}
	self, err := e.VerifyPrimaryKey(now, nil)
	if err != nil {
		return "the key " + keyFault(err)
	}
	if key == e.PrimaryKey {
		if self.FlagsValid && !self.FlagSign {
			return "the key is not meant for signing"
		}
		return ""
	}
	for i := range e.Subkeys {
		if e.Subkeys[i].PublicKey != key {
			continue
		}
		binding, err := e.Subkeys[i].Verify(now, nil)
		if err != nil {
			return "the subkey " + keyFault(err)
		}
		if !binding.FlagsValid || !binding.FlagSign {
			return "the subkey is not meant for signing"
		}
	}
	return ""
}

func keyFault(err error) string {
	switch {
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return "has expired"
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "has been revoked"
	}
	return "has no valid self-signature: " + err.Error()
}

func userID(e *openpgp.Entity, now time.Time) string {
	if _, id := e.PrimaryIdentity(now, nil); id != nil {
		return id.Name
	}
	return ""
}
