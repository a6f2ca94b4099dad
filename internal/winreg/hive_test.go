package winreg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
)

// builder writes hives, in each of the forms that Windows has used.
type builder struct {
	cells []byte
	list  string // lf, lh or li
	split int    // lists longer than this are parted under an ri; 0 for never
}

// cell writes a cell and returns its place.
func (b *builder) cell(data []byte) uint32 {
	const binHead = 32
	at := uint32(binHead + len(b.cells))
	size := (4 + len(data) + 7) &^ 7
	b.cells = binary.LittleEndian.AppendUint32(b.cells, uint32(-int32(size)))
	b.cells = append(b.cells, data...)
	b.cells = append(b.cells, make([]byte, size-4-len(data))...)
	return at
}

func u16(b []byte, at int, v int)    { binary.LittleEndian.PutUint16(b[at:], uint16(v)) }
func u32(b []byte, at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }

// name encodes a name as Windows does: Latin-1 when it can.
func name(s string) (raw []byte, short bool) {
	for _, r := range s {
		if r > 0xff {
			return encode(s), false
		}
		raw = append(raw, byte(r))
	}
	return raw, true
}

// refs writes a list of places.
func (b *builder) refs(at []uint32) uint32 {
	var out []byte
	for _, a := range at {
		out = binary.LittleEndian.AppendUint32(out, a)
	}
	return b.cell(out)
}

// sublist writes a list of subkeys.
func (b *builder) sublist(kind string, at []uint32) uint32 {
	out := append([]byte(kind), byte(len(at)), byte(len(at)>>8))
	for _, a := range at {
		out = binary.LittleEndian.AppendUint32(out, a)
		if kind == "lf" || kind == "lh" {
			out = append(out, "hint"...)
		}
	}
	return b.cell(out)
}

func (b *builder) value(v named) uint32 {
	raw, short := name(v.name)
	vk := make([]byte, 20, 20+len(raw))
	copy(vk, "vk")
	u16(vk, 2, len(raw))
	u32(vk, 4, uint32(len(v.value.Data)))
	u32(vk, 12, uint32(v.value.Type))
	if short {
		u16(vk, 16, 1)
	}
	switch data := v.value.Data; {
	case len(data) <= 4:
		u32(vk, 4, uint32(len(data))|inlineData)
		copy(vk[8:12], data)
	case len(data) > bigSegment:
		var parts []uint32
		for part := range slices.Chunk(data, bigSegment) {
			parts = append(parts, b.cell(append(slices.Clone(part), 0, 0, 0, 0))) // Windows leaves four bytes
		}
		db := append([]byte("db"), byte(len(parts)), byte(len(parts)>>8))
		u32(vk, 8, b.cell(append(binary.LittleEndian.AppendUint32(db, b.refs(parts)), 0, 0, 0, 0)))
	default:
		u32(vk, 8, b.cell(data))
	}
	return b.cell(append(vk, raw...))
}

// security writes a descriptor that all keys share: libhivex wants one.
func (b *builder) security() uint32 {
	sk := make([]byte, 20+20)
	copy(sk, "sk")
	at := b.cell(sk)
	own := b.at(at)
	u32(own, 4, at)
	u32(own, 8, at)
	u32(own, 12, 1)
	u32(own, 16, 20)
	copy(own[20:], []byte{1, 0, 0, 0x80}) // SECURITY_DESCRIPTOR_RELATIVE that allows all
	return at
}

// at is the data of a cell that was written.
func (b *builder) at(at uint32) []byte { return b.cells[at-32+4:] }

