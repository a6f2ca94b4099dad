package catalog

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/fault"
)

// MakeDelta writes what turns the old shard into the new one. Both must be of
// one platform (Invalid otherwise) and made by Encode.
func MakeDelta(w io.Writer, older, newer *Shard) error {
	if older.header.Platform != newer.header.Platform {
		return fault.New(fault.Invalid, "catalog: no delta leads from %s to %s", older.header.Platform, newer.header.Platform)
	}
	info := DeltaInfo{Platform: newer.header.Platform}
	var err error
	if info.From, err = describe(older); err != nil {
		return err
	}
	if info.To, err = describe(newer); err != nil {
		return err
	}
	line, err := json.Marshal(info)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "catalog: the delta's first line can't be encoded")
	}
	d := differ{older: older, newer: newer}
	if err := d.all(); err != nil {
		return err
	}
	if len(d.body) > MaxDelta {
		return fault.New(fault.Exhausted, "catalog: the delta has %d bytes, at most %d are taken", len(d.body), MaxDelta).
			WithHint("publish the whole shard without a delta")
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fault.Wrap(err, fault.Internal, "catalog: zstd can't be set up")
	}
	out := append(append([]byte(deltaMagic), line...), '\n')
	if _, err := w.Write(z.EncodeAll(d.body, out)); err != nil {
		return fault.Wrap(err, fault.Unavailable, "catalog: the delta can't be written")
	}
	return nil
}

// differ collects the delta's body.
type differ struct {
	older, newer *Shard
	body         []byte
	kept         map[uint32]uint32 // old ordinals of unchanged patches -> new
}

func (d *differ) all() error {
	header, err := d.newer.section(secHeader)
	if err != nil {
		return err
	}
	sets, err := json.Marshal(d.newer.dict.Sets)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "catalog: the archive sets can't be encoded")
	}
	d.body = puts(puts(d.body, header), sets)
	for k := range kinds {
		if err := d.records(k); err != nil {
			return err
		}
	}
	d.membership()
	return nil
}

// records walks both shards' records of a kind in key order.
func (d *differ) records(k kind) error {
	a, err := d.older.load(k)
	if err != nil {
		return err
	}
	b, err := d.newer.load(k)
	if err != nil {
		return err
	}
	if k == patches {
		d.kept = make(map[uint32]uint32, a.n)
	}
	var ops []byte
	n, i, last := 0, 0, 0
	op := func(code byte) {
		ops = append(binary.AppendUvarint(ops, uint64(i-last)), code)
		if last = i; code != opInsert {
			last++
		}
		n++
	}
	for j := 0; i < a.n || j < b.n; {
		switch {
		case j == b.n || (i < a.n && a.key(i) < b.key(j)):
			op(opDelete)
			i++
		case i == a.n || a.key(i) > b.key(j):
			op(opInsert)
			ops = puts(puts(ops, b.key(j)), b.body(j))
			ops = d.memberOf(ops, k, j)
			j++
		case bytes.Equal(a.body(i), b.body(j)):
			if k == patches {
				d.kept[uint32(i)] = uint32(j)
			}
			i++
			j++
		default:
			op(opReplace)
			ops = appendChange(ops, a.body(i), b.body(j))
			ops = d.memberOf(ops, k, j)
			i++
			j++
		}
	}
	d.body = append(binary.AppendUvarint(d.body, uint64(n)), ops...)
	return nil
}

// appendChange appends the lengths of the common start and end, and what
// stands between them in the new record.
func appendChange(to, older, newer []byte) []byte {
	n := min(len(older), len(newer))
	start := 0
	for start < n && older[start] == newer[start] {
		start++
	}
	end := 0
	for end < n-start && older[len(older)-1-end] == newer[len(newer)-1-end] {
		end++
	}
	to = binary.AppendUvarint(binary.AppendUvarint(to, uint64(start)), uint64(end))
	return puts(to, newer[start:len(newer)-end])
}

