package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"iter"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Available lists every version of a package that the shard offers, for any
// architecture, superseded snapshots included, sorted by architecture, version
// text and patch. It is empty when there is none or when the file can't be
// read.
func (s *Shard) Available(kind, name string) []Available {
	from, to := s.span(kind, name)
	out := make([]Available, 0, to-from)
	for i := from; i < to; i++ {
		r := s.rowAt(i)
		id, err := s.key(patches, int(r.patch))
		if err != nil {
			return nil
		}
		out = append(out, Available{
			Kind: kind, Name: name, Arch: r.arch, Version: r.version, Patch: patch.ID(id),
			Archives: s.sets[r.set], Security: s.secure(r), Phased: int(r.phased),
		})
	}
	return out
}

// secure reports whether the row counts as security: by the suites that carry
// it, or by its patch's classification when it comes from no archive.
func (s *Shard) secure(r row) bool {
	if len(s.sets[r.set]) == 0 {
		return r.flags&flagSecurity != 0
	}
	for _, a := range s.sets[r.set] {
		if a.Security {
			return true
		}
	}
	return false
}

// Patch returns a patch and the SHA-256 (hex) of its record. The digest covers
// the whole patch but the archive snapshots that carry it, so it stays the
// same from day to day. NotFound when the shard has no such patch.
func (s *Shard) Patch(id patch.ID) (p patch.Patch, digest string, err error) {
	i, ok, err := s.find(patches, string(id))
	if err != nil {
		return p, "", err
	}
	if !ok {
		return p, "", fault.New(fault.NotFound, "catalog: patch %s is not in the catalog of %s, version %d", id, s.header.Platform, s.header.Version)
	}
	body, err := s.record(patches, i)
	if err != nil {
		return p, "", err
	}
	sum := sha256.Sum256(body)
	p, err = s.decodePatch(i, body)
	return p, hex.EncodeToString(sum[:]), err
}

// decodePatch decodes patch i and puts its archives back.
func (s *Shard) decodePatch(i int, body []byte) (patch.Patch, error) {
	var p patch.Patch
	if err := json.Unmarshal(body, &p); err != nil {
		return p, damaged("patch %d is not well-formed", i)
	}
	own := indexAt(s.index[patches], i).a
	p.Archives = orNil(append([]string(nil), s.dict.Sets[own]...))
	for n := range p.Items {
		it := &p.Items[n]
		it.Archives = nil
		from, to := s.span(it.Kind, it.Name)
		for at := from; at < to; at++ {
			r := s.rowAt(at)
			if int(r.patch) == i && r.arch == it.Arch && r.version == it.Version && uint32(r.set) != own {
				it.Archives = append([]string(nil), s.dict.Sets[r.set]...)
			}
		}
	}
	return p, nil
}

// Advisory returns an advisory; NotFound when the shard has none of that id.
func (s *Shard) Advisory(id string) (patch.Advisory, error) {
	var a patch.Advisory
	ok, err := s.lookup(advisories, id, &a)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "catalog: advisory %s is not in the catalog of %s", id, s.header.Platform)
	}
	return a, err
}

// Vulnerability returns what is known of a CVE; false when nothing is.
func (s *Shard) Vulnerability(id string) (patch.Vulnerability, bool, error) {
	var v patch.Vulnerability
	ok, err := s.lookup(vulnerabilities, id, &v)
	return v, ok, err
}

// riskOf returns the risk of a CVE without reading its record.
func (s *Shard) riskOf(id string) (risk, bool) {
	i, ok, _ := s.find(vulnerabilities, id)
	if !ok {
		return risk{}, false
	}
	return unpackRisk(indexAt(s.index[vulnerabilities], i)), true
}

func (s *Shard) lookup(k kind, key string, into any) (bool, error) {
	i, ok, err := s.find(k, key)
	if !ok || err != nil {
		return false, err
	}
	body, err := s.record(k, i)
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return false, damaged("record %s is not well-formed", key)
	}
	return true, nil
}

// find returns the ordinal of a key. Patches' keys are not in memory: finding
// one takes about 15 short reads of the file.
func (s *Shard) find(k kind, key string) (int, bool, error) {
	lo, hi := 0, s.count(k)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		got, err := s.key(k, mid)
		switch {
		case err != nil:
			return 0, false, err
		case got == key:
			return mid, true, nil
		case got < key:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0, false, nil
}

func (s *Shard) key(k kind, i int) (string, error) {
	from, to := s.bounds(k, i, func(r indexRow) uint32 { return r.keyEnd })
	if k != patches {
		return s.keys[k][from:to], nil
	}
	buf := make([]byte, to-from)
	err := s.read(buf, s.start[k.keys()]+from)
	return string(buf), err
}

func (s *Shard) record(k kind, i int) ([]byte, error) {
	from, to := s.bounds(k, i, func(r indexRow) uint32 { return r.recEnd })
	buf := make([]byte, to-from)
	return buf, s.read(buf, s.start[k.records()]+from)
}

func (s *Shard) bounds(k kind, i int, end func(indexRow) uint32) (from, to int64) {
	if i > 0 {
		from = int64(end(indexAt(s.index[k], i-1)))
	}
	return from, int64(end(indexAt(s.index[k], i)))
}

// copyRecords copies records first to last of the kind.
func (s *Shard) copyRecords(w io.Writer, k kind, first, last int) error {
	from, _ := s.bounds(k, first, func(r indexRow) uint32 { return r.recEnd })
	_, to := s.bounds(k, last, func(r indexRow) uint32 { return r.recEnd })
	n, err := io.Copy(w, io.NewSectionReader(s.r, s.start[k.records()]+from, to-from))
	if err == nil && n != to-from {
		return damaged("it ends early")
	}
	if err != nil {
		return notWritten(err)
	}
	return nil
}

// Patches yields every patch in the order of ids. After an error it ends.
func (s *Shard) Patches() iter.Seq2[patch.Patch, error] {
	return func(yield func(patch.Patch, error) bool) {
		for i := range s.count(patches) {
			body, err := s.record(patches, i)
			var p patch.Patch
			if err == nil {
				p, err = s.decodePatch(i, body)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// Contents takes the whole shard apart. Encode of it gives the shard again.
func (s *Shard) Contents() (Contents, error) {
	c := Contents{Header: s.header}
	for p, err := range s.Patches() {
		if err != nil {
			return Contents{}, err
		}
		c.Patches = append(c.Patches, p)
	}
	var err error
	if c.Advisories, err = all[patch.Advisory](s, advisories); err != nil {
		return Contents{}, err
	}
	c.Vulnerabilities, err = all[patch.Vulnerability](s, vulnerabilities)
	return c, err
}

func all[T any](s *Shard, k kind) ([]T, error) {
	var out []T
	for i := range s.count(k) {
		body, err := s.record(k, i)
		if err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, damaged("a record is not well-formed")
		}
		out = append(out, v)
	}
	return out, nil
}

// Hash returns the SHA-256 (hex) and the size in bytes of the whole file.
func (s *Shard) Hash() (sum string, size int64, err error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(s.r, 0, s.size))
	if err != nil {
		return "", 0, fault.Wrap(err, fault.Unavailable, "catalog: the shard can't be read")
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}
