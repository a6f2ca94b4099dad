package authenticode

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"time"
)

// timestamp returns the time at which a trusted authority has seen the signature, or zero and, if there is a timestamp that
// does not count, the reason. Such a timestamp does no harm: anyone could have taken it away.
func (v *verifier) timestamp(sd *signedData) (time.Time, string) {
	stamp, err := findTimestamp(sd, v.trust.SHA1Timestamps)
	switch {
	case err != nil:
		return time.Time{}, "its timestamp does not count: " + reason(err)
	case stamp == nil:
		return time.Time{}, ""
	case stamp.when.After(v.now):
		return time.Time{}, "its timestamp is of " + stamp.when.UTC().Format(time.RFC3339) + ", which is in the future"
	case len(v.trust.TSARoots) == 0:
		return time.Time{}, "no time-stamping authority is trusted here"
	}
	// The authority's certificate may have expired since: what it said while it was valid stands.
	if err := v.path(stamp.signer, append(slices.Clone(stamp.certs), sd.certs...), v.trust.TSARoots, x509.ExtKeyUsageTimeStamping, stamp.when); err != nil {
		return time.Time{}, "its timestamp does not count: " + reason(err)
	}
	return stamp.when, ""
}

// chain checks that the signer's certificate leads to a root, was made for signing code and was valid when it signed.
func (v *verifier) chain(leaf *x509.Certificate, certs []*x509.Certificate, stamp time.Time, noStamp string) error {
	at := stamp
	if at.IsZero() || hasUsage(leaf, oidLifetimeSigning) { // such a certificate's signatures end with it
		at = v.now
	}
	err := v.path(leaf, certs, v.trust.Roots, x509.ExtKeyUsageCodeSigning, at)
	if noStamp != "" && errors.Is(err, Expired) {
		return refuse(Expired, "%s; %s", reason(err), noStamp)
	}
	return err
}

// path builds the way from a certificate to one of the roots, at a time.
func (v *verifier) path(leaf *x509.Certificate, certs, roots []*x509.Certificate, usage x509.ExtKeyUsage, at time.Time) error {
	// Windows takes a certificate without a list of usages for any. Nobody who may sign code has had one since 2011.
	if !slices.Contains(leaf.ExtKeyUsage, usage) {
		return refuse(UntrustedChain, "the certificate of %s is not meant for %s", name(leaf.Subject), purpose(usage))
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return refuse(UntrustedChain, "the certificate of %s is not meant for signatures", name(leaf.Subject))
	}
	opts := x509.VerifyOptions{
		// Never nil: Go would take the machine's own roots.
		Roots: pool(roots), Intermediates: pool(certs, v.trust.Intermediates),
		CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage},
	}
	chains, err := leaf.Verify(opts)
	if err != nil {
		return chainFault(leaf, opts, err)
	}
	for _, chain := range chains {
		err = nil
		for _, c := range chain[:max(1, len(chain)-1)] { // a root was chosen by hand
			err = errors.Join(err, weakKey(c))
		}
		if err == nil {
			return nil
		}
	}
	return refuse(Weak, "the chain of %s has a key that is too weak", name(leaf.Subject))
}

// chainFault says in words what Go found.
func chainFault(leaf *x509.Certificate, opts x509.VerifyOptions, err error) error {
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	at := opts.CurrentTime
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		c := invalid.Cert
		return refuse(Expired, "the certificate of %s is valid from %s to %s, not on %s", name(c.Subject), day(c.NotBefore), day(c.NotAfter), day(at))
	}
	if selfSigned(leaf) {
		return refuse(SelfSigned, "%s has vouched for itself", name(leaf.Subject))
	}
	// Go leaves out what has expired above the signer's certificate and then tells of an unknown authority.
	for _, t := range []time.Time{leaf.NotBefore, leaf.NotAfter} {
		opts.CurrentTime = t
		if _, err := leaf.Verify(opts); err == nil {
			return refuse(Expired, "a certificate above that of %s was not valid on %s", name(leaf.Subject), day(at))
		}
	}
	return refuse(UntrustedChain, "the certificate of %s, issued by %s, leads to no trusted root", name(leaf.Subject), name(leaf.Issuer)).
		WithHint("If this publisher is to be trusted, add the root of its chain to the trusted certificates.")
}

func selfSigned(c *x509.Certificate) bool {
	return string(c.RawIssuer) == string(c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func hasUsage(c *x509.Certificate, oid asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(c.UnknownExtKeyUsage, oid.Equal)
}

func purpose(u x509.ExtKeyUsage) string {
	if u == x509.ExtKeyUsageTimeStamping {
		return "timestamps"
	}
	return "signing code"
}

func pool(lists ...[]*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, list := range lists {
		for _, c := range list {
			p.AddCert(c)
		}
	}
	return p
}
