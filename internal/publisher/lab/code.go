package lab

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/authentic/authenticode"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Code says whose signatures count for programs of Windows.
type Code struct {
	// Roots and TimestampRoots are where certificates of makers and of
	// time-stamping authorities must lead. Without Roots nothing is proven.
	Roots, TimestampRoots []*x509.Certificate
	// Publishers names who must have signed a product's installers: the exact
	// common name or organization of the certificate, by product. What is not
	// named is pinned to whom its first proven installer is from.
	Publishers map[string]string
	// Products names the package that a product of Windows belongs to, where
	// several claim it: by identity ("app tool|maker", "arp Tool").
	Products map[string]string
}

// File is a fetched payload.
type File interface {
	io.ReaderAt
	io.ReadCloser
	Stat() (fs.FileInfo, error)
}

// Believe sets whose signatures count from now on.
func (l *Lab) Believe(code Code) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := sha256.New()
	for _, set := range [][]*x509.Certificate{code.Roots, code.TimestampRoots} {
		for _, c := range set {
			h.Write(c.Raw)
		}
		h.Write([]byte{0})
	}
	l.code, l.trust = code, hex.EncodeToString(h.Sum(nil))[:16]
}

// Believed is what Believe has set.
func (l *Lab) Believed() Code {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.code
}

// isCode reports patches whose payload would run on Windows, and that therefore
// count by its Authenticode signature: no archive vouches for them.
func isCode(p patch.Patch) bool {
	switch p.Install.Kind {
	case "msi", "msp", "msu", "cab", "exe", "msix":
		return len(p.Archives) == 0 && len(p.Items) > 0
	}
	return false
}

// Examine looks at the signatures of all fetched payloads that run on Windows
// and were not looked at before with these roots, and pins each new product to
// the signer of its oldest proven version. open returns fault.NotFound for what
// was not fetched. The error is nil unless ctx ended or the proofs can't be
// saved; Judge tells what was found.
func (l *Lab) Examine(ctx context.Context, patches []patch.Patch, open func(sha256 string) (File, error), now time.Time) error {
	proofs := map[string]Proof{}
	for _, p := range patches {
		if !isCode(p) || p.Items[0].Payload.SHA256 == "" || l.examined(p.Items[0].Payload.SHA256) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fault.Wrap(err, fault.Cancelled, "lab: stopped")
		}
		sum := p.Items[0].Payload.SHA256
		if _, done := proofs[sum]; done {
			continue
		}
		f, err := open(sum)
		if err != nil {
			continue // Judge says that it was not examined
		}
		proofs[sum] = l.examineCode(f, p, now)
		_ = f.Close() // only read from
	}
	if err := l.record(proofs); err != nil {
		return err
	}
	return l.pin(patches, now)
}

func (l *Lab) examined(sum string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	proof, seen := l.proofs[sum]
	return seen && proof.Trust == l.trust
}

// examineCode checks hash and signature of one file.
func (l *Lab) examineCode(f File, p patch.Patch, now time.Time) Proof {
	l.mu.Lock()
	code, trust := l.code, l.trust
	l.mu.Unlock()
	payload := p.Items[0].Payload
	bad := func(why string) Proof { return Proof{Reason: why, At: now.UTC(), Trust: trust} }
	if len(code.Roots) == 0 {
		return bad("no roots of code-signing certificates are configured, so nobody's signature counts")
	}
	if err := authentic.Checksum(f, payload.SHA256, payload.Size); err != nil {
		return bad(fault.Public(err))
	}
	info, err := f.Stat()
	if err != nil {
		return bad("the file can't be read")
	}
	sig, err := authenticode.Verify(f, info.Size(), authenticode.Sniff,
		authenticode.Trust{Roots: code.Roots, TSARoots: code.TimestampRoots}, authenticode.Expect{}, now)
	if err != nil {
		return bad(strings.TrimPrefix(fault.Public(err), "authenticode: "))
	}
	if !fits(sig.Kind, p.Install.Kind) {
		return bad("it is a signed " + string(sig.Kind) + " file, the manifest calls it " + p.Install.Kind)
	}
	return Proof{OK: true, At: now.UTC(), Trust: trust, Signer: sig.Publisher, Organization: sig.Organization, Checks: []string{
		"payload fetched: SHA-256 as in the manifest",
		"Authenticode signature by " + signer(sig.Publisher, sig.Organization) + ", issued by " + sig.Issuer + ", certificate " + sig.Thumbprint,
		stamp(sig),
	}}
}

