package crawl

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/authentic/authenticode"
	"github.com/fettlehq/fettle/internal/fault"
)

// Seal says whose signature a vendor's catalog must carry: catalogs in cabinets
// are signed with Authenticode as programs are.
type Seal struct {
	// Signer is the exact common name or organization of the certificate; empty
	// asks for no signature.
	Signer string
	// Trust is where the certificates must lead, Now the time.
	Trust authenticode.Trust
	Now   func() time.Time
}

// Proof is what was found of a catalog's own signature.
type Proof struct {
	Signer      string    `json:"signer"` // by whose name it was asked for
	Issuer      string    `json:"issuer,omitempty"`
	Certificate string    `json:"certificate"` // SHA-256, hex
	SignedAt    time.Time `json:"signed_at,omitzero"`
}

// Validate returns fault.Invalid for a seal that nothing could ever meet.
func (s Seal) Validate() error {
	if s.Signer != "" && (len(s.Trust.Roots) == 0 || s.Now == nil) {
		return fault.New(fault.Invalid, "crawl: a catalog's signature is asked for, and no roots of code-signing certificates are configured").
			WithHint("Set authenticode.roots to PEM files of certificates that you trust.")
	}
	return nil
}

// From describes the seal for a source's memory: what was believed of another
// signer, or by other roots, is forgotten.
func (s Seal) From() string {
	if s.Signer == "" {
		return ""
	}
	h := sha256.New()
	for _, c := range s.Trust.Roots {
		h.Write(c.Raw)
	}
	h.Write([]byte{0})
	for _, c := range s.Trust.TSARoots {
		h.Write(c.Raw)
	}
	return " signed by " + s.Signer + " " + hex.EncodeToString(h.Sum(nil))[:16]
}

// Check verifies a catalog. It returns nil when no signature is asked for, and
// fault.Untrusted for one that is not the signer's. It says nothing of the
// catalog's age: whoever has an old one can have it time-stamped again.
func (s Seal) Check(f *os.File) (*Proof, error) {
	if s.Signer == "" {
		return nil, nil //nolint:nilnil // nothing asked, nothing found
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "crawl: the catalog can't be read")
	}
	sig, err := authenticode.Verify(f, info.Size(), authenticode.CAB, s.Trust, authenticode.Expect{Publisher: s.Signer}, s.Now())
	if err != nil {
		return nil, fault.Wrap(err, fault.Untrusted, "crawl: the catalog's own signature").
			WithHint("What was published of the catalog before stays in force. If its maker signs by another name now, make sure of that and change the configuration.")
	}
	return &Proof{Signer: s.Signer, Issuer: sig.Issuer, Certificate: sig.Thumbprint, SignedAt: sig.SignedAt}, nil
}

// Tell is the proof as evidence of what is taken from the catalog.
func (p *Proof) Tell() string {
	text := "the catalog that names it is signed by " + p.Signer
	if p.Issuer != "" {
		text += ", issued by " + p.Issuer
	}
	text += ", certificate " + strings.ToLower(p.Certificate)
	if !p.SignedAt.IsZero() {
		text += ", before " + p.SignedAt.UTC().Format(time.RFC3339)
	}
	return text
}
