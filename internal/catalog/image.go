package catalog

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// kind of record; also the offset from the first index, key or record section.
type kind int

const (
	patches kind = iota
	advisories
	vulnerabilities
	kinds
)

// section numbers of a kind.
func (k kind) index() int   { return secPatchIdx + int(k) }
func (k kind) records() int { return secPatches + int(k) }
func (k kind) keys() int    { return [...]int{secPatchKeys, secAdvKeys, secVulnKeys}[k] }

// record is one record on its way into a file: its bytes, or its place in an
// older shard from which they are copied.
type record struct {
	key  string
	body []byte // nil: take record old of the older shard
	old  int
	size uint32 // of the old record
	a, b uint32
}

func (r record) length() int {
	if r.body != nil {
		return len(r.body)
	}
	return int(r.size)
}

// image is a whole shard before it is written.
type image struct {
	header  []byte
	sets    [][]string
	rows    []row
	records [kinds][]record // each sorted by key
	older   *Shard          // where records without a body lie
}

// write lays the image out and writes it. It is the one writer of the format,
// for new shards and for applied deltas alike.
func (img *image) write(w io.Writer) error {
	parts, err := img.resident()
	if err != nil {
		return err
	}
	var sizes [sections]uint64
	for i, p := range parts {
		sizes[i] = uint64(len(p))
	}
	var total uint64
	for k := range kinds {
		for _, r := range img.records[k] {
			sizes[k.records()] += uint64(r.length())
		}
		total += sizes[k.records()]
	}
	if total > MaxShard {
		return fault.New(fault.Invalid, "catalog: the records have %d bytes, at most %d fit a shard", total, MaxShard)
	}
	out := bufio.NewWriterSize(w, 1<<16)
	pre := []byte(magic)
	for _, n := range sizes {
		pre = binary.LittleEndian.AppendUint64(pre, n)
	}
	for _, p := range append([][]byte{pre}, parts[:secPatches]...) {
		if _, err := out.Write(p); err != nil {
			return notWritten(err)
		}
	}
	for k := range kinds {
		if err := img.writeRecords(out, k); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return notWritten(err)
	}
	return nil
}

// notWritten is the fault of a write that failed; a writer that refuses with a
// fault of its own (ApplyDelta's meter) is left to speak for itself.
func notWritten(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return fault.Wrap(err, fault.Unavailable, "catalog: the shard can't be written")
}

// writeRecords writes a kind's records; neighbours that come from the older
// shard are copied in one piece.
func (img *image) writeRecords(out io.Writer, k kind) error {
	all := img.records[k]
	for i := 0; i < len(all); {
		if all[i].body != nil {
			if _, err := out.Write(all[i].body); err != nil {
				return notWritten(err)
			}
			i++
			continue
		}
		from := i
		for i++; i < len(all) && all[i].body == nil && all[i].old == all[i-1].old+1; i++ {
		}
		if err := img.older.copyRecords(out, k, all[from].old, all[i-1].old); err != nil {
			return err
		}
	}
	return nil
}

// resident builds every section but the records.
func (img *image) resident() (parts [sections][]byte, err error) {
	parts[secHeader] = img.header
	d := dict{Sets: img.sets}
	d.Kinds, d.Archs = img.names()
	if len(d.Kinds) > math.MaxUint8 || len(d.Archs) > math.MaxUint16 || len(d.Sets) > math.MaxUint16 {
		return parts, fault.New(fault.Invalid, "catalog: too many package kinds, architectures or archive sets")
	}
	if parts[secDict], err = marshal(d); err != nil {
		return parts, err
	}
	parts[secNames], parts[secItems], parts[secPool] = img.table(d)
	for k := range kinds {
		var keyEnd, recEnd uint64
		parts[k.index()] = make([]byte, 0, len(img.records[k])*indexRowSize)
		for _, r := range img.records[k] {
			keyEnd += uint64(len(r.key))
			recEnd += uint64(r.length())
			if max(keyEnd, recEnd) > math.MaxUint32 {
				return parts, fault.New(fault.Invalid, "catalog: the records do not fit one shard")
			}
			ir := indexRow{keyEnd: uint32(keyEnd), recEnd: uint32(recEnd), a: r.a, b: r.b}
			parts[k.index()] = ir.append(parts[k.index()])
			parts[k.keys()] = append(parts[k.keys()], r.key...)
		}
	}
	return parts, nil
}

// names lists the distinct kinds and architectures of the items, sorted.
func (img *image) names() (kinds, archs []string) {
	k, a := map[string]bool{}, map[string]bool{}
	for _, r := range img.rows {
		k[r.kind], a[r.arch] = true, true
	}
	for s := range k {
		kinds = append(kinds, s)
	}
	for s := range a {
		archs = append(archs, s)
	}
	slices.Sort(kinds)
	slices.Sort(archs)
	return kinds, archs
}

// table packs the item rows. Strings stand in the pool once each.
func (img *image) table(d dict) (names, items, pool []byte) {
	slices.SortFunc(img.rows, compareRows)
	kindOf, archOf := ordinals(d.Kinds), ordinals(d.Archs)
	at := make(map[string]uint32, len(img.rows))
	items = make([]byte, 0, len(img.rows)*itemRowSize)
	place := func(s string) uint32 {
		off, ok := at[s]
		if !ok {
			off = uint32(len(pool))
			at[s] = off
			pool = binary.AppendUvarint(pool, uint64(len(s)))
			pool = append(pool, s...)
		}
		return off
	}
	for i, r := range img.rows {
		if i == 0 || img.rows[i-1].kind != r.kind || img.rows[i-1].name != r.name {
			names = binary.LittleEndian.AppendUint32(names, place(r.name))
			names = binary.LittleEndian.AppendUint32(names, uint32(i))
			names = append(names, byte(kindOf[r.kind]), 0, 0, 0)
		}
		items = binary.LittleEndian.AppendUint32(items, place(r.version))
		items = binary.LittleEndian.AppendUint32(items, r.patch)
		items = binary.LittleEndian.AppendUint16(items, r.set)
		items = binary.LittleEndian.AppendUint16(items, uint16(archOf[r.arch]))
		items = append(items, r.phased, r.flags)
	}
	return names, items, pool
}

func compareRows(a, b row) int {
	return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.name, b.name), strings.Compare(a.arch, b.arch),
		strings.Compare(a.version, b.version), cmp.Compare(a.patch, b.patch))
}

func ordinals(list []string) map[string]int {
	out := make(map[string]int, len(list))
	for i, s := range list {
		out[s] = i
	}
	return out
}
