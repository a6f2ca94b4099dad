package catalog

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// side is what one maker offers for an installed product: the rows of his
// packages that name it. Which products a package is for is its manifest's
// word, so one side never takes another's place: each is a finding.
type side struct {
	makers   []string // who signed its installers
	packages []offered
}

// offered are the rows of one package that name a product most exactly.
type offered struct {
	name string
	rank int
	rows []named
}

// signer is who signed a patch's payload: it takes the place of the items, of
// which all of a product's patch have the same payload.
type signer string

// UnmarshalJSON reads no more than the first item.
func (s *signer) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') || !dec.More() {
		return err
	}
	var first struct {
		Payload struct {
			Signer string `json:"signer"`
		} `json:"p"`
	}
	err := dec.Decode(&first)
	*s = signer(first.Payload.Signer)
	return err
}

// sides lists the rows that name the product and fit it, by maker, those of
// patches that don't run on this system left out. It is empty when none is
// newer, as with nearly every product. Where the machine names a maker who is
// on one side, the others don't count.
func (m *matcher) sides(p inventory.Package) []side {
	var all []side
	for _, o := range m.naming(p) {
		s := side{packages: []offered{o}}
		for _, r := range o.rows {
			if b, err := m.brief(r.ref); err == nil && b.Signer != "" && !slices.Contains(s.makers, string(b.Signer)) {
				s.makers = append(s.makers, string(b.Signer))
			}
		}
		all = append(all, s)
	}
	for i := 0; i < len(all); i++ { // packages of one maker are one side
		for j := len(all) - 1; j > i; j-- {
			if slices.ContainsFunc(all[i].makers, func(who string) bool { return slices.Contains(all[j].makers, who) }) {
				all[i].makers, all[i].packages = append(all[i].makers, all[j].makers...), append(all[i].packages, all[j].packages...)
				all = slices.Delete(all, j, j+1)
				j = len(all) // whom the new makers join
			}
		}
	}
	maker := makerName(p.Publisher)
	is := func(s side) bool {
		return slices.ContainsFunc(s.makers, func(who string) bool { return makerName(who) == maker })
	}
	if maker != "" && slices.ContainsFunc(all, is) {
		all = slices.DeleteFunc(all, func(s side) bool { return !is(s) })
	}
	return all
}

// makerName is the name of a company as inventory.AppName has it.
func makerName(company string) string {
	_, name, _ := strings.Cut(inventory.AppName("x", company), "|")
	return name
}

// naming lists, by package, the rows that name the product; of one package the
// most exact ones: a product code before a display name. It is empty when none
// is newer.
func (m *matcher) naming(p inventory.Package) []offered {
	var all []named
	news := false
	for rank, id := range p.Identities() {
		for _, s := range m.shards {
			from, to := s.span(id.Kind, id.Name)
			for i := from; i < to; i++ {
				if r := s.rowAt(i); r.flags&flagOwnRules == 0 && m.fitsProduct(r, p) {
					all = append(all, named{ref{s, r}, rank})
					news = news || vercmp.WindowsQuad(r.version, p.Version) > 0
				}
			}
		}
	}
	if !news {
		return nil
	}
	var out []offered
	for _, r := range all {
		b, err := m.brief(r.ref)
		if err != nil {
			continue
		}
		i := slices.IndexFunc(out, func(o offered) bool { return strings.EqualFold(o.name, b.Product) })
		if i < 0 {
			out = append(out, offered{name: b.Product, rank: r.rank})
			i = len(out) - 1
		}
		if o := &out[i]; o.rank == r.rank { // they come by rank
			o.rows = append(o.rows, r)
		}
	}
	for i := range out {
		out[i].rows = slices.DeleteFunc(out[i].rows, func(r named) bool { return !m.runs(r.ref) })
		out[i].rows = sameInstaller(out[i].rows, p)
	}
	return slices.DeleteFunc(out, func(o offered) bool { return len(o.rows) == 0 })
}

// counting are the rows that count of a side, those that are judged together in
// one list. Of several packages the one that names the product by a code most
// exactly counts alone, and of several forms that which the machine has, if
// something can be installed from it that is not older than what is there: what
// only claims the product must not hide another's fix. An Uninstall key is no
// such code: any manifest may name it, and who names the product otherwise is a
// finding of his own.
func (m *matcher) counting(s side, p inventory.Package) [][]ref {
	sure := slices.DeleteFunc(slices.Clone(s.packages), func(o offered) bool { return !m.vouched(o.rows, p) })
	var best *offered
	for i, o := range sure {
		if best == nil || o.rank < best.rank {
			best = &sure[i]
		}
	}
	coded := best != nil && !slices.ContainsFunc(best.rows, func(r named) bool { return r.row.flags&flagMSI == 0 })
	var rows []named
	for _, o := range s.packages {
		if best == nil || !coded || o.rank == best.rank {
			rows = append(rows, o.rows...)
		}
	}
	if same := sameInstaller(slices.Clone(rows), p); best == nil || m.vouched(same, p) {
		rows = same
	}
	var out [][]ref
	ranks := []int{}
	for _, r := range rows {
		rank := r.rank
		if best == nil {
			rank = 0
		}
		i := slices.Index(ranks, rank)
		if i < 0 {
			ranks, out = append(ranks, rank), append(out, nil)
			i = len(out) - 1
		}
		out[i] = append(out[i], r.ref)
	}
	return out
}

// vouched reports that something can be installed from one of the rows that is
// not older than what the machine has.
func (m *matcher) vouched(rows []named, p inventory.Package) bool {
	return slices.ContainsFunc(rows, func(r named) bool {
		b, err := m.brief(r.ref)
		return err == nil && !b.Evidence.Bulletin() && vercmp.WindowsQuad(r.row.version, p.Version) >= 0
	})
}

// rivals says who else claims what side i is about.
func rivals(all []side, i int) string {
	var out strings.Builder
	for j, o := range all {
		if j != i {
			out.WriteString("; " + o.names() + " claims this product too, of another maker")
		}
	}
	return out.String()
}

// names lists the side's packages.
func (s side) names() string {
	var out []string
	for _, o := range s.packages {
		out = append(out, o.name)
	}
	return strings.Join(out, ", ")
}