// memberOf appends the archive sets of a new patch and of its items, in the
// order of its record.
func (d *differ) memberOf(to []byte, k kind, ordinal int) []byte {
	if k != patches {
		return to
	}
	to = binary.AppendUvarint(to, uint64(indexAt(d.newer.index[patches], ordinal).a))
	rows := d.newer.rowsByPatch()[uint32(ordinal)]
	to = binary.AppendUvarint(to, uint64(len(rows)))
	for _, i := range rows {
		to = binary.AppendUvarint(to, uint64(d.newer.rowAt(i).set))
	}
	return to
}

// membership writes where the unchanged patches and items stand now. A new
// snapshot of a suite moves nearly all of its items from one set to one other:
// that is one number; the exceptions follow.
func (d *differ) membership() {
	type move struct {
		at       int
		from, to uint32
	}
	var ofPatches, ofItems []move
	newRows := d.newer.rowsByPatch()
	seen := map[uint32]int{}
	for i := range d.older.rowCount() {
		r := d.older.rowAt(i)
		if to, ok := d.kept[r.patch]; ok {
			n := seen[r.patch] // the items of an unchanged record come in one order
			seen[r.patch]++
			ofItems = append(ofItems, move{i, uint32(r.set), uint32(d.newer.rowAt(newRows[to][n]).set)})
		}
	}
	for i := range d.older.count(patches) {
		if to, ok := d.kept[uint32(i)]; ok {
			ofPatches = append(ofPatches, move{i, indexAt(d.older.index[patches], i).a, indexAt(d.newer.index[patches], int(to)).a})
		}
	}
	counts := map[[2]uint32]int{}
	for _, m := range append(append([]move{}, ofPatches...), ofItems...) {
		counts[[2]uint32{m.from, m.to}]++
	}
	usual := make([]uint32, len(d.older.dict.Sets))
	for from := range usual {
		most := 0
		for to := range d.newer.dict.Sets {
			if n := counts[[2]uint32{uint32(from), uint32(to)}]; n > most {
				most, usual[from] = n, uint32(to)
			}
		}
		d.body = binary.AppendUvarint(d.body, uint64(usual[from]))
	}
	for _, list := range [][]move{ofPatches, ofItems} {
		var out []byte
		n, last := 0, 0
		for _, m := range list {
			if usual[m.from] != m.to {
				out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(m.at-last)), uint64(m.to))
				last = m.at
				n++
			}
		}
		d.body = append(binary.AppendUvarint(d.body, uint64(n)), out...)
	}
}

// rowsByPatch lists the item rows of each patch, in table order.
func (s *Shard) rowsByPatch() map[uint32][]int {
	s.byPatchOnce.Do(func() {
		s.byPatch = make(map[uint32][]int, s.count(patches))
		for i := range s.rowCount() {
			p := s.rowAt(i).patch
			s.byPatch[p] = append(s.byPatch[p], i)
		}
	})
	return s.byPatch
}

// section reads a whole section.
func (s *Shard) section(i int) ([]byte, error) {
	buf := make([]byte, s.length[i])
	return buf, s.read(buf, s.start[i])
}

// loaded is a kind's keys and records in memory.
type loaded struct {
	n             int
	index         []byte
	keys, records []byte
}

func (s *Shard) load(k kind) (l loaded, err error) {
	l.n, l.index = s.count(k), s.index[k]
	if l.keys, err = s.section(k.keys()); err != nil {
		return l, err
	}
	l.records, err = s.section(k.records())
	return l, err
}

func (l loaded) key(i int) string {
	from := uint32(0)
	if i > 0 {
		from = indexAt(l.index, i-1).keyEnd
	}
	return string(l.keys[from:indexAt(l.index, i).keyEnd])
}

func (l loaded) body(i int) []byte {
	from := uint32(0)
	if i > 0 {
		from = indexAt(l.index, i-1).recEnd
	}
	return l.records[from:indexAt(l.index, i).recEnd]
}
