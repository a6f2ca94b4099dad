package pefile

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func read(t testing.TB, data []byte) Info {
	t.Helper()
	info, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestCompiled reads what windres and ld have made of testdata/version.rc.
func TestCompiled(t *testing.T) {
	for _, machine := range []string{"amd64", "386"} {
		data, err := os.ReadFile(filepath.Join("testdata", "version-"+machine+".dll"))
		if err != nil {
			t.Fatal(err)
		}
		info := read(t, data)
		want := Info{Machine: machine, Version: &VersionInfo{
			Fixed: true, FileVersion: Quad{1, 2, 3, 40000}, ProductVersion: Quad{5, 6, 7, 8}, Flags: 0x2a,
			Translations: []uint32{0x040904b0, 0x040704b0},
			Tables: map[string]map[string]string{
				"040904b0": {
					"CompanyName": "Acme Søftware", "FileDescription": "A program that says who it is", "FileVersion": "1.2 (build 40000)",
					"ProductName": "Acme", "ProductVersion": "5.6", "Comments": "",
				},
				"040704b0": {"ProductName": "Acme (deutsch)"},
			},
		}}
		if diff := cmp.Diff(want, info); diff != "" {
			t.Errorf("%s: %s", machine, diff)
		}
		for name, want := range map[string]string{"FileVersion": "1.2 (build 40000)", "productname": "Acme", "None": ""} {
			if got := info.Version.String(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if got := info.Version.FileVersion.String(); got != "1.2.3.40000" {
			t.Errorf("the version reads %q", got)
		}
	}
}

// block writes one block of VS_VERSIONINFO.
func block(key string, text bool, value []byte, kids ...[]byte) []byte {
	b := make([]byte, 6)
	b = append(append(b, wide(key)...), 0, 0)
	size := len(value)
	if text {
		size /= 2
	}
	for _, part := range append([][]byte{value}, kids...) {
		if len(part) > 0 {
			b = append(b, make([]byte, align(len(b))-len(b))...)
			b = append(b, part...)
		}
	}
	le := binary.LittleEndian
	le.PutUint16(b, uint16(len(b)))
	le.PutUint16(b[2:], uint16(size))
	if text {
		le.PutUint16(b[4:], 1)
	}
	return b
}

func wide(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func fixed(file, product Quad) []byte {
	var b []byte
	for _, v := range []uint32{
		fixedSignature, 1 << 16,
		uint32(file[0])<<16 | uint32(file[1]), uint32(file[2])<<16 | uint32(file[3]),
		uint32(product[0])<<16 | uint32(product[1]), uint32(product[2])<<16 | uint32(product[3]),
		0x3f, 0, 0x40004, 1, 0, 0, 0,
	} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// program writes a PE file with one section of resources: a version resource for each language, in this order.
func program(machine uint16, languages []uint32, resources [][]byte) []byte {
	const align, address = 512, 0x1000
	le := binary.LittleEndian
	level := func(ids []uint32, leadTo []uint32) []byte {
		b := make([]byte, treeHeader)
		le.PutUint16(b[14:], uint16(len(ids)))
		for i, id := range ids {
			b = le.AppendUint32(le.AppendUint32(b, id), leadTo[i])
		}
		return b
	}
	rsrc := level([]uint32{3, typeVersion}, []uint32{deeper | 0xffff, deeper | 32}) // icons first, which lead nowhere
	rsrc = append(rsrc, level([]uint32{nameVersion}, []uint32{deeper | 56})...)
	third := 56 + treeHeader + treeEntry*len(languages)
	var leaves []uint32
	for i := range languages {
		leaves = append(leaves, uint32(third+dataEntrySize*i))
	}
	rsrc = append(rsrc, level(languages, leaves)...)
	at := third + dataEntrySize*len(languages)
	for _, r := range resources {
		entry := le.AppendUint32(le.AppendUint32(nil, uint32(address+at)), uint32(len(r)))
		rsrc = append(rsrc, append(entry, make([]byte, 8)...)...)
		at = (at + len(r) + 3) &^ 3
	}
	for _, r := range resources {
		rsrc = append(rsrc, append(bytes.Clone(r), make([]byte, (4-len(r)%4)%4)...)...)
	}
	wide := machine == 0x8664 || machine == 0xaa64
	optionalSize, table, magic := 224, 96, uint16(0x10b)
	if wide {
		optionalSize, table, magic = 240, 112, 0x20b
	}
	b := make([]byte, align)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 64)
	copy(b[64:], "PE\x00\x00")
	le.PutUint16(b[68:], machine)
	le.PutUint16(b[70:], 1)
	le.PutUint16(b[84:], uint16(optionalSize))
	opt := b[64+coffHeader:]
	le.PutUint16(opt, magic)
	le.PutUint32(opt[60:], align)
	le.PutUint32(opt[table-4:], 16)
	le.PutUint32(opt[table+8*resourceTable:], address)
	le.PutUint32(opt[table+8*resourceTable+4:], uint32(len(rsrc)))
	sec := opt[optionalSize:]
	copy(sec, ".rsrc")
	le.PutUint32(sec[8:], uint32(len(rsrc)))
	le.PutUint32(sec[12:], address)
	le.PutUint32(sec[16:], uint32(len(rsrc)))
	le.PutUint32(sec[20:], align)
	return append(b, rsrc...)
}

func TestMachines(t *testing.T) {
	resource := block("VS_VERSION_INFO", false, fixed(Quad{10, 0, 19041, 1}, Quad{1, 2, 3, 4}))
	for machine, want := range map[uint16]string{0x8664: "amd64", 0x14c: "386", 0xaa64: "arm64", 0x1c4: "arm", 0x200: "0x0200"} {
		info := read(t, program(machine, []uint32{0}, [][]byte{resource}))
		if info.Machine != want || info.Version == nil || info.Version.FileVersion != (Quad{10, 0, 19041, 1}) || info.Version.ProductVersion != (Quad{1, 2, 3, 4}) {
			t.Errorf("%#x: %+v %+v", machine, info, info.Version)
		}
	}
}

// TestLanguages finds neutral, then US English, then the first.
func TestLanguages(t *testing.T) {
	version := func(n uint16) []byte { return block("VS_VERSION_INFO", false, fixed(Quad{n}, Quad{n})) }
	for _, c := range []struct {
		languages []uint32
		want      uint16
	}{
		{[]uint32{0x407}, 1},
		{[]uint32{0x407, 0x409}, 2},
		{[]uint32{0, 0x409}, 1},
		{[]uint32{0x407, 0x409, 0}, 3},
		{[]uint32{0x407, 0x40c}, 1},
	} {
		var all [][]byte
		for i := range c.languages {
			all = append(all, version(uint16(i+1)))
		}
		if got := read(t, program(0x8664, c.languages, all)).Version.FileVersion; got != (Quad{c.want}) {
			t.Errorf("%#x: %s, want %d", c.languages, got, c.want)
		}
	}
}

// TestSloppy reads what compilers write though they shouldn't.
func TestSloppy(t *testing.T) {
	text := func(key, value string) []byte { return block(key, true, append(wide(value), 0, 0)) }
	bytesLong := text("ProductName", "Acme") // its length counts bytes
	binary.LittleEndian.PutUint16(bytesLong[2:], 10)
	short := text("ProductName", "Acme") // its length is one too small
	binary.LittleEndian.PutUint16(short[2:], 1)
	untyped := text("ProductName", "Acme")
	binary.LittleEndian.PutUint16(untyped[4:], 0)
	noZero := block("ProductName", true, wide("Acme"))
	for name, s := range map[string][]byte{"length in bytes": bytesLong, "length too small": short, "type not text": untyped, "no zero": noZero} {
		resource := block("VS_VERSION_INFO", false, nil,
			block("StringFileInfo", true, nil, block("000004E4", true, nil, s, text("Comments", "after"))))
		v := read(t, program(0x14c, []uint32{0x409}, [][]byte{resource})).Version
		if v.String("ProductName") != "Acme" || v.Fixed || v.FileVersion != (Quad{}) {
			t.Errorf("%s: %+v", name, v)
		}
		if got := v.String("Comments"); got != "after" {
			t.Errorf("%s: the text behind is %q", name, got)
		}
	}
}

func TestDamage(t *testing.T) {
	good := program(0x8664, []uint32{0}, [][]byte{block("VS_VERSION_INFO", false, fixed(Quad{1}, Quad{1}))})
	put := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	const opt = 64 + coffHeader
	for name, change := range map[string]func([]byte) []byte{
		"nothing":                        func([]byte) []byte { return nil },
		"only MZ":                        func(b []byte) []byte { return b[:64] },
		"no program":                     put(0, 0),
		"a DOS program":                  put(64, 0x454e),
		"header outside":                 put(0x3c, 0xfffffff0),
		"97 sections":                    put(70, 97),
		"another form":                   put(opt, 0x107),
		"cut off in the tree":            func(b []byte) []byte { return b[:530] },
		"resources outside":              put(opt+112+16, 0x7fffffff),
		"the tree leads outside":         put(512+16+12, deeper|0x7fffffff),
		"the tree ends early":            put(512+16+12, 56),
		"a circle":                       put(512+56+20, deeper),
		"the resource lies outside":      put(512+80, 0x7fffffff),
		"the resource is another":        put(512+80, 0x1000),
		"the resource has no first word": put(512+84, 3),
	} {
		b := change(bytes.Clone(good))
		if info, err := Read(bytes.NewReader(b), int64(len(b))); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %+v %v", name, info, err)
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"no resources":      put(opt+112+16, 0),
		"no directories":    put(opt+108, 2),
		"no version":        put(512+16+8, 17),
		"an empty language": put(512+56+12, 0),
	} {
		if info := read(t, change(bytes.Clone(good))); info.Version != nil {
			t.Errorf("%s: %+v", name, info.Version)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quad := func(name string) Quad {
			n := rapid.SliceOfN(rapid.Uint16(), 4, 4).Draw(t, name)
			return Quad(n)
		}
		file, product := quad("file"), quad("product")
		texts := rapid.MapOfN(rapid.StringMatching(`[A-Za-z]{1,20}`), rapid.StringMatching(`[ -~äöüß語]{0,40}`), 0, 10).Draw(t, "texts")
		var kids [][]byte
		for k, v := range texts {
			kids = append(kids, block(k, true, append(wide(v), 0, 0)))
		}
		resource := block("VS_VERSION_INFO", false, fixed(file, product),
			block("StringFileInfo", true, nil, block("040904B0", true, nil, kids...)),
			block("VarFileInfo", true, nil, block("Translation", false, []byte{9, 4, 0xb0, 4})))
		data := program(0xaa64, []uint32{0x409}, [][]byte{resource})
		info, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		want := &VersionInfo{
			Fixed: true, FileVersion: file, ProductVersion: product, Translations: []uint32{0x040904b0},
			Tables: map[string]map[string]string{"040904b0": texts},
		}
		if diff := cmp.Diff(want, info.Version); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzRead(f *testing.F) {
	for _, machine := range []string{"amd64", "386"} {
		data, err := os.ReadFile(filepath.Join("testdata", "version-"+machine+".dll"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(program(0xaa64, []uint32{0}, [][]byte{block("VS_VERSION_INFO", false, fixed(Quad{1}, Quad{1}))}))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v", err)
		}
		if info.Version != nil {
			_ = info.Version.String("ProductName")
		}
	})
}
