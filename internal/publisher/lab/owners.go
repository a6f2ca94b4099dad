package lab

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

const ownerFile = "products.json"

// owner is the package that a product of Windows belongs to.
type owner struct {
	Product string   `json:"product"` // as product() gives it
	Makers  []string `json:"makers"`  // who signed the installers that claimed it
}

// claimant is a package that claims a product.
type claimant struct {
	key, name string   // as product() gives it, and for people
	makers    []string // who signs its installers, as far as that is proven
	proven    bool     // something could be installed that claims it
	fits      bool     // it is signed by the maker whom the product's name holds
}

// claims are the products that patches are for, by the names that manifests
// give them, with the packages that claim each.
type claims map[inventory.Identity]map[string]*claimant

// Settle decides which package each product of Windows belongs to. Manifests
// claim products by text that nobody has signed; if two followed packages could
// claim one, either could pass off its installers as the other's fixes. So a
// product belongs to one package:
//
//   - the one that the operator names (Code.Products), else
//   - one that is signed by the maker whom the display name's publisher names,
//     else
//   - the one that had it first, else
//   - the only one with an installer that is proven.
//
// Of several of one signer it is the one that had it first, else that of the
// shortest name. What claims another's product loses that claim; a patch that is
// left with no product is rejected. Where two strangers are proven and nothing
// decides, nothing is installed from either of them until the operator does.
// patches are those that Judge has kept. The error is not nil when what is
// remembered can't be read or written.
func (l *Lab) Settle(patches []patch.Patch) (Settled, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	owners := map[string]owner{}
	if err := load(l.ownerPath, &owners); err != nil {
		return Settled{}, fault.Wrap(err, fault.CodeOf(err), "lab: the file of products").
			WithHint("Restore %s from a backup. Without it a product belongs to whichever package claims it now.", l.ownerPath)
	}
	before := maps.Clone(owners)
	s := settlement{lost: map[string]map[inventory.Identity]string{}, open: map[string]map[inventory.Identity]string{}}
	all := l.claimed(patches)
	order := slices.SortedFunc(maps.Keys(all), func(a, b inventory.Identity) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	for _, id := range order {
		l.settle(&s, id, all[id], owners)
	}
	if !maps.EqualFunc(before, owners, func(a, b owner) bool { return a.Product == b.Product && slices.Equal(a.Makers, b.Makers) }) {
		if err := save(l.ownerPath, owners); err != nil {
			return Settled{}, err
		}
	}
	left := s.apply(l, patches)
	return Settled{left, s.rejected, s.notes}, nil
}

// Settled is what Settle has come to.
type Settled struct {
	Patches  []patch.Patch
	Rejected []Rejection
	// Notes tell of claims on what another package of the same signer has.
	Notes []string
}

// claimed collects the claims.
func (l *Lab) claimed(patches []patch.Patch) claims {
	all := claims{}
	for _, p := range patches {
		if !isCode(p) {
			continue
		}
		for _, it := range p.Items {
			if !inventory.IsProduct(it.Kind) {
				continue
			}
			id := inventory.Named(it.Kind, it.Name)
			if all[id] == nil {
				all[id] = map[string]*claimant{}
			}
			c := all[id][product(p)]
			if c == nil {
				c = &claimant{key: product(p), name: p.Product, makers: l.makers(p)}
				all[id][c.key] = c
			}
			if p.Evidence.Verdict != patch.Proven {
				continue
			}
			proof := l.proofs[it.Payload.SHA256]
			c.proven = true
			for _, who := range []string{proof.Signer, proof.Organization} {
				c.makers = with(c.makers, who)
				_, names, _ := strings.Cut(id.Name, "|")
				c.fits = c.fits || id.Kind == inventory.KindApp && names != "" && makerOf(who) == names
			}
		}
	}
	return all
}

// makers are those who may sign a package's installers: named or pinned.
func (l *Lab) makers(p patch.Patch) []string {
	if who := l.named(p.Product); who != "" {
		return []string{who}
	}
	pin := l.signers[product(p)]
	return with(slices.Clone(pin.Names), pin.Organization)
}

func with(all []string, one string) []string {
	if one == "" || slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

func common(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// settlement is what Settle has decided: by package and product, the sentence
// that says why a claim is lost, or open.
type settlement struct {
	lost, open map[string]map[inventory.Identity]string
	rejected   []Rejection
	notes      []string
}

// settle decides about one product.
func (l *Lab) settle(s *settlement, id inventory.Identity, by map[string]*claimant, owners map[string]owner) {
	all := slices.SortedFunc(maps.Values(by), func(a, b *claimant) int { return strings.Compare(a.key, b.key) })
	key := id.Kind + " " + id.Name
	had, remembered := owners[key]
	own, why := l.decide(id, all, had, remembered)
	switch {
	case why == "" && !slices.ContainsFunc(all, func(c *claimant) bool { return c.proven }):
		return // nothing is installed for it anyhow
	case why == "":
		text := fmt.Sprintf("%s claim the product \"%s\", and nothing says whose it is", people(all, " and "), key)
		for _, c := range all {
			put(s.open, c.key, id, text+"; "+settleHint(key, "whose it is"))
		}
		s.rejected = append(s.rejected, Rejection{patch.ID("product " + key), text + ": nothing is installed from them; " + settleHint(key, "whose it is")})
		return
	}
	one := first(own, had)
	for _, c := range all {
		if c == one {
			continue
		}
		same := slices.Contains(own, c) && common(c.makers, one.makers)
		belongs := why
		switch {
		case same:
			belongs = one.people() + ", a package of the same signer"
		case slices.Contains(own, c):
			belongs = one.people() + ", whose maker has the same name"
		}
		text := fmt.Sprintf("%s claims the product \"%s\", which belongs to %s", c.people(), key, belongs)
		put(s.lost, c.key, id, text)
		if same {
			s.notes = append(s.notes, text+"; to give it to the other, "+settleHint(key, c.name))
			continue
		}
		s.rejected = append(s.rejected, Rejection{patch.ID("product " + key), text + ": the claim is not believed; if it is right, " + settleHint(key, c.name)})
	}
	if one != nil && one.proven {
		owners[key] = owner{one.key, one.makers}
	}
}

// first is the one of several packages of one signer that a product belongs to:
// the one that had it, else of those that are proven that of the shortest name.
func first(own []*claimant, had owner) *claimant {
	if len(own) == 0 {
		return nil
	}
	return slices.MinFunc(own, func(a, b *claimant) int {
		last := func(is bool) int {
			if is {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(last(a.key == had.Product), last(b.key == had.Product)), cmp.Compare(last(a.proven), last(b.proven)),
			cmp.Compare(len(a.key), len(b.key)), strings.Compare(a.key, b.key))
	})
}

func settleHint(key, name string) string {
	return fmt.Sprintf("set winget.products: {\"%s\": %s}", key, name)
}

// decide returns the packages that the product belongs to and why; "" when
// nothing tells.
func (l *Lab) decide(id inventory.Identity, all []*claimant, had owner, remembered bool) ([]*claimant, string) {
	if name := l.given(id); name != "" {
		return keep(all, func(c *claimant) bool { return strings.EqualFold(c.name, name) }), name + " by the configuration (winget.products)"
	}
	if own := keep(all, func(c *claimant) bool { return c.fits }); len(own) > 0 {
		return siblings(all, own), people(own, " and ") + ", which the maker in the product's name signs"
	}
	if remembered {
		own := keep(all, func(c *claimant) bool { return c.key == had.Product || common(c.makers, had.Makers) })
		_, name, _ := strings.Cut(had.Product, " ")
		return siblings(all, own), name + " (signed by " + strings.Join(had.Makers[:min(1, len(had.Makers))], "") + "), which had it first"
	}
	own := keep(all, func(c *claimant) bool { return c.proven })
	if len(all) == 1 {
		return all, all[0].people()
	}
	if len(own) == 0 || slices.ContainsFunc(own, func(c *claimant) bool { return !common(c.makers, own[0].makers) }) {
		return nil, ""
	}
	return siblings(all, own), people(own, " and ") + ", of which an installer is proven"
}

// siblings adds the packages that the owners' signer signs too.
func siblings(all, own []*claimant) []*claimant {
	return keep(all, func(c *claimant) bool {
		return slices.ContainsFunc(own, func(o *claimant) bool { return o == c || common(o.makers, c.makers) })
	})
}

func keep(all []*claimant, fits func(*claimant) bool) []*claimant {
	return slices.DeleteFunc(slices.Clone(all), func(c *claimant) bool { return !fits(c) })
}

// given is the package to which the operator gives a product.
func (l *Lab) given(id inventory.Identity) string {
	for key, name := range l.code.Products {
		if kind, of, ok := strings.Cut(strings.TrimSpace(key), " "); ok && inventory.Named(kind, strings.TrimSpace(of)) == id {
			return name
		}
	}
	return ""
}

// people names a package and who signs it.
func (c *claimant) people() string {
	if len(c.makers) == 0 {
		return c.name + " (whose signer is not known)"
	}
	return c.name + " (signed by " + c.makers[0] + ")"
}

func people(all []*claimant, between string) string {
	var out []string
	for _, c := range all {
		out = append(out, c.people())
	}
	return strings.Join(out, between)
}

func put(into map[string]map[inventory.Identity]string, key string, id inventory.Identity, text string) {
	if into[key] == nil {
		into[key] = map[inventory.Identity]string{}
	}
	into[key][id] = text
}

// apply takes lost claims away, and what could be installed where a claim is
// open.
func (s *settlement) apply(l *Lab, patches []patch.Patch) []patch.Patch {
	out := make([]patch.Patch, 0, len(patches))
	for _, p := range patches {
		lost, open := s.lost[product(p)], s.open[product(p)]
		if len(lost)+len(open) == 0 || !isCode(p) {
			out = append(out, p)
			continue
		}
		var texts []string
		left := make([]patch.Item, 0, len(p.Items))
		undecided := ""
		for _, it := range p.Items {
			id := inventory.Named(it.Kind, it.Name)
			if text, gone := lost[id]; gone {
				texts = append(texts, text)
				continue
			}
			undecided = cmp.Or(undecided, open[id])
			left = append(left, it)
		}
		if len(left) == 0 {
			s.rejected = append(s.rejected, Rejection{p.ID, "no product is left that it is for: " + texts[0]})
			continue
		}
		p.Items = left
		p.Evidence.Checks = slices.Concat(p.Evidence.Checks, texts)
		if undecided != "" && p.Evidence.Verdict == patch.Proven {
			p.Evidence = l.bulletin(&p, "nothing is installed from it: "+undecided)
		}
		out = append(out, p)
	}
	return out
}
