package winreg

import (
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/fettlehq/fettle/internal/fault"
)

// Hive is a registry file such as NTUSER.DAT, read as it lies on the disk. The form is the one that Microsoft has never
// published and others have described ("Windows registry file format specification", M. Suhanov; libhivex).
//
// Its owner can write what he likes into it, so nothing in it is believed: each offset is checked, lists have bounds, and
// only what is asked for is read.
type Hive struct {
	r     io.ReaderAt
	size  int64
	root  uint32
	dirty bool
	logs  []Log
	pages map[uint32]page // the sectors of which a log has newer bytes
	calls int             // cells that may still be read
	left  int64           // bytes that may still be read
}

const (
	baseBlock   = 4096       // cells are counted from behind it
	maxList     = 1 << 16    // subkeys or values of one key
	maxCells    = 4 << 20    // read in all: a large hive has a million
	maxRead     = 256 << 20  // bytes read in all: cells may be named again and again
	bigSegment  = 16344      // data beyond this is in segments, from version 1.4 on
	inlineData  = 0x80000000 // the data stands where its place would
	nameIsShort = 0x20       // of a key's flags: one byte for each letter
	valueShort  = 1          // the same of a value's
)

// OpenHive reads the head of a hive file of size bytes. When the hive was not written to its end, what its logs hold is
// read in place of what the file holds; neither is changed. A file that is none is fault.Invalid; one that can't be read
// is fault.Unavailable.
func OpenHive(r io.ReaderAt, size int64, logs ...Log) (*Hive, error) {
	h := &Hive{r: r, size: size, calls: maxCells, left: maxRead}
	none := fault.New(fault.Invalid, "winreg: the file is no registry hive")
	if size < baseBlock {
		return nil, none
	}
	head, err := h.read(0, sector)
	if err != nil {
		return nil, err
	}
	if h.dirty = !sound(head) || le32(head, 4) != le32(head, 8); h.dirty {
		var whole bool
		head, whole = h.recover(head, logs)
		h.dirty = !whole
	}
	if string(head[:4]) != "regf" {
		return nil, none
	}
	if major := le32(head, 20); major != 1 {
		return nil, fault.New(fault.Invalid, "winreg: the hive has version %d, which is not known", major)
	}
	h.root = le32(head, 36)
	if _, err := h.key(h.root); err != nil {
		return nil, err
	}
	return h, nil
}

// Dirty reports whether the hive was not written to its end and its logs do not have the rest: its newest changes are
// not seen.
func (h *Hive) Dirty() bool { return h.dirty }

// Root is the hive's first key: for NTUSER.DAT what the user sees as HKEY_CURRENT_USER.
func (h *Hive) Root() Key { return hiveKey{h: h, at: h.root} }

// read reads n bytes at an offset of the file.
func (h *Hive) read(offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || offset > h.size-n {
		return nil, damagedHive("it is cut off, or points behind its end")
	}
	if h.left -= n; h.left < 0 {
		return nil, fault.New(fault.Exhausted, "winreg: more of the hive would have to be read than is read")
	}
	buf := make([]byte, n)
	if !h.at(buf, offset) {
		return nil, fault.New(fault.Unavailable, "winreg: the hive or its log can't be read")
	}
	return buf, nil
}

// cell reads at most limit bytes of the data of a cell.
func (h *Hive) cell(at uint32, limit int64) ([]byte, error) {
	if h.calls--; h.calls < 0 {
		return nil, fault.New(fault.Exhausted, "winreg: the hive has more cells than are read")
	}
	start := baseBlock + int64(at)
	head, err := h.read(start, 4)
	if err != nil {
		return nil, err
	}
	size := -int64(int32(le32(head, 0))) // that of a free cell is positive
	if size < 8 {
		return nil, damagedHive("a key points to free space")
	}
	return h.read(start+4, min(size-4, limit))
}

// key reads the fixed part and the name of a key's cell.
func (h *Hive) key(at uint32) (nk []byte, err error) {
	const longest = 76 + 2*256
	nk, err = h.cell(at, longest)
	if err != nil {
		return nil, err
	}
	if len(nk) < 76 || string(nk[:2]) != "nk" || len(nk) < 76+int(le16(nk, 72)) {
		return nil, damagedHive("what should be a key is none")
	}
	return nk, nil
}

func keyName(nk []byte) string {
	return hiveName(nk[76:76+int(le16(nk, 72))], le16(nk, 2)&nameIsShort != 0)
}

// hiveName decodes a name: Latin-1 when it is short, else UTF-16.
func hiveName(b []byte, short bool) string {
	if !short {
		return decode(b)
	}
	u := make([]uint16, len(b))
	for i, c := range b {
		u[i] = uint16(c)
	}
	return string(utf16.Decode(u))
}

// hiveKey is a key of a hive.
type hiveKey struct {
	h  *Hive
	at uint32
}