func (b *builder) key(n *node, parent, security uint32, flags int) uint32 {
	raw, short := name(n.name)
	if short {
		flags |= nameIsShort
	}
	nk := make([]byte, 76+len(raw))
	copy(nk, "nk")
	copy(nk[76:], raw)
	at := b.cell(nk)
	u16(nk, 2, flags)
	u32(nk, 16, parent)
	for _, field := range []int{28, 32, 40, 48} {
		u32(nk, field, 0xffffffff)
	}
	u32(nk, 44, security)
	u16(nk, 72, len(raw))
	keys, _ := n.Keys()
	var subs []uint32
	for _, k := range keys {
		subs = append(subs, b.key(n.keys[fold(k)], at, security, 0))
	}
	u32(nk, 20, uint32(len(subs)))
	switch {
	case len(subs) == 0:
	case b.split > 0 && len(subs) > b.split:
		var parts []uint32
		for part := range slices.Chunk(subs, b.split) {
			parts = append(parts, b.sublist(b.list, part))
		}
		u32(nk, 28, b.sublist("ri", parts))
	default:
		u32(nk, 28, b.sublist(b.list, subs))
	}
	values, _ := n.Values()
	var places []uint32
	for _, v := range values {
		places = append(places, b.value(n.values[fold(v)]))
	}
	if u32(nk, 36, uint32(len(places))); len(places) > 0 {
		u32(nk, 40, b.refs(places))
	}
	copy(b.at(at), nk)
	return at
}

// hive is the whole file with n as its first key.
func (b *builder) hive(n *node) []byte {
	const entry, lasting = 0x4, 0x8
	root := b.key(n, 0, b.security(), entry|lasting)
	size := (32 + len(b.cells) + 4095) &^ 4095
	out := make([]byte, baseBlock+size)
	copy(out, "regf")
	u32(out, 4, 1)
	u32(out, 8, 1)
	u32(out, 20, 1)
	u32(out, 24, 5)
	u32(out, 32, 1)
	u32(out, 36, root)
	u32(out, 40, uint32(size))
	u32(out, 44, 1)
	var sum uint32
	for i := 0; i < 508; i += 4 {
		sum ^= le32(out, i)
	}
	u32(out, 508, sum)
	copy(out[baseBlock:], "hbin")
	u32(out, baseBlock+8, uint32(size))
	copy(out[baseBlock+32:], b.cells)
	if free := size - 32 - len(b.cells); free > 0 {
		u32(out, baseBlock+32+len(b.cells), uint32(free))
	}
	return out
}

