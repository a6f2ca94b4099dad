package lab

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Payloads is where the lab gets payloads: it brings them into the payload
// store and opens them.
type Payloads interface {
	// Fetch brings the payload of one of the patch's items into the store.
	// A payload whose bytes differ is not stored: fault.Untrusted.
	Fetch(ctx context.Context, p patch.Patch, it patch.Item) error
	// Open opens a stored payload by its SHA-256.
	Open(sha256 string) (io.ReadCloser, error)
}

// Proven is what Prove came to for one patch.
type Proven struct {
	Patch patch.ID `json:"patch"`
	OK    bool     `json:"ok"`
	// Reason says why not, or why it could not be tried (Untried).
	Reason  string `json:"reason,omitempty"`
	Untried bool   `json:"untried,omitempty"`
}

// Prove fetches the payloads of the patches and looks at each: its bytes must
// have the hash and size that the index gives, and the package must say of
// itself what the index says of it. Results are remembered; Judge uses them
// from then on. A payload that can't be fetched now leaves the patch as it
// was. The error is nil unless ctx ended or the proofs can't be saved.
func (l *Lab) Prove(ctx context.Context, from Payloads, patches []patch.Patch, now time.Time) ([]Proven, error) {
	var out []Proven
	proofs := map[string]Proof{}
	for _, p := range patches {
		if err := ctx.Err(); err != nil {
			return out, fault.Wrap(err, fault.Cancelled, "lab: stopped")
		}
		res, found := prove(ctx, from, p)
		for sum, why := range found {
			proofs[sum] = Proof{OK: why == "", Reason: why, At: now.UTC()}
		}
		out = append(out, res)
	}
	return out, l.record(proofs)
}

// prove fetches and examines one patch. What it found of each payload comes
// back by SHA-256, as a reason or "".
func prove(ctx context.Context, from Payloads, p patch.Patch) (Proven, map[string]string) {
	if isCode(p) { // Examine has looked at it before it was published
		ok := p.Evidence.Verdict == patch.Proven
		return Proven{Patch: p.ID, OK: ok, Untried: !ok, Reason: strings.Join(p.Evidence.Checks, "; ")}, nil
	}
	res, found := Proven{Patch: p.ID, OK: true}, map[string]string{}
	for _, it := range p.Items {
		err := from.Fetch(ctx, p, it)
		if err != nil && !fault.Is(err, fault.Untrusted) {
			return Proven{Patch: p.ID, Untried: true, Reason: fault.Public(err)}, found
		}
		var why string
		if err != nil {
			why = fault.Public(err)
		} else {
			why = examine(from, it)
		}
		found[it.Payload.SHA256] = why
		if why != "" && res.OK {
			res.OK, res.Reason = false, it.Name+": "+why
		}
	}
	return res, found
}

// examine holds one payload against what the index says; "" means that they
// agree.
func examine(from Payloads, it patch.Item) string {
	r, err := from.Open(it.Payload.SHA256)
	if err != nil {
		return fault.Public(err)
	}
	err = authentic.Checksum(r, it.Payload.SHA256, it.Payload.Size)
	_ = r.Close() // only read from
	if err != nil {
		return fault.Public(err)
	}
	if it.Kind != "dpkg" {
		return "the lab knows no package of kind " + it.Kind
	}
	if r, err = from.Open(it.Payload.SHA256); err != nil {
		return fault.Public(err)
	}
	defer r.Close()
	c, err := ReadDeb(r)
	switch {
	case err != nil:
		return fault.Public(err)
	case c.Package != it.Name:
		return "the package calls itself " + clip(c.Package)
	case c.Version != it.Version:
		return "the package is of version " + clip(c.Version)
	case c.Architecture != it.Arch:
		return "the package is for architecture " + clip(c.Architecture)
	}
	return ""
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
