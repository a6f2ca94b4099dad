package catalog

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"

	"github.com/fettlehq/fettle/internal/patch"
)

// ApplyDelta writes the shard that the delta makes of the old one. It refuses
// (Untrusted) a delta for another file before it writes anything, and one
// whose outcome has another hash than announced after it has written: what
// was written must then be thrown away. Memory is bounded by MaxDelta and the
// old shard's tables; records are copied from file to file.
func ApplyDelta(w io.Writer, older *Shard, delta io.Reader) error {
	in := bufio.NewReaderSize(delta, 64<<10)
	info, err := readDeltaInfo(in)
	if err != nil {
		return err
	}
	from, err := describe(older)
	if err != nil {
		return err
	}
	if from.SHA256 != info.From.SHA256 || from.Size != info.From.Size {
		return badDelta("it is for the shard %.12s…, here is %.12s…", info.From.SHA256, from.SHA256)
	}
	body, err := unpack(in)
	if err != nil {
		return err
	}
	a := applier{older: older, in: takes{b: body}}
	img, err := a.image()
	if err != nil {
		return err
	}
	out := &meter{w: w, sum: sha256.New(), limit: info.To.Size}
	if err := img.write(out); err != nil {
		return err
	}
	if got := hex.EncodeToString(out.sum.Sum(nil)); got != info.To.SHA256 || out.n != info.To.Size {
		return badDelta("it makes a shard of %d bytes with hash %.12s…, announced are %d bytes with hash %.12s…", out.n, got, info.To.Size, info.To.SHA256)
	}
	return nil
}

// meter counts and hashes what passes, and stops at the announced size.
type meter struct {
	w        io.Writer
	sum      hash.Hash
	n, limit int64
}

func (m *meter) Write(b []byte) (int, error) {
	if m.n+int64(len(b)) > m.limit {
		return 0, badDelta("it makes more than the announced %d bytes", m.limit)
	}
	n, err := m.w.Write(b)
	m.sum.Write(b[:n])
	m.n += int64(n)
	return n, err
}

// applier builds the new image.
type applier struct {
	older *Shard
	in    takes
	img   image
	// where tells the new ordinal of each old patch, -1 when it changed.
	where []int32
}

func (a *applier) image() (*image, error) {
	a.img.older = a.older
	a.img.header = a.in.bytes()
	if err := json.Unmarshal(a.in.bytes(), &a.img.sets); err != nil {
		return nil, badDelta("its archive sets are not well-formed")
	}
	a.where = make([]int32, a.older.count(patches))
	a.img.rows = make([]row, 0, a.older.rowCount()+256)
	for k := range kinds {
		if err := a.records(k); err != nil {
			return nil, err
		}
	}
	a.membership()
	if a.in.failed || len(a.in.b) > 0 {
		return nil, badDelta("its list of changes is damaged")
	}
	return &a.img, nil
}

// records replays the changes of a kind over the old records.
func (a *applier) records(k kind) error {
	old, at := a.older.count(k), 0
	keys, err := a.older.section(k.keys())
	if err != nil {
		return err
	}
	l := loaded{n: old, index: a.older.index[k], keys: keys}
	a.img.records[k] = make([]record, 0, old+64)
	keep := func(until int) {
		for ; at < until; at++ {
			r := indexAt(l.index, at)
			from, to := a.older.bounds(k, at, func(r indexRow) uint32 { return r.recEnd })
			if k == patches {
				a.where[at] = int32(len(a.img.records[k]))
			}
			a.img.records[k] = append(a.img.records[k], record{key: l.key(at), old: at, size: uint32(to - from), a: r.a, b: r.b})
		}
	}
	for range a.in.count() {
		keep(at + a.in.within(old-at+1))
		code := a.in.byte()
		if code != opInsert && at >= old || a.in.failed {
			return badDelta("its list of changes is damaged")
		}
		switch code {
		case opDelete:
		case opInsert:
			key := string(a.in.bytes())
			err = a.add(k, key, a.in.bytes())
		case opReplace:
			var body []byte
			if body, err = a.change(k, at); err == nil {
				err = a.add(k, l.key(at), body)
			}
		default:
			return badDelta("it holds an unknown operation")
		}
		if err != nil {
			return err
		}
		if code != opInsert {
			if k == patches {
				a.where[at] = -1
			}
			at++
		}
	}
	keep(old)
	return nil
}

// change rebuilds a record from the old one.
func (a *applier) change(k kind, at int) ([]byte, error) {
	older, err := a.older.record(k, at)
	if err != nil {
		return nil, err
	}
	start := a.in.within(len(older) + 1)
	end := a.in.within(len(older) - start + 1)
	middle := a.in.bytes()
	if a.in.failed || start+end+len(middle) > MaxRecord {
		return nil, badDelta("its list of changes is damaged")
	}
	body := make([]byte, 0, start+len(middle)+end)
	body = append(append(body, older[:start]...), middle...)
	return append(body, older[len(older)-end:]...), nil
}

// add adds a new or changed record, with the item rows of a patch.
func (a *applier) add(k kind, key string, body []byte) error {
	if a.in.failed || len(body) > MaxRecord {
		return badDelta("its list of changes is damaged")
	}
	r := record{key: key, body: append([]byte{}, body...)}
	switch k {
	case vulnerabilities:
		var v patch.Vulnerability
		if err := json.Unmarshal(body, &v); err != nil {
			return badDelta("record %q is not well-formed", key)
		}
		r.a, r.b = packRisk(v)
	case patches:
		var p patch.Patch
		if err := json.Unmarshal(body, &p); err != nil {
			return badDelta("record %q is not well-formed", key)
		}
		flags := patchFlags(p)
		r.a, r.b = uint32(a.in.within(len(a.img.sets))), uint32(flags)
		if a.in.count() != len(p.Items) {
			return badDelta("record %q does not say where its items stand", key)
		}
		for _, it := range p.Items {
			a.img.rows = append(a.img.rows, itemRow(it, uint32(len(a.img.records[k])), uint16(a.in.within(len(a.img.sets))), flags))
		}
	}
	a.img.records[k] = append(a.img.records[k], r)
	return nil
}

// membership carries the rows and sets of the unchanged patches over.
func (a *applier) membership() {
	usual := make([]uint16, len(a.older.dict.Sets))
	for i := range usual {
		// A set that nothing unchanged stands in maps to the first, if any.
		usual[i] = uint16(a.in.within(max(1, len(a.img.sets))))
	}
	special := func(limit int) map[int]uint16 {
		out := map[int]uint16{}
		at := 0
		for range a.in.count() {
			at += a.in.within(limit - at)
			out[at] = uint16(a.in.within(len(a.img.sets)))
		}
		return out
	}
	ofPatches := special(a.older.count(patches))
	for i, to := range a.where {
		if to < 0 {
			continue
		}
		r := &a.img.records[patches][to]
		set, ok := ofPatches[i]
		if !ok {
			set = usual[r.a]
		}
		r.a = uint32(set)
	}
	ofItems := special(a.older.rowCount())
	for n := range a.older.nameCount() {
		kind, name := a.older.nameAt(n)
		from, to := a.older.rowsOf(n)
		for i := from; i < to; i++ {
			r := a.older.rowAt(i)
			at := a.where[r.patch]
			if at < 0 {
				continue
			}
			set, ok := ofItems[i]
			if !ok {
				set = usual[r.set]
			}
			r.kind, r.name, r.patch, r.set = a.older.dict.Kinds[kind], name, uint32(at), set
			a.img.rows = append(a.img.rows, r)
		}
	}
}