// Open implements Key.
func (k hiveKey) Open(path string) (Key, error) {
	for name := range strings.SplitSeq(clean(path), `\`) {
		if name == "" {
			continue
		}
		found := false
		err := k.each(func(sub string, at uint32) bool {
			if found = fold(sub) == fold(name); found {
				k.at = at
			}
			return !found
		})
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, absentKey(path)
		}
	}
	return k, nil
}

// Keys implements Key.
func (k hiveKey) Keys() ([]string, error) {
	var names []string
	err := k.each(func(name string, _ uint32) bool {
		names = append(names, name)
		return true
	})
	sortNames(names)
	return names, err
}

// each calls do with the keys right below until it says false.
func (k hiveKey) each(do func(name string, at uint32) bool) error {
	nk, err := k.h.key(k.at)
	if err != nil {
		return err
	}
	count := le32(nk, 20)
	if count == 0 {
		return nil
	}
	list, err := k.h.subkeys(le32(nk, 28), true)
	if err != nil {
		return err
	}
	for _, at := range list {
		sub, err := k.h.key(at)
		if err != nil {
			return err
		}
		if !do(keyName(sub), at) {
			return nil
		}
	}
	return nil
}

// subkeys reads a list of subkeys: lf and lh hold a hint beside each key, li does not, ri lists further lists.
func (h *Hive) subkeys(at uint32, outer bool) ([]uint32, error) {
	list, err := h.cell(at, 4+8*maxList)
	if err != nil {
		return nil, err
	}
	kind, count := string(list[:2]), int(le16(list, 2))
	width := map[string]int{"lf": 8, "lh": 8, "li": 4, "ri": 4}[kind]
	if width == 0 || len(list) < 4+count*width || kind == "ri" && !outer {
		return nil, damagedHive("a list of keys is none")
	}
	var out []uint32
	for i := range count {
		next := le32(list, 4+i*width)
		if kind != "ri" {
			out = append(out, next)
			continue
		}
		part, err := h.subkeys(next, false)
		if err != nil {
			return nil, err
		}
		if out = append(out, part...); len(out) > maxList {
			return nil, fault.New(fault.Exhausted, "winreg: a key of the hive has more than %d keys", maxList)
		}
	}
	return out, nil
}

// Values implements Key.
func (k hiveKey) Values() ([]string, error) {
	var names []string
	err := k.eachValue(func(vk []byte) bool {
		names = append(names, hiveName(nameOfValue(vk)))
		return true
	})
	sortNames(names)
	return names, err
}

// nameOfValue is the name in a value's cell as it stands there.
func nameOfValue(vk []byte) (raw []byte, short bool) {
	return vk[20 : 20+int(le16(vk, 2))], le16(vk, 16)&valueShort != 0
}

// eachValue calls do with the cell of each value until it says false.
func (k hiveKey) eachValue(do func(vk []byte) bool) error {
	nk, err := k.h.key(k.at)
	if err != nil {
		return err
	}
	count := int64(le32(nk, 36))
	if count == 0 {
		return nil
	}
	if count > maxList {
		return fault.New(fault.Exhausted, "winreg: a key of the hive has more than %d values", maxList)
	}
	list, err := k.h.cell(le32(nk, 40), 4*count)
	if err != nil {
		return err
	}
	if int64(len(list)) < 4*count {
		return damagedHive("a list of values is too short")
	}
	for ; len(list) > 0; list = list[4:] {
		const longest = 20 + 2*16383
		vk, err := k.h.cell(le32(list, 0), longest)
		if err != nil {
			return err
		}
		if len(vk) < 20 || string(vk[:2]) != "vk" || len(vk) < 20+int(le16(vk, 2)) {
			return damagedHive("what should be a value is none")
		}
		if !do(vk) {
			return nil
		}
	}
	return nil
}

// Value implements Key.
func (k hiveKey) Value(name string) (Value, error) {
	var cell []byte
	wide := len(encode(name))
	err := k.eachValue(func(vk []byte) bool {
		raw, short := nameOfValue(vk)
		same := len(raw) == wide || short && 2*len(raw) == wide // names differ by length mostly
		if same && fold(hiveName(raw, short)) == fold(name) {
			cell = vk
		}
		return cell == nil
	})
	if err != nil {
		return Value{}, err
	}
	if cell == nil {
		return Value{}, absentValue(name)
	}
	v := Value{Type: Type(le32(cell, 12))}
	v.Data, err = k.h.data(cell)
	return v, err
}

// data reads what a value holds.
func (h *Hive) data(vk []byte) ([]byte, error) {
	size, at := le32(vk, 4), le32(vk, 8)
	if size&inlineData != 0 {
		return append([]byte{}, vk[8:8+min(size&^inlineData, 4)]...), nil
	}
	switch {
	case size == 0:
		return nil, nil
	case size > MaxValue:
		return nil, fault.New(fault.Exhausted, "winreg: a value of the hive has %d bytes, more than are read", size)
	}
	b, err := h.cell(at, int64(size))
	if err != nil {
		return nil, err
	}
	if size > bigSegment && string(b[:2]) == "db" {
		return h.segments(b, size)
	}
	if len(b) < int(size) {
		return nil, damagedHive("the data of a value is too short")
	}
	return b, nil
}

// segments joins the data of a large value.
func (h *Hive) segments(db []byte, size uint32) ([]byte, error) {
	if len(db) < 8 {
		return nil, damagedHive("the data of a large value is none")
	}
	count := int64(le16(db, 2))
	list, err := h.cell(le32(db, 4), 4*count)
	if err != nil {
		return nil, err
	}
	if int64(len(list)) < 4*count {
		return nil, damagedHive("a list of data is too short")
	}
	out := make([]byte, 0, size)
	for ; len(list) > 0 && len(out) < int(size); list = list[4:] {
		part, err := h.cell(le32(list, 0), min(bigSegment, int64(size)-int64(len(out))))
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	if len(out) < int(size) {
		return nil, damagedHive("the data of a large value is too short")
	}
	return out, nil
}

// Close implements Key.
func (k hiveKey) Close() error { return nil }

func damagedHive(what string) error {
	return fault.New(fault.Invalid, "winreg: the hive is damaged: %s", what)
}

func le16(b []byte, at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
func le32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
