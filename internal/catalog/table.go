package catalog

import (
	"encoding/binary"
	"slices"
)

func (s *Shard) count(k kind) int { return len(s.index[k]) / indexRowSize }
func (s *Shard) nameCount() int   { return len(s.names) / nameRowSize }
func (s *Shard) rowCount() int    { return len(s.items) / itemRowSize }

// text reads a string of the pool.
func (s *Shard) text(off uint32) (string, bool) {
	n, at := uint64(0), int(off)
	for shift := 0; shift < 35; shift += 7 {
		if at >= len(s.pool) {
			return "", false
		}
		c := s.pool[at]
		at++
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if n > uint64(len(s.pool)-at) {
				return "", false
			}
			return s.pool[at : at+int(n)], true
		}
	}
	return "", false
}

// span returns the rows of a package name.
func (s *Shard) span(kind, name string) (from, to int) {
	k, ok := slices.BinarySearch(s.dict.Kinds, kind)
	if !ok {
		return 0, 0
	}
	lo, hi := 0, s.nameCount()
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if mk, mn := s.nameAt(mid); mk < k || (mk == k && mn < name) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == s.nameCount() {
		return 0, 0
	}
	if fk, fn := s.nameAt(lo); fk != k || fn != name {
		return 0, 0
	}
	return s.rowsOf(lo)
}

func (s *Shard) nameAt(i int) (kind int, name string) {
	b := s.names[i*nameRowSize:]
	name, _ = s.text(binary.LittleEndian.Uint32(b))
	return int(b[8]), name
}

// rowsOf returns the rows of name i.
func (s *Shard) rowsOf(i int) (from, to int) {
	from = int(binary.LittleEndian.Uint32(s.names[i*nameRowSize+4:]))
	if i+1 == s.nameCount() {
		return from, s.rowCount()
	}
	return from, int(binary.LittleEndian.Uint32(s.names[(i+1)*nameRowSize+4:]))
}

// rowAt decodes an item row; kind and name are not in it.
func (s *Shard) rowAt(i int) row {
	b := s.items[i*itemRowSize:][:itemRowSize]
	version, _ := s.text(binary.LittleEndian.Uint32(b))
	return row{
		version: version, patch: binary.LittleEndian.Uint32(b[4:]), set: binary.LittleEndian.Uint16(b[8:]),
		arch: s.dict.Archs[binary.LittleEndian.Uint16(b[10:])], phased: b[12], flags: b[13],
	}
}