func openBytes(t testing.TB, data []byte) *Hive {
	t.Helper()
	h, err := OpenHive(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// dump is all that a key holds, one line for each key and value.
func dump(t testing.TB, k Key, path string) (lines []string) {
	t.Helper()
	names, err := k.Values()
	if err != nil {
		t.Fatal(path, err)
	}
	for _, n := range names {
		v, err := k.Value(n)
		if err != nil {
			t.Fatal(path, n, err)
		}
		lines = append(lines, fmt.Sprintf("%s %q %s %x", path, n, v.Type, v.Data))
	}
	keys, err := k.Keys()
	if err != nil {
		t.Fatal(path, err)
	}
	for _, n := range keys {
		sub, err := k.Open(n)
		if err != nil {
			t.Fatal(path, n, err)
		}
		lines = append(lines, path+`\`+n)
		lines = append(lines, dump(t, sub, path+`\`+n)...)
	}
	return lines
}

// TestHive: what is written in each form is read.
func TestHive(t *testing.T) {
	for _, b := range []builder{{list: "lf"}, {list: "lh", split: 2}, {list: "li", split: 3}, {list: "lf", split: 7}} {
		rapid.Check(t, func(t *rapid.T) {
			m := &Memory{}
			part := rapid.SampledFrom([]string{"a", "B", "Ümlaut", "東京", "with space", "x.y"})
			for range rapid.IntRange(0, 30).Draw(t, "values") {
				path := strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "path"), `\`)
				size := rapid.SampledFrom([]int{0, 1, 4, 5, 100, bigSegment, bigSegment + 1, 3 * bigSegment}).Draw(t, "size")
				v := Value{Type(rapid.IntRange(0, 12).Draw(t, "type")), bytes.Repeat([]byte{byte(size), 7}, size)[:size]}
				if err := m.Set(`HKCU\`+path, part.Draw(t, "name"), v); err != nil {
					t.Fatal(err)
				}
			}
			n, err := m.make("HKCU")
			if err != nil {
				t.Fatal(err)
			}
			one := b
			data := one.hive(n)
			h, err := OpenHive(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(dumpRapid(t, n), dumpRapid(t, h.Root())); diff != "" {
				t.Fatalf("(-written +read):\n%s", diff)
			}
		})
	}
}

// dumpRapid is dump for property tests.
func dumpRapid(t *rapid.T, k Key) []string { return dump(quiet{t: t}, k, "") }

// quiet lets dump fail a property.
type quiet struct {
	testing.TB
	t *rapid.T
}

func (q quiet) Helper()           {}
func (q quiet) Fatal(args ...any) { q.t.Fatal(args...) }

// TestHiveOfOthers reads a hive that libhivex has written from user.reg.
func TestHiveOfOthers(t *testing.T) {
	data, err := os.ReadFile("testdata/user.hive")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/user.reg")
	if err != nil {
		t.Fatal(err)
	}
	m := &Memory{}
	if err := m.Parse(text); err != nil {
		t.Fatal(err)
	}
	h := openBytes(t, data)
	if h.Dirty() {
		t.Error("the hive is dirty")
	}
	if diff := cmp.Diff(dump(t, m.top.find("HKCU"), ""), dump(t, h.Root(), "")); diff != "" {
		t.Errorf("(-text +hive):\n%s", diff)
	}
	if _, err := h.Root().Open(`Software\None`); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	k, err := h.Root().Open(`\software\\MICROSOFT\`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Value("none"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	u32(data, 8, 99)
	if !openBytes(t, data).Dirty() {
		t.Error("a hive amid a change is not dirty")
	}
}

// TestHiveRefuses: damaged hives end in an error, not in a wrong answer.
func TestHiveRefuses(t *testing.T) {
	m := &Memory{}
	for _, name := range []string{"a", "b"} {
		if err := m.Set(`HKCU\`+name, "v", TextValue(SZ, strings.Repeat("x", 9000))); err != nil {
			t.Fatal(err)
		}
	}
	good := (&builder{list: "lf"}).hive(m.top.find("HKCU"))
	for name, data := range map[string][]byte{"nothing": nil, "no hive": make([]byte, 8192), "cut": good[:baseBlock]} {
		if _, err := OpenHive(bytes.NewReader(data), int64(len(data))); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	future := slices.Clone(good)
	u32(future, 20, 2)
	if _, err := OpenHive(bytes.NewReader(future), int64(len(future))); !fault.Is(err, fault.Invalid) {
		t.Errorf("another version: %v", err)
	}
	for at := baseBlock; at < len(good); at += 4 { // each number at a time
		if string(good[at:at+4]) == "x\x00x\x00" {
			continue
		}
		bad := slices.Clone(good)
		u32(bad, at, 0xfffffff0)
		if h, err := OpenHive(bytes.NewReader(bad), int64(len(bad))); err == nil {
			read(h.Root(), 0)
		}
	}
}

// read reads what a key holds, whatever comes of it.
func read(k Key, depth int) {
	names, err := k.Values()
	for _, n := range names {
		if v, err := k.Value(n); err == nil {
			v.Texts()
		}
	}
	if err != nil || depth > 8 {
		return
	}
	_ = Below(k, func(_ string, sub Key) error { read(sub, depth+1); return nil })
}

func FuzzHive(f *testing.F) {
	data, err := os.ReadFile("testdata/user.hive")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	m := &Memory{}
	for _, n := range []string{"a", "b", "c"} {
		if err := m.Set(`HKCU\`+n, "v", TextValue(SZ, strings.Repeat("x", 9000))); err != nil {
			f.Fatal(err)
		}
	}
	f.Add((&builder{list: "li", split: 2}).hive(m.top.find("HKCU")))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := OpenHive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		h.calls = 20_000
		read(h.Root(), 0)
	})
}
