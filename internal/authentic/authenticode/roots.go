package authenticode

import (
	"crypto/x509"
	"encoding/pem"

	"github.com/fettlehq/fettle/internal/fault"
)

// ParseRoots reads certificates for Trust from PEM text. Blocks of other kinds and text around them are passed over; a
// damaged certificate, or none at all, is fault.Invalid.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "authenticode: certificate %d of the trusted certificates is damaged", len(certs)+1)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fault.New(fault.Invalid, "authenticode: the trusted certificates hold none in PEM form")
	}
	return certs, nil
}
