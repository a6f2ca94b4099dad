package authentic

import (
	"crypto"
	"fmt"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// minRSA follows apt's default (APT::Key::Assert-Pubkey-Algo ">=rsa2048").
const minRSA = 2048

// weak tells why a signature's algorithms are not accepted: "" if they are.
//
// Self-signatures in certificates are judged by the library's default (a nil policy), which refuses MD5 and RIPEMD-160. SHA-1
// stands in many old self-signatures, where a collision gains nothing without the certificate's own key.
func weak(key *packet.PublicKey, sig *packet.Signature) string {
	switch sig.Hash {
	case crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
	default:
		return fmt.Sprintf("the hash %s is too weak", sig.Hash)
	}
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if bits, err := key.BitLength(); err != nil || bits < minRSA {
			return fmt.Sprintf("an RSA key of %d bits is too weak", bits)
		}
	case packet.PubKeyAlgoDSA, packet.PubKeyAlgoElGamal, packet.PubKeyAlgoRSAEncryptOnly, packet.PubKeyAlgoECDH:
		return "keys of this kind are too weak or can't sign"
	}
	return ""
}
