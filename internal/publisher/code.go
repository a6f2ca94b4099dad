package publisher

import (
	"context"
	"crypto/x509"
	"os"

	"github.com/fettlehq/fettle/internal/authentic/authenticode"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

// load reads the certificates. fault.Invalid names a file that can't be read or
// holds none.
func (a Authenticode) load() (lab.Code, error) {
	code := lab.Code{Publishers: a.Publishers}
	for _, set := range []struct {
		files []string
		into  *[]*x509.Certificate
	}{{a.Roots, &code.Roots}, {a.TimestampRoots, &code.TimestampRoots}} {
		for _, path := range set.files {
			text, err := os.ReadFile(path)
			if err != nil {
				return lab.Code{}, fault.Wrap(err, fault.Invalid, "publisher: the certificates in %s can't be read", path)
			}
			certs, err := authenticode.ParseRoots(text)
			if err != nil {
				return lab.Code{}, fault.Wrap(err, fault.Invalid, "publisher: %s holds no certificates that can be used", path).
					WithHint("authenticode.roots and timestamp_roots name PEM files of certificates.")
			}
			*set.into = append(*set.into, certs...)
		}
	}
	return code, nil
}

// seal is what a catalog's own signature is held against: the roots that count
// for programs.
func (p *Publisher) seal(signer string) crawl.Seal {
	code := p.lab.Believed()
	return crawl.Seal{Signer: signer, Now: p.now, Trust: authenticode.Trust{Roots: code.Roots, TSARoots: code.TimestampRoots}}
}

// codeSigning is what agents must believe to run the patches' payloads: what
// the lab believed when it proved them. Nil when none is signed so.
func (p *Publisher) codeSigning(patches []patch.Patch) *catalog.CodeSigning {
	signed := false
	for _, x := range patches {
		for _, it := range x.Items {
			signed = signed || it.Payload.Signer != ""
		}
	}
	if !signed {
		return nil
	}
	out := &catalog.CodeSigning{}
	code := p.lab.Believed()
	for _, c := range code.Roots {
		out.Roots = append(out.Roots, c.Raw)
	}
	for _, c := range code.TimestampRoots {
		out.TimestampRoots = append(out.TimestampRoots, c.Raw)
	}
	return out
}

// openFetched opens a payload that a source has fetched for itself.
func (p *Publisher) openFetched(sha256 string) (lab.File, error) {
	s, ok := p.shelf(sha256)
	if !ok {
		return nil, fault.New(fault.NotFound, "publisher: no source has fetched %s", sha256)
	}
	f, err := os.Open(crawl.BlobPath(p.runner.Dir(s.Name()), sha256))
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "publisher: %s is gone from the folder of source %s", sha256, s.Name())
	}
	return f, nil
}

// restorable takes away what a rollback can't install: patches that are not
// published, or that nothing is installed from.
func restorable(all []patch.Patch) []patch.Patch {
	installable := map[patch.ID]bool{}
	for _, p := range all {
		installable[p.ID] = len(p.Items) > 0 && p.Items[0].Payload.SHA256 != ""
	}
	for i := range all {
		if r := &all[i].Install.Restores; *r != "" && !installable[*r] {
			*r = ""
		}
	}
	return all
}

// shelf is the source that offers a payload which stands in no archive.
func (p *Publisher) shelf(sha256 string) (crawl.Shelf, bool) {
	for _, s := range p.sources {
		if shelf, ok := s.(crawl.Shelf); ok && shelf.Offers(p.runner.Fingerprint(s.Name()), sha256) {
			return shelf, true
		}
	}
	return nil, false
}

// bringShelved brings the payloads that stand in no archive, and returns the
// others. What its source has fetched for itself is taken from there.
func (p *Publisher) bringShelved(ctx context.Context, wanted []crawl.Wanted) ([]crawl.Wanted, error) {
	var rest []crawl.Wanted
	for _, w := range wanted {
		sum := w.Item.Payload.SHA256
		s, ok := p.shelf(sum)
		if !ok {
			rest = append(rest, w)
			continue
		}
		path := crawl.BlobPath(p.runner.Dir(s.Name()), sum)
		if err := p.fileFrom(ctx, path, w.Item); err == nil {
			continue
		}
		if err := p.bringFrom(ctx, s, p.runner.Fingerprint(s.Name()), []crawl.Wanted{w}); err != nil {
			return nil, err
		}
	}
	return rest, nil
}
