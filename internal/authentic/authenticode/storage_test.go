package authenticode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"
)

// part is an entry of a compound file that a test writes: a storage if it has parts.
type part struct {
	name  string
	data  []byte
	parts []part
}

// compoundFile writes a compound file with sectors of 1<<shift bytes. Streams are at least 4096 bytes long, so that there
// is no mini stream.
func compoundFile(shift uint, root []part) []byte {
	type entry struct {
		part
		right, child int32
	}
	entries := []entry{{part{name: "Root Entry", parts: root}, -1, -1}}
	for i := 0; i < len(entries); i++ { // siblings hang to the right of each other
		previous := -1
		for _, p := range entries[i].parts {
			n := len(entries)
			if previous < 0 {
				entries[i].child = int32(n)
			} else {
				entries[previous].right = int32(n)
			}
			previous = n
			entries = append(entries, entry{p, -1, -1})
		}
	}
	le, size := binary.LittleEndian, 1<<shift
	const end, free = 0xfffffffe, 0xffffffff
	var fat []uint32
	var body []byte
	add := func(data []byte) uint32 {
		first := uint32(len(fat))
		for ; len(data) > 0; data = data[min(size, len(data)):] {
			sector := make([]byte, size)
			copy(sector, data)
			body = append(body, sector...)
			fat = append(fat, uint32(len(fat)+1))
		}
		fat[len(fat)-1] = end
		return first
	}
	add(make([]byte, size)) // sector 0 is the allocation table
	fat[0] = 0xfffffffd
	var directory []byte
	for i, e := range entries {
		raw := make([]byte, 128)
		for j, u := range utf16.Encode([]rune(e.name)) {
			le.PutUint16(raw[2*j:], u)
		}
		le.PutUint16(raw[64:], uint16(2*len(utf16.Encode([]rune(e.name)))+2))
		raw[66], raw[67] = 2, 1
		le.PutUint32(raw[68:], free)
		le.PutUint32(raw[72:], uint32(e.right))
		le.PutUint32(raw[76:], uint32(e.child))
		le.PutUint64(raw[100:], uint64(i)*1e12)
		le.PutUint64(raw[108:], uint64(i)*2e12)
		switch {
		case i == 0:
			raw[66] = 5
			copy(raw[80:], "a class of files")
			clear(raw[100:116])
			le.PutUint32(raw[116:], end)
		case e.data == nil:
			raw[66] = 1
			copy(raw[80:], fmt.Sprintf("class of parts %d", i))
		default:
			le.PutUint32(raw[116:], add(e.data))
			le.PutUint64(raw[120:], uint64(len(e.data)))
		}
		directory = append(directory, raw...)
	}
	directoryAt := add(directory)
	for i, s := range fat {
		le.PutUint32(body[4*i:], s)
	}
	for i := len(fat); i < size/4; i++ {
		le.PutUint32(body[4*i:], free)
	}
	head := make([]byte, size)
	copy(head, bomb()[:512])
	le.PutUint16(head[26:], map[uint]uint16{9: 3, 12: 4}[shift])
	le.PutUint16(head[30:], uint16(shift))
	le.PutUint32(head[48:], directoryAt)
	if shift == 12 {
		le.PutUint32(head[40:], uint32(len(directory)+size-1)/uint32(size))
	}
	return append(head, body...)
}

// TestStorages signs files with storages in them, as patches (.msp) have, and names that begin alike. Of storages in storages,
// which Windows Installer does not use, osslsigncode 2.9 writes damaged files.
func TestStorages(t *testing.T) {
	l := newLab(t)
	fill := func(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }
	for _, shift := range []uint{9, 12} {
		data := compoundFile(shift, []part{
			{name: "AB", data: fill(5000, 1)},
			{name: "A", data: fill(4096, 2)},
			{name: "Zeta", parts: []part{
				{name: "inner", data: fill(4100, 3)},
				{name: "x", data: fill(9000, 4)},
				{name: "\x05DigitalSignature", data: fill(4200, 5)}, // here it is content
			}},
			{name: "語", data: fill(4999, 6)},
		})
		plain := filepath.Join(l.dir, fmt.Sprintf("storages%d.msi", shift))
		l.must(os.WriteFile(plain, data, 0o600))
		for _, args := range [][]string{nil, {"-h", "sha256", "-add-msi-dse"}} {
			signed := l.sign(plain, l.signer, args...)
			if good, said := l.theirs(signed, now); !good {
				t.Fatalf("osslsigncode refuses its own: %s", said)
			}
			if _, err := l.ours(signed, now, Expect{}); err != nil {
				t.Errorf("sectors of %d, %q: %v", 1<<shift, args, err)
			}
			changed := bytes.Replace(l.load(signed), fill(4200, 5), append(fill(4199, 5), 7), 1)
			l.must(os.WriteFile(signed, changed, 0o600))
			good, _ := l.theirs(signed, now)
			if _, err := l.ours(signed, now, Expect{}); !errors.Is(err, Tampered) || good {
				t.Errorf("a signature's name in a storage: ours %v, osslsigncode accepts: %v", err, good)
			}
		}
	}
}

// TestPE32 signs the form of 32-bit programs.
func TestPE32(t *testing.T) {
	l := newLab(t)
	data := minimalPE(fillText())
	const opt = 0x80 + 24
	binary.LittleEndian.PutUint16(data[0x84:], 0x14c)
	binary.LittleEndian.PutUint16(data[opt:], 0x10b)
	binary.LittleEndian.PutUint32(data[opt+28:], 0x400000) // image base
	binary.LittleEndian.PutUint32(data[opt+92:], 16)
	binary.LittleEndian.PutUint32(data[opt+108:], 0)
	plain := filepath.Join(l.dir, "plain32.exe")
	l.must(os.WriteFile(plain, data, 0o600))
	signed := l.sign(plain, l.signer)
	if good, said := l.theirs(signed, now); !good {
		t.Fatalf("osslsigncode refuses its own: %s", said)
	}
	if _, err := l.ours(signed, now, Expect{}); err != nil {
		t.Error(err)
	}
	if _, err := l.ours(l.tamper(signed), now, Expect{}); !errors.Is(err, Tampered) {
		t.Errorf("tampered: %v", err)
	}
}

func fillText() []byte { return bytes.Repeat([]byte("a payload of several sectors\n"), 150) }
