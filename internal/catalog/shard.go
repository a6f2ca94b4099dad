package catalog

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Shard is an opened shard. The tables that a match needs are in memory, the
// records stay in the file. It is safe for concurrent use as long as its
// reader is.
type Shard struct {
	r      io.ReaderAt
	size   int64
	header Header
	dict   dict
	sets   [][]*Archive // by ordinal, into header.Archives
	names  []byte
	items  []byte
	pool   string
	index  [kinds][]byte
	keys   [kinds]string   // of advisories and vulnerabilities
	start  [sections]int64 // of each section in the file
	length [sections]int64

	arch string // the platform's architecture

	ruleOnce sync.Once
	rules    []int // patches that are judged by their own rules
	kept     atomic.Pointer[[]patch.Patch]

	byPatchOnce sync.Once
	byPatch     map[uint32][]int // item rows of each patch, for deltas
}

// Open reads the tables of a shard of the given size and checks that every
// offset and ordinal in them lies within bounds, so that no later look-up can
// leave the file. It refuses (Untrusted) what is damaged, and (Unsupported)
// another format. It does not prove where the file is from: hash and signature
// are checked by whoever fetched it.
func Open(r io.ReaderAt, size int64) (*Shard, error) {
	s := &Shard{r: r, size: size}
	resident, err := s.readResident()
	if err != nil {
		return nil, err
	}
	if err := s.parse(resident); err != nil {
		return nil, err
	}
	if err := s.checkTable(); err != nil {
		return nil, err
	}
	for k := range kinds {
		if err := s.checkIndex(k); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// readResident reads the directory and then the resident sections in one go.
func (s *Shard) readResident() ([]byte, error) {
	if s.size < int64(preambleSize) || s.size > MaxShard+MaxResident {
		return nil, damaged("it has %d bytes", s.size)
	}
	pre := make([]byte, preambleSize)
	if _, err := s.r.ReadAt(pre, 0); err != nil && err != io.EOF {
		return nil, fault.Wrap(err, fault.Unavailable, "catalog: the shard can't be read")
	}
	if got := string(pre[:len(magic)]); got != magic {
		if strings.HasPrefix(got, magic[:len("fettle-shard/")]) {
			return nil, fault.New(fault.Unsupported, "catalog: the shard has a format that this build does not know").
				WithHint("update this program")
		}
		return nil, damaged("it does not begin like one")
	}
	at := int64(preambleSize)
	var resident int64
	for i := range sections {
		n := binary.LittleEndian.Uint64(pre[len(magic)+8*i:])
		if n > uint64(s.size-at) {
			return nil, damaged("section %d leaves the file", i)
		}
		s.start[i], s.length[i] = at, int64(n)
		at += int64(n)
		if i < residentSections {
			resident += int64(n)
		}
	}
	if at != s.size {
		return nil, damaged("%d bytes follow the last section", s.size-at)
	}
	if resident > MaxResident {
		return nil, damaged("its tables have %d bytes, at most %d are taken", resident, MaxResident)
	}
	buf := make([]byte, resident)
	if err := s.read(buf, int64(preambleSize)); err != nil {
		return nil, err
	}
	return buf, nil
}

func (s *Shard) read(buf []byte, at int64) error {
	n, err := s.r.ReadAt(buf, at)
	switch {
	case n == len(buf):
		return nil
	case err == io.EOF:
		return damaged("it ends early")
	}
	return fault.Wrap(err, fault.Unavailable, "catalog: the shard can't be read")
}

// parse cuts the resident bytes into sections and decodes header and dict.
func (s *Shard) parse(resident []byte) error {
	cut := func(sec int) []byte {
		from := s.start[sec] - int64(preambleSize)
		return resident[from : from+s.length[sec] : from+s.length[sec]]
	}
	if err := json.Unmarshal(cut(secHeader), &s.header); err != nil {
		return damaged("its header is not well-formed")
	}
	if s.header.Format != Format {
		return fault.New(fault.Unsupported, "catalog: the shard has format %d, this build knows %d", s.header.Format, Format).
			WithHint("update this program")
	}
	if err := json.Unmarshal(cut(secDict), &s.dict); err != nil {
		return damaged("its dictionary is not well-formed")
	}
	s.arch = s.header.Platform[strings.LastIndexByte(s.header.Platform, '-')+1:]
	byID := make(map[string]*Archive, len(s.header.Archives))
	for i := range s.header.Archives {
		byID[s.header.Archives[i].ID] = &s.header.Archives[i]
	}
	for _, ids := range s.dict.Sets {
		members := make([]*Archive, 0, len(ids))
		for _, id := range ids {
			a := byID[id]
			if a == nil {
				return damaged("it names archive %q without describing it", id)
			}
			members = append(members, a)
		}
		s.sets = append(s.sets, members)
	}
	s.names, s.items, s.pool = cut(secNames), cut(secItems), string(cut(secPool))
	for k := range kinds {
		s.index[k] = cut(k.index())
	}
	s.keys[advisories], s.keys[vulnerabilities] = string(cut(secAdvKeys)), string(cut(secVulnKeys))
	return nil
}

// checkTable checks the rows of the item table.
func (s *Shard) checkTable() error {
	if len(s.names)%nameRowSize != 0 || len(s.items)%itemRowSize != 0 {
		return damaged("its item table is cut off")
	}
	rows := s.rowCount()
	next := 0
	for i := range s.nameCount() {
		b := s.names[i*nameRowSize:]
		first := int(binary.LittleEndian.Uint32(b[4:]))
		if _, ok := s.text(binary.LittleEndian.Uint32(b)); !ok || int(b[8]) >= len(s.dict.Kinds) {
			return damaged("name %d of its item table points nowhere", i)
		}
		if (i == 0 && first != 0) || (i > 0 && first < next) || first >= rows {
			return damaged("name %d of its item table has no items", i)
		}
		next = first + 1
	}
	if rows > 0 && s.nameCount() == 0 {
		return damaged("its items have no names")
	}
	for i := range rows {
		b := s.items[i*itemRowSize:]
		_, ok := s.text(binary.LittleEndian.Uint32(b))
		if !ok || int(binary.LittleEndian.Uint32(b[4:])) >= s.count(patches) ||
			int(binary.LittleEndian.Uint16(b[8:])) >= len(s.sets) || int(binary.LittleEndian.Uint16(b[10:])) >= len(s.dict.Archs) {
			return damaged("row %d of its item table points nowhere", i)
		}
	}
	return nil
}

// checkIndex checks that a kind's keys and records follow each other within
// their sections.
func (s *Shard) checkIndex(k kind) error {
	table := s.index[k]
	if len(table)%indexRowSize != 0 {
		return damaged("its index is cut off")
	}
	var last indexRow
	for i := range s.count(k) {
		r := indexAt(table, i)
		if r.keyEnd < last.keyEnd || r.recEnd < last.recEnd || r.recEnd-last.recEnd > MaxRecord {
			return damaged("record %d of its index is out of order", i)
		}
		if k == patches && int(r.a) >= len(s.sets) {
			return damaged("patch %d stands in no known archive", i)
		}
		last = r
	}
	if int64(last.keyEnd) != s.length[k.keys()] || int64(last.recEnd) != s.length[k.records()] {
		return damaged("its index does not cover its records")
	}
	return nil
}

// Header says what the shard is. Its slices are shared: do not change them.
func (s *Shard) Header() Header { return s.header }

// Counts says how much a shard holds.
type Counts struct {
	Patches         int `json:"patches"`
	Items           int `json:"items"`
	Advisories      int `json:"advisories"`
	Vulnerabilities int `json:"vulnerabilities"`
	Archives        int `json:"archives"`
}

// Counts counts the records.
func (s *Shard) Counts() Counts {
	return Counts{
		Patches: s.count(patches), Items: s.rowCount(), Advisories: s.count(advisories),
		Vulnerabilities: s.count(vulnerabilities), Archives: len(s.header.Archives),
	}
}
