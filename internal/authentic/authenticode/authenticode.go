// Package authenticode answers one question: was this PE, MSI, MSP, CAB or MSU file signed by the publisher that it is
// expected from, and is it unchanged?
//
// It follows Microsoft's "Windows Authenticode Portable Executable Signature Format" and, for MSI and CAB, what
// osslsigncode does, with which the tests compare it. The rules that differ on purpose are stricter: MD5 and SHA-1 don't
// count, the certificate must name code signing, and nothing may stand behind a signature.
//
// Nothing here reads the clock, the network or the machine's certificate stores: who is trusted and what time it is are the
// caller's to say. So revocation is not looked up either; take a certificate back by taking it out of what is handed in.
//
// The file is read before anybody knows whether it is genuine, by a program with all rights. Therefore every size in it is
// bounded, and memory does not grow with the file. Between this check and the use of the file nobody else may be able to
// write it: that is the caller's to see to.
package authenticode

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"io"
	"time"

	"github.com/fettlehq/fettle/internal/cfb"
	"github.com/fettlehq/fettle/internal/fault"
)

// Kind is a form of file that can hold an Authenticode signature.
type Kind string

// The kinds. An MSP patch and an MSM module are MSI in form, an MSU package is a CAB.
const (
	Sniff Kind = "" // look at the first bytes
	PE    Kind = "pe"
	MSI   Kind = "msi"
	CAB   Kind = "cab"
)

// Trust says whom to believe.
type Trust struct {
	// Roots are the certificates that a publisher's chain must end in. Without any, nothing is trusted.
	Roots []*x509.Certificate
	// Intermediates help to build chains; files carry most of them themselves. They are not trusted as such.
	Intermediates []*x509.Certificate
	// TSARoots are the certificates that a time-stamping authority's chain must end in. Without any, no timestamp counts.
	TSARoots []*x509.Certificate
	// SHA1Timestamps lets timestamps (never the signature of the file) use SHA-1, as most did before 2017.
	SHA1Timestamps bool
}

// Expect says who must have signed. Every condition that is set must hold; without any, anyone whom Trust covers will do.
type Expect struct {
	// Publisher is the exact common name or organization of the signer's certificate.
	Publisher string `json:"publisher,omitempty"`
	// Thumbprints are the SHA-256 or, as Windows shows them, SHA-1 hashes of acceptable certificates in hex; spaces, colons
	// and case don't matter.
	Thumbprints []string `json:"thumbprints,omitempty"`
}

// Signature describes the signature that was accepted.
type Signature struct {
	Kind Kind `json:"kind"`
	// Publisher is the common name of the signer's certificate, Organization its first organization.
	Publisher    string `json:"publisher"`
	Organization string `json:"organization,omitempty"`
	// Thumbprint is the SHA-256 of the certificate, ThumbprintSHA1 what Windows shows as its thumbprint; lower-case hex.
	Thumbprint     string `json:"thumbprint"`
	ThumbprintSHA1 string `json:"thumbprint_sha1"`
	// Serial is the certificate's serial number, lower-case hex.
	Serial string `json:"serial"`
	// Issuer is the common name of the certificate's issuer.
	Issuer string `json:"issuer"`
	// Timestamped says that a trusted authority has confirmed SignedAt; else SignedAt is zero.
	Timestamped bool      `json:"timestamped"`
	SignedAt    time.Time `json:"signed_at,omitzero"`
	// Digest is the hash over the file: sha256, sha384 or sha512.
	Digest string `json:"digest"`
}

// maxSignatures bounds the work that a hostile file can cause. Windows files carry one or two.
const maxSignatures = 8

// maxBlob bounds a signature's size in bytes. Page hashes of a PE file are in it: 36 bytes for each 4096.
const maxBlob = 32 << 20

// container is a file taken apart: its signatures, and the hash over the rest.
type container interface {
	// blobs returns the signatures (PKCS #7, DER). None is refused as Unsigned.
	blobs() ([][]byte, error)
	// digest hashes what is signed, as this kind of file wants it.
	digest(h crypto.Hash) ([]byte, error)
}

// Verify checks a file of size bytes. If it carries several signatures the one with the best hash among the good ones is
// returned; if none is good, the error is about the one that came furthest.
//
// Every refusal is a fault.Untrusted that wraps a Refusal, which errors.Is can ask for. Roots that are missing and a file of
// no known kind are fault.Invalid and fault.Unsupported; a file that can't be read is fault.Unavailable.
func Verify(r io.ReaderAt, size int64, kind Kind, trust Trust, expect Expect, now time.Time) (Signature, error) {
	if len(trust.Roots) == 0 {
		return Signature{}, fault.New(fault.Invalid, "authenticode: no trusted certificates were given, so no file can be accepted")
	}
	if now.IsZero() {
		return Signature{}, fault.New(fault.Invalid, "authenticode: no time was given")
	}
	kind, c, err := open(r, size, kind)
	if err != nil {
		return Signature{}, err
	}
	blobs, err := c.blobs()
	if err != nil {
		return Signature{}, err
	}
	v := verifier{container: c, kind: kind, trust: trust, expect: expect, now: now, hashes: map[crypto.Hash][]byte{}}
	return v.best(blobs)
}

// open takes the file apart.
func open(r io.ReaderAt, size int64, kind Kind) (Kind, container, error) {
	start := make([]byte, min(max(size, 0), 8))
	if n, err := r.ReadAt(start, 0); n < len(start) {
		return kind, nil, unreadable(err)
	}
	sniffed := sniff(start)
	switch {
	case kind == Sniff && sniffed == Sniff:
		return kind, nil, fault.New(fault.Unsupported, "authenticode: neither a PE, an MSI nor a CAB file: its signature can't be checked")
	case kind == Sniff:
		kind = sniffed
	case kind != sniffed:
		return kind, nil, refuse(Malformed, "this is no %s file", kind)
	}
	var c container
	var err error
	switch kind {
	case PE:
		c, err = openPE(r, size)
	case MSI:
		c, err = openMSI(r, size)
	case CAB:
		c, err = openCAB(r, size)
	default:
		err = fault.New(fault.Unsupported, "authenticode: files of kind %q can't be checked", kind)
	}
	return kind, c, err
}

func sniff(start []byte) Kind {
	switch {
	case bytes.HasPrefix(start, []byte("MZ")):
		return PE
	case cfb.IsCompound(start):
		return MSI
	case bytes.HasPrefix(start, []byte("MSCF")):
		return CAB
	}
	return Sniff
}

func unreadable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "authenticode: can't read the file")
}
