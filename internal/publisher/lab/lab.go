// Package lab answers whether a patch may be published: is it what its vendor
// made? Each patch gets a verdict with the evidence for it.
//
// Vouched means that the vendor's signed index names the payload's hash, and
// that signature and hashes were checked here. Proven means that the payload
// itself was fetched too: its bytes have that hash, and the package says of
// itself what the index says of it. For programs of Windows, which no archive
// vouches for, it means that the payload carries a good Authenticode signature
// of the product's own publisher. Delegated means that the machines' own updater
// fetches and checks it. Unproven means that the patch names no
// payload: it tells what a machine lacks, and nothing can be installed from it.
// What fails a check is rejected: it is not published, and the health report
// names it.
//
// Three things that no signature covers are decided here too, and remembered in
// the data folder: who signs a product (Pin, signers.json), which package a product
// of Windows belongs to (Settle, products.json), and whom people have accepted.
package lab

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Proof is what the lab found when it held a payload in its hands.
type Proof struct {
	OK bool `json:"ok"`
	// Reason says why not.
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
	// Signer and Organization are who signed a program, Checks what was seen,
	// and Trust stands for the roots that were believed then.
	Signer       string   `json:"signer,omitempty"`
	Organization string   `json:"organization,omitempty"`
	Checks       []string `json:"checks,omitempty"`
	Trust        string   `json:"trust,omitempty"`
}

// Rejection is a patch that is not published, with the reason.
type Rejection struct {
	Patch  patch.ID `json:"patch"`
	Reason string   `json:"reason"`
}

// Lab remembers the proofs. It is safe for concurrent use.
type Lab struct {
	path   string
	mu     sync.Mutex
	proofs map[string]Proof // by payload SHA-256

	code       Code
	trust      string // stands for the roots of code
	signers    map[string]Pin
	signerPath string
	ownerPath  string
}

// Open loads the proofs that are kept in dir. fault.Invalid means that their
// file is damaged; deleting it loses nothing but the work of proving again.
func Open(dir string) (*Lab, error) {
	l := &Lab{
		path: filepath.Join(dir, "proofs.json"), proofs: map[string]Proof{},
		signerPath: filepath.Join(dir, signerFile), ownerPath: filepath.Join(dir, ownerFile),
	}
	if err := load(l.path, &l.proofs); err != nil {
		return nil, fault.Wrap(err, fault.CodeOf(err), "lab: the file of proofs").
			WithHint("Delete %s; payloads are then proven again.", l.path)
	}
	pins, err := loadPins(l.signerPath)
	if err != nil {
		return nil, err
	}
	l.signers = pins
	return l, nil
}

func load(path string, into any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "lab: %s can't be read", filepath.Base(path))
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fault.Wrap(err, fault.Invalid, "lab: %s is damaged", filepath.Base(path))
	}
	return nil
}

func save(path string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fault.Wrap(err, fault.Internal, "lab: %s can't be encoded", filepath.Base(path))
	}
	return atomicfile.Write(path, append(data, '\n'), 0o644)
}

// record keeps proofs.
func (l *Lab) record(proofs map[string]Proof) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(proofs) == 0 {
		return nil
	}
	maps.Copy(l.proofs, proofs)
	return save(l.path, l.proofs)
}

// Judge gives every patch its verdict and returns those that may be published,
// in their order, and the others with reasons. Patches must come from archives
// whose InRelease and indexes the crawler has proven; an archive that names no
// signer vouches for nothing.
func (l *Lab) Judge(patches []patch.Patch, archives []catalog.Archive) ([]patch.Patch, []Rejection) {
	byID := map[string]*catalog.Archive{}
	for i := range archives {
		byID[archives[i].ID] = &archives[i]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := make([]patch.Patch, 0, len(patches))
	var rejected []Rejection
	for _, p := range patches {
		evidence, why := l.judge(&p, byID)
		if why != "" {
			rejected = append(rejected, Rejection{Patch: p.ID, Reason: why})
			continue
		}
		p.Evidence = evidence
		kept = append(kept, p)
	}
	return kept, rejected
}

func (l *Lab) judge(p *patch.Patch, archives map[string]*catalog.Archive) (patch.Evidence, string) {
	if p.Install.Kind == delegatedKind {
		return l.judgeDelegated(p), ""
	}
	if isCode(*p) {
		return l.judgeCode(p)
	}
	if len(p.Items) == 0 && len(p.Archives) == 0 {
		return patch.Evidence{Verdict: patch.Unproven, Checks: []string{
			"no payload is named: it says what a machine lacks, and nothing is installed from it",
		}}, ""
	}
	voucher, why := vouchers(*p, archives)
	if why != "" {
		return patch.Evidence{}, why
	}
	proven := len(p.Items) > 0
	for _, it := range p.Items {
		proof, seen := l.proofs[it.Payload.SHA256]
		if seen && !proof.OK {
			return patch.Evidence{}, it.Name + " " + it.Version + ": " + proof.Reason
		}
		proven = proven && seen
	}
	e := patch.Evidence{Verdict: patch.Vouched, Checks: []string{
		voucher.Path + "/InRelease signed by " + strings.Join(voucher.Signers, ", "),
		"package index and payload hashes by SHA-256",
	}}
	if proven {
		e.Verdict = patch.Proven
		e.Checks = append(e.Checks, "payloads fetched: size and SHA-256 as in the index; package, version and architecture as in the index")
	}
	return e, ""
}

// vouchers checks that a signed archive stands behind every item and returns
// the one that is named as evidence: a security suite before others, so that
// the evidence stays the same when the vendor copies the patch to more suites.
func vouchers(p patch.Patch, archives map[string]*catalog.Archive) (*catalog.Archive, string) {
	var best *catalog.Archive
	for _, id := range p.Archives {
		a := archives[id]
		if a == nil || len(a.Signers) == 0 {
			return nil, "no signed archive stands behind it"
		}
		if best == nil || before(a, best) {
			best = a
		}
	}
	if best == nil {
		return nil, "no signed archive stands behind it"
	}
	for _, it := range p.Items {
		if len(it.Payload.SHA256) != 64 || strings.Trim(it.Payload.SHA256, "0123456789abcdef") != "" || it.Payload.Size <= 0 {
			return nil, it.Name + ": the index gives no SHA-256 or no size"
		}
		for _, id := range it.Archives {
			if !slices.Contains(p.Archives, id) {
				return nil, it.Name + ": its archive is not among the patch's"
			}
		}
	}
	return best, ""
}

func before(a, b *catalog.Archive) bool {
	if a.Security != b.Security {
		return a.Security
	}
	return a.Path < b.Path
}
