package agent

import (
	"slices"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// lookUp returns the ordered patches from the signed catalog, in an order of
// installation. A patch that does not stand there, or stands there with other
// content than the server means, is refused: the server chooses among signed
// patches and can do nothing else. With anyDigest the record of today counts,
// for looking only: a catalog may have learned a new severity since.
func lookUp(set *shardSet, refs []deploy.PatchRef, anyDigest bool) ([]patch.Patch, error) {
	var out []patch.Patch
	for _, ref := range refs {
		p, digest, err := find(set, ref.ID)
		switch {
		case fault.Is(err, fault.NotFound):
			return nil, fault.Wrap(err, fault.Untrusted, "refused: patch %s does not stand in the signed catalog (version %d) of this machine", ref.ID, set.version())
		case err != nil:
			return nil, err
		case digest != ref.Digest && !anyDigest:
			return nil, fault.New(fault.Untrusted, "refused: the server means patch %s with digest %s, the signed catalog holds it with %s", ref.ID, ref.Digest, digest)
		}
		out = append(out, p)
	}
	ids, err := catalog.Order(out)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b patch.Patch) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
	return out, nil
}

func find(set *shardSet, id patch.ID) (p patch.Patch, digest string, err error) {
	for _, s := range set.list {
		if p, digest, err = s.Patch(id); !fault.Is(err, fault.NotFound) {
			return p, digest, err
		}
	}
	return p, digest, err
}

// reversed turns an order of installation into that of taking back: what needs
// another patch goes first.
func reversed(patches []patch.Patch) []patch.Patch {
	out := slices.Clone(patches)
	slices.Reverse(out)
	return out
}

// spares looks up what can be put back when a patch that has the version before
// it uninstalled can't be installed. One that the catalog does not hold, or the
// machine's policy refuses, is not put back; the result will say so.
func spares(cfg Config, set *shardSet, patches []patch.Patch) []patch.Patch {
	var out []patch.Patch
	for _, p := range patches {
		if p.Install.Replace != patch.ReplaceUninstall || p.Install.Restores == "" {
			continue
		}
		before, _, err := find(set, p.Install.Restores)
		if err != nil || before.Product != p.Product || before.ID == p.ID || before.Install.Kind != p.Install.Kind {
			continue
		}
		if mayRestore(cfg, []patch.Patch{before}) == nil {
			out = append(out, before)
		}
	}
	return out
}

// restored looks up the patches that a rollback puts back. Only the signed
// catalog says which they are. A patch that can't be taken back is refused as
// Unsupported, one whose predecessor the catalog does not hold as Untrusted.
func restored(set *shardSet, patches []patch.Patch) ([]patch.Patch, error) {
	var out []patch.Patch
	for _, p := range patches {
		if err := deploy.Reversible(p); err != nil {
			return nil, err
		}
		if p.Install.Restores == "" {
			continue
		}
		before, _, err := find(set, p.Install.Restores)
		switch {
		case fault.Is(err, fault.NotFound):
			return nil, fault.Wrap(err, fault.Untrusted, "refused: patch %s would be replaced by %s, which does not stand in the signed catalog (version %d) of this machine", p.ID, p.Install.Restores, set.version())
		case err != nil:
			return nil, err
		case before.Product != p.Product || before.ID == p.ID:
			return nil, fault.New(fault.Untrusted, "refused: the catalog says that taking back %s puts back %s, which is no earlier version of it", p.ID, before.ID)
		}
		if !slices.ContainsFunc(out, func(have patch.Patch) bool { return have.ID == before.ID }) {
			out = append(out, before)
		}
	}
	return out, nil
}
