package authenticode

import "github.com/fettlehq/fettle/internal/fault"

// Refusal says why a signature was not accepted. Ask with errors.Is(err, authenticode.Tampered).
type Refusal string

// The refusals, from the one that says least about a file to the one that came closest to being accepted.
const (
	// Unsigned means that the file carries no signature.
	Unsigned Refusal = "unsigned"
	// Malformed means that the file or its signature is damaged, cut off or not built as it must be.
	Malformed Refusal = "malformed"
	// Weak means that a hash or key is too weak to prove anything, such as SHA-1.
	Weak Refusal = "weak"
	// Tampered means that the file or its signature was changed after signing.
	Tampered Refusal = "tampered"
	// SelfSigned means that the signer has vouched for itself.
	SelfSigned Refusal = "self-signed"
	// UntrustedChain means that the certificates don't lead to a trusted root or don't allow signing code.
	UntrustedChain Refusal = "untrusted-chain"
	// Expired means that the certificate was not valid when the file was signed or, without a timestamp that counts, is not now.
	Expired Refusal = "expired"
	// WrongPublisher means that the signature is good and somebody else's.
	WrongPublisher Refusal = "wrong-publisher"
)

// Error is the refusal's short name.
func (r Refusal) Error() string { return string(r) }

// rank orders refusals by how far a signature came.
func (r Refusal) rank() int {
	for i, other := range []Refusal{Unsigned, Malformed, Weak, Tampered, SelfSigned, UntrustedChain, Expired, WrongPublisher} {
		if r == other {
			return i
		}
	}
	return -1
}

// refuse is a fault.Untrusted because of r.
func refuse(r Refusal, format string, args ...any) *fault.Error {
	return fault.Wrap(r, fault.Untrusted, "authenticode: refused the file: "+format, args...)
}
