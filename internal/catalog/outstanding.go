package catalog

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// outstanding is what an installed version still has that a newer one fixes.
type outstanding struct {
	patch      *brief // the patch that brings the newer version
	advisories []string
	cves       []string
	severity   patch.Severity
	epss       float64
	exploited  bool
}

// brief is what a match needs of a patch's record.
type brief struct {
	ID         patch.ID       `json:"id"`
	Product    string         `json:"product"`
	Version    string         `json:"version"`
	Severity   patch.Severity `json:"severity"`
	Advisories []string       `json:"advisories"`
	CVEs       []patch.CVEFix `json:"cves"`
	Applicable *detect.Rule   `json:"applicable"`
	Evidence   patch.Evidence `json:"evidence"`
	Signer     signer         `json:"items"`
}

// outstanding collects the CVEs and advisories of offer at and of every offer
// between it and what is installed. Binary packages of one source share the
// answer.
func (m *matcher) outstanding(p inventory.Package, offers []offer, at int) (*outstanding, error) {
	compare := Comparer(p.Kind)
	source := cmp.Or(p.SourceVersion, p.Version)
	var steps []ref
	key := []byte(p.Kind + " " + source)
	for i := at; i < len(offers) && compare(offers[i].version, p.Version) > 0; i++ {
		for _, r := range offers[i].refs {
			steps = append(steps, r)
			key = strconv.AppendInt(append(key, ' '), int64(slices.Index(m.shards, r.shard)), 10)
			key = strconv.AppendUint(append(key, '.'), uint64(r.row.patch), 10)
		}
	}
	if o := m.known[string(key)]; o != nil {
		return o, nil
	}
	main, err := m.brief(offers[at].refs[0])
	if err != nil {
		return nil, err
	}
	o := &outstanding{patch: main, cves: []string{}, advisories: []string{}}
	still := func(fixedIn string) bool {
		return compare(fixedIn, source) > 0 && compare(fixedIn, main.Version) <= 0
	}
	since := func(from string) bool { return from == "" || compare(from, source) <= 0 }
	for _, r := range steps {
		b, err := m.brief(r)
		if err != nil {
			return nil, err
		}
		if err := m.add(o, r.shard, b, still, since); err != nil {
			return nil, err
		}
	}
	o.finish(main.Severity)
	m.known[string(key)] = o
	return o, nil
}

// add adds what still is open of one patch: fixed above the installed version
// (still) that has it already (since).
func (m *matcher) add(o *outstanding, s *Shard, b *brief, still, since func(version string) bool) error {
	before := len(o.cves)
	for _, c := range b.CVEs {
		if still(cmp.Or(c.FixedIn, b.Version)) && since(c.From) {
			o.cves = append(o.cves, c.ID)
		}
	}
	for _, id := range b.Advisories {
		a, err := s.Advisory(id)
		if fault.Is(err, fault.NotFound) { // named, but not described here
			o.advisories = append(o.advisories, id)
			continue
		}
		if err != nil {
			return err
		}
		if concerns(a, b.Product, still) {
			o.advisories = append(o.advisories, id)
			o.severity = worst(o.severity, a.Severity)
		}
	}
	for _, id := range o.cves[before:] {
		if r, known := s.riskOf(id); known {
			o.severity = worst(o.severity, r.severity)
			o.epss = max(o.epss, r.epss)
			o.exploited = o.exploited || r.exploited
		}
	}
	return nil
}

// concerns reports whether an advisory still is open for the product. One that
// names no fixed version of the product counts.
func concerns(a patch.Advisory, product string, still func(fixedIn string) bool) bool {
	named := false
	for _, f := range a.Fixes {
		if f.Product == product {
			named = true
			if still(f.Version) {
				return true
			}
		}
	}
	return !named
}

// finish sorts, and settles a severity that vulnerabilities and advisories
// left open by the patch's own.
func (o *outstanding) finish(own patch.Severity) {
	slices.Sort(o.cves)
	slices.Sort(o.advisories)
	o.cves, o.advisories = slices.Compact(o.cves), slices.Compact(o.advisories)
	if o.severity == "" || o.severity == patch.Unknown {
		o.severity = worst(o.severity, own)
	}
	if o.severity.Rank() == 0 {
		o.severity = patch.Unknown
	}
}

// brief decodes what a match needs of a row's patch, once.
func (m *matcher) brief(r ref) (*brief, error) {
	of := m.patches[r.shard]
	if of == nil {
		of = map[uint32]*brief{}
		m.patches[r.shard] = of
	}
	if b := of[r.row.patch]; b != nil {
		return b, nil
	}
	body, err := r.shard.record(patches, int(r.row.patch))
	if err != nil {
		return nil, err
	}
	b := &brief{}
	if err := json.Unmarshal(body, b); err != nil {
		return nil, damaged("patch %d is not well-formed", r.row.patch)
	}
	of[r.row.patch] = b
	return b, nil
}
