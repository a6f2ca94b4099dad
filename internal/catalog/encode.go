package catalog

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Encode writes the contents as a shard. The same set of records gives the
// same bytes, in whatever order it comes. It refuses (Invalid) what Normalize
// refuses.
//
// The ids of archive snapshots stand in the item table, not in the patches'
// records: a new snapshot of a suite leaves the records, and so the digests
// that approvals and tasks name, as they were.
func Encode(w io.Writer, c Contents) error {
	c, err := Normalize(c)
	if err != nil {
		return err
	}
	img := image{}
	if img.header, err = marshal(c.Header); err != nil {
		return err
	}
	sets := newSets(c.Patches)
	img.sets = sets.list
	for i, p := range c.Patches {
		body, err := marshal(withoutArchives(p))
		if err != nil {
			return err
		}
		flags := patchFlags(p)
		img.records[patches] = append(img.records[patches],
			record{key: string(p.ID), body: body, a: uint32(sets.of(p.Archives)), b: uint32(flags)})
		for _, it := range p.Items {
			img.rows = append(img.rows, itemRow(it, uint32(i), sets.of(archivesOf(p, it)), flags))
		}
	}
	for _, a := range c.Advisories {
		body, err := marshal(a)
		if err != nil {
			return err
		}
		img.records[advisories] = append(img.records[advisories], record{key: a.ID, body: body})
	}
	for _, v := range c.Vulnerabilities {
		body, err := marshal(v)
		if err != nil {
			return err
		}
		a, b := packRisk(v)
		img.records[vulnerabilities] = append(img.records[vulnerabilities], record{key: v.ID, body: body, a: a, b: b})
	}
	return img.write(w)
}

func marshal(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	switch {
	case err != nil:
		return nil, fault.Wrap(err, fault.Invalid, "catalog: a record can't be encoded")
	case len(body) > MaxRecord:
		return nil, fault.New(fault.Invalid, "catalog: a record has %d bytes, at most %d fit", len(body), MaxRecord)
	}
	return body, nil
}

// withoutArchives is the form of a patch in its record.
func withoutArchives(p patch.Patch) patch.Patch {
	p.Archives = nil
	p.Items = slices.Clone(p.Items)
	for i := range p.Items {
		p.Items[i].Archives = nil
	}
	return p
}

// archivesOf are the archives that hold the item.
func archivesOf(p patch.Patch, it patch.Item) []string {
	if len(it.Archives) > 0 {
		return it.Archives
	}
	return p.Archives
}

func itemRow(it patch.Item, ordinal uint32, set uint16, flags uint8) row {
	return row{
		kind: it.Kind, name: it.Name, arch: it.Arch, version: it.Version,
		patch: ordinal, set: set, phased: uint8(it.PhasedPercent), flags: flags,
	}
}

// archiveSets numbers the distinct sets of archive ids in use.
type archiveSets struct {
	list [][]string
	ord  map[string]uint16
}

func newSets(all []patch.Patch) archiveSets {
	distinct := map[string][]string{}
	for _, p := range all {
		distinct[setKey(p.Archives)] = p.Archives
		for _, it := range p.Items {
			ids := archivesOf(p, it)
			distinct[setKey(ids)] = ids
		}
	}
	s := archiveSets{ord: map[string]uint16{}}
	for _, ids := range distinct {
		s.list = append(s.list, append([]string{}, ids...))
	}
	slices.SortFunc(s.list, slices.Compare)
	for i, ids := range s.list {
		s.ord[setKey(ids)] = uint16(i)
	}
	return s
}

func (s archiveSets) of(ids []string) uint16 { return s.ord[setKey(ids)] }

func setKey(ids []string) string { return strings.Join(ids, "\n") }
