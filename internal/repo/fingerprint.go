package repo

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/fettlehq/fettle/internal/fault"
)

// fingerprintPrefix names the hash, so that another one can follow some day.
const fingerprintPrefix = "sha256:"

// rootPin is what a fingerprint is the hash of. Its canonical JSON form is
// part of Fettle's protocol and never changes.
type rootPin struct {
	Keys      []*metadata.Key `json:"keys"`
	Threshold int             `json:"threshold"`
}

// RootFingerprint returns "sha256:" and 64 hex digits for a root file: the
// SHA-256 of the canonical JSON (OLPC form, as TUF signs it) of
//
//	{"keys": [key, ...], "threshold": n}
//
// where keys are the TUF key objects of the *root role* in the order of their
// TUF key ids (the SHA-256 of each canonical key object, recomputed here and
// never read from the file) and n is the root role's threshold. Keys of other
// roles, the version, the expiry and the signatures are not covered, so the
// fingerprint stays the same while the root keys do, and a root file counts
// only together with its signatures: use CheckRoot. Both lines end up in an
// enrolment command, hence digits and letters only, no case, no spaces.
//
// It returns fault.Untrusted when the bytes are no root metadata.
func RootFingerprint(rootJSON []byte) (string, error) {
	root, err := ParseRoot(rootJSON)
	if err != nil {
		return "", err
	}
	return fingerprint(root)
}

// ParseRoot reads a root file and verifies it by itself: it must be signed by
// a threshold of the root keys it names. Expiry is not looked at. It returns
// fault.Untrusted when anything is wrong; hostile bytes cannot make it panic.
func ParseRoot(rootJSON []byte) (root *metadata.Metadata[metadata.RootType], err error) {
	defer func() {
		if p := recover(); p != nil { // go-tuf dereferences null entries
			root, err = nil, fault.New(fault.Untrusted, "repo: the root file is malformed")
		}
	}()
	set, err := trustedmetadata.New(rootJSON)
	if err != nil {
		return nil, fault.Wrap(err, fault.Untrusted, "repo: the root file is refused: it is damaged or not signed by the keys it names")
	}
	return set.Root, nil
}

// CheckRoot verifies a root file against the fingerprint that a person handed
// over, and is what stands between an enrolment command and a server that
// offers a root of its own. Letter case and surrounding space of the
// fingerprint do not matter. It returns fault.Invalid for text that is no
// fingerprint and fault.Untrusted for a root that is not the expected one.
func CheckRoot(rootJSON []byte, want string) error {
	want = strings.ToLower(strings.TrimSpace(want))
	hash, ok := strings.CutPrefix(want, fingerprintPrefix)
	if !ok || CheckHash(hash) != nil {
		return fault.New(fault.Invalid, "repo: %q is no root fingerprint", clip(want)).
			WithHint("A fingerprint is %q and 64 hex digits; copy it from the publisher once more.", fingerprintPrefix)
	}
	got, err := RootFingerprint(rootJSON)
	if err != nil {
		return err
	}
	if got != want {
		return fault.New(fault.Untrusted, "repo: the repository's root is refused: expected fingerprint %s, seen %s", want, got).
			WithHint("Either the fingerprint belongs to another repository, or someone offers a forged one. Compare it with the publisher over another channel.")
	}
	return nil
}

func fingerprint(root *metadata.Metadata[metadata.RootType]) (string, error) {
	role := root.Signed.Roles[metadata.ROOT]
	pin := rootPin{Threshold: role.Threshold}
	ids := map[*metadata.Key]string{}
	for _, id := range role.KeyIDs {
		stored := root.Signed.Keys[id]
		// A fresh value, because a Key remembers the id it was given first.
		key := &metadata.Key{Type: stored.Type, Scheme: stored.Scheme, Value: stored.Value}
		kid, err := key.ID()
		if err != nil {
			return "", fault.Wrap(err, fault.Untrusted, "repo: a key of the root file cannot be hashed")
		}
		ids[key] = kid
		pin.Keys = append(pin.Keys, key)
	}
	slices.SortFunc(pin.Keys, func(a, b *metadata.Key) int { return strings.Compare(ids[a], ids[b]) })
	canonical, err := cjson.EncodeCanonical(pin)
	if err != nil {
		return "", fault.Wrap(err, fault.Untrusted, "repo: the root keys cannot be hashed")
	}
	sum := sha256.Sum256(canonical)
	return fingerprintPrefix + hex.EncodeToString(sum[:]), nil
}
