package debian

import (
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
)

// origin is what the publisher knows of a suite before it reads a byte of it:
// from the machine's sources or from its own configuration.
type origin struct {
	// path is the suite as in sources.list ("bookworm-security").
	path string
	// keys may sign; keyring is the file that endpoints will find them in.
	keys    authentic.Keyring
	keyring string
	// security overrides what the Release file says, when set.
	security *bool
	// release overrides the distribution's release ("debian-12"); needed
	// for vendors that make no distribution.
	release string
	// fallback is the release of suites whose vendor makes no distribution.
	fallback string
	uri      string // the archive's base
	site     string
}

// signed is an InRelease file that has been proven.
type signed struct {
	release Release
	archive catalog.Archive // without Indexes
	raw     []byte
}

// verifyInRelease proves an InRelease file and reads it. It does not look at
// Valid-Until or at what was seen before.
func verifyInRelease(raw []byte, o origin, now time.Time) (signed, error) {
	if looksLikeHTML(raw) {
		return signed{}, fault.New(fault.Untrusted, "debian: the archive answered with a web page where %s/InRelease should be", o.path).
			WithHint("A proxy or captive portal may stand between this machine and the archive.")
	}
	text, signer, err := authentic.VerifyInRelease(raw, o.keys, now)
	if err != nil {
		return signed{}, fault.Wrap(err, fault.Untrusted, "debian: %s/InRelease is refused", o.path)
	}
	rel, err := ParseRelease(text)
	if err != nil {
		return signed{}, err
	}
	sum := newCounted()
	_, _ = sum.Write(raw) // hashing can't fail
	a := catalog.Archive{
		ID: sum.sum()[:16], Label: rel.Label, Origin: rel.Origin, Suite: rel.Suite, Codename: rel.Codename, Path: o.path,
		Security: rel.IsSecurity(), NotAutomatic: rel.NotAutomatic, ButAutomaticUpgrades: rel.ButAutomaticUpgrades,
		Version: rel.Version, Date: rel.Date, ValidUntil: rel.ValidUntil, Signers: []string{signer.Fingerprint},
		Keyring: o.keyring, Site: o.site,
	}
	if o.security != nil {
		a.Security = *o.security
	}
	return signed{release: rel, archive: a, raw: raw}, nil
}

// notBefore refuses a Release file that is older than the one in use: somebody
// replays it to hide updates.
func (s signed) notBefore(current catalog.Archive) error {
	if current.ID == "" || current.ID == s.archive.ID || !s.archive.Date.Before(current.Date) {
		return nil
	}
	return fault.New(fault.Untrusted, "debian: %s/InRelease is refused: it is of %s, and one of %s has been seen already",
		s.archive.Path, s.archive.Date.Format(time.RFC3339), current.Date.Format(time.RFC3339)).
		WithHint("The mirror is behind, or somebody replays an old state to hide updates. The newer one stays in use.")
}

// expired gives the sentence about a snapshot that its vendor does not vouch
// for any more, empty when there is none.
func expired(a catalog.Archive, now time.Time) string {
	if a.ValidUntil.IsZero() || !now.After(a.ValidUntil) {
		return ""
	}
	return a.Path + ": the vendor's indexes were valid until " + a.ValidUntil.Format(time.RFC3339) +
		"; newer updates may exist that this publisher has not seen"
}

// place finds out for which release of which distribution a suite is. The
// second value is its number, empty when the Release file has none.
func (s signed) place(o origin) (snap snapshot, number string) {
	snap = snapshot{Archive: s.archive, Vendor: vendorName(s.release.Origin), URI: o.uri}
	if snap.Vendor == "" {
		snap.Vendor = vendorName(o.site)
	}
	if snap.Vendor == "" {
		snap.Vendor = "unknown"
	}
	number = s.release.releaseNumber()
	distribution := func(release string) bool { return release != "" && strings.HasPrefix(release, snap.Vendor+"-") }
	switch {
	case o.release != "":
		snap.Release, snap.Own = o.release, distribution(o.release)
	case o.fallback != "" && !distribution(o.fallback):
		snap.Release = o.fallback
	case number != "":
		snap.Release, snap.Own = snap.Vendor+"-"+number, true
	default:
		snap.Own = true // numberReleases finds the number among its siblings
	}
	return snap, number
}

// loadKeys reads the keyring files and key blocks that a source names. A source
// that names none is judged by the trusted files, of which those that can't be
// read are left out, as apt does.
func loadKeys(files []string, armored string, fingerprints, trusted []string) (authentic.Keyring, error) {
	var keys authentic.Keyring
	if armored != "" {
		k, err := authentic.ParseKeyring([]byte(armored))
		if err != nil {
			return keys, err
		}
		keys = keys.With(k)
	}
	if len(files) == 0 && armored == "" {
		for _, f := range trusted {
			if k, err := authentic.LoadKeyrings(f); err == nil {
				keys = keys.With(k)
			}
		}
	}
	for _, f := range files {
		k, err := authentic.LoadKeyrings(f)
		if err != nil {
			return keys, err
		}
		keys = keys.With(k)
	}
	return keys.Only(fingerprints...), nil
}