func fits(found authenticode.Kind, kind string) bool {
	switch kind {
	case "msi", "msp":
		return found == authenticode.MSI
	case "exe":
		return found == authenticode.PE
	case "msix": // nothing proves a package, so it stays a bulletin
		return false
	}
	return found == authenticode.CAB
}

func signer(name, organization string) string {
	if organization == "" || organization == name {
		return name
	}
	return name + " (" + organization + ")"
}

func stamp(sig authenticode.Signature) string {
	if sig.Timestamped {
		return "signed before " + sig.SignedAt.UTC().Format(time.RFC3339) + ", as a time-stamping authority confirms"
	}
	return "no time stamp that counts: the signature is good only as long as the certificate"
}

// judgeCode gives the verdict on a patch whose payload runs on Windows. What is
// not proven stays as a bulletin from which nothing is installed; a signer that
// has changed is a rejection.
func (l *Lab) judgeCode(p *patch.Patch) (patch.Evidence, string) {
	payload := p.Items[0].Payload
	for _, it := range p.Items {
		if it.Payload != payload {
			return patch.Evidence{}, "its items have several payloads"
		}
	}
	proof, seen := l.proofs[payload.SHA256]
	switch {
	case payload.SHA256 == "" && len(p.Evidence.Checks) > 0:
		return l.bulletin(p, p.Evidence.Checks...), ""
	case payload.SHA256 == "":
		return l.bulletin(p, "no payload is named: it says what a machine lacks, and nothing is installed from it"), ""
	case !seen || proof.Trust != l.trust:
		return l.bulletin(p, "nothing is installed from it: its payload was not examined"), ""
	case !proof.OK:
		return l.bulletin(p, "nothing is installed from it: "+proof.Reason), ""
	}
	if why := p.Install.Stray(); why != "" {
		return l.bulletin(p, "nothing is installed from it: its manifest "+why), ""
	}
	want, ok := l.allowed(*p, proof)
	if !ok {
		return patch.Evidence{}, "it is signed by " + signer(proof.Signer, proof.Organization) + ", but " + p.Product + " must be signed by " + want +
			"; if its maker has a new name, " + l.remedy(*p, proof)
	}
	checks := slices.Concat(proof.Checks, []string{agreement(*p, proof), l.confidence(*p, proof)}, p.Evidence.Checks, []string{command(p.Install)})
	p.Items = slices.Clone(p.Items)
	for i := range p.Items {
		p.Items[i].Payload.Signer = want
	}
	return patch.Evidence{Verdict: patch.Proven, Checks: checks}, ""
}

// remedy says how a person lets a new signer in.
func (l *Lab) remedy(p patch.Patch, proof Proof) string {
	if l.named(p.Product) != "" || p.Items[0].Payload.Signer != "" {
		return "set authenticode.publishers to that"
	}
	return "run 'fettle publisher signers accept " + p.Product + " \"" + proof.Signer + "\"'"
}

// command tells who approves the patch what runs with the file.
func command(m patch.Manifest) string {
	if m.Kind == "exe" {
		return "runs " + strings.Join(m.Argv, " ")
	}
	return "runs the installer of Windows for " + m.Kind + " files with " + cmp.Or(strings.Join(m.Argv, " "), "no further words")
}

// bulletin takes away all that something could be installed from.
func (l *Lab) bulletin(p *patch.Patch, checks ...string) patch.Evidence {
	p.Items = slices.Clone(p.Items)
	for i := range p.Items {
		p.Items[i].Payload = patch.Payload{}
	}
	p.Install = patch.Manifest{Kind: p.Install.Kind, Scope: p.Install.Scope, Reboot: p.Install.Reboot}
	return patch.Evidence{Verdict: patch.Unproven, Checks: checks}
}
