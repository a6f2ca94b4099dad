package winreg

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Type is the type of a value, with the numbers of winnt.h.
type Type uint32

// The types that values have.
const (
	None        Type = 0
	SZ          Type = 1
	ExpandSZ    Type = 2
	Binary      Type = 3
	DWord       Type = 4
	DWordBig    Type = 5
	Link        Type = 6
	MultiSZ     Type = 7
	QWord       Type = 11
	lastOfTable      = QWord
)

// String is the short name that rules use: sz, expand_sz, multi_sz, dword, qword, binary; other types are "type N".
func (t Type) String() string {
	names := [lastOfTable + 1]string{
		None: "none", SZ: "sz", ExpandSZ: "expand_sz", Binary: "binary", DWord: "dword",
		DWordBig: "dword_big_endian", Link: "link", MultiSZ: "multi_sz", QWord: "qword",
	}
	if t <= lastOfTable && names[t] != "" {
		return names[t]
	}
	return "type " + strconv.FormatUint(uint64(t), 10)
}

// Value is the type and the bytes of a value as the registry holds them. Nothing is believed of the bytes: programs
// write texts without a zero at the end, of odd length, and numbers of any length.
type Value struct {
	Type Type
	Data []byte
}

// Text is the text of sz, expand_sz (with its variables as they stand) and link, up to its first zero; the first text of
// multi_sz; numbers in decimal; other types as lower-case hex.
func (v Value) Text() string {
	switch v.Type {
	case SZ, ExpandSZ, Link:
		s, _, _ := strings.Cut(decode(v.Data), "\x00")
		return s
	case MultiSZ:
		if all := v.Texts(); len(all) > 0 {
			return all[0]
		}
		return ""
	}
	if n, ok := v.Number(); ok {
		return strconv.FormatUint(n, 10)
	}
	return hex.EncodeToString(v.Data)
}

// Texts are the texts of a multi_sz, empty ones within it included: PendingFileRenameOperations has such. For other
// types it is Text alone.
func (v Value) Texts() []string {
	if v.Type != MultiSZ {
		return []string{v.Text()}
	}
	all := strings.Split(decode(v.Data), "\x00")
	for len(all) > 0 && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// Number is the number of dword, dword_big_endian and qword; false for other types and wrong lengths.
func (v Value) Number() (uint64, bool) {
	switch {
	case v.Type == DWord && len(v.Data) == 4:
		return uint64(binary.LittleEndian.Uint32(v.Data)), true
	case v.Type == DWordBig && len(v.Data) == 4:
		return uint64(binary.BigEndian.Uint32(v.Data)), true
	case v.Type == QWord && len(v.Data) == 8:
		return binary.LittleEndian.Uint64(v.Data), true
	}
	return 0, false
}

// decode reads UTF-16, little endian; a lone last byte is left out.
func decode(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		u = append(u, binary.LittleEndian.Uint16(b))
	}
	return string(utf16.Decode(u))
}

// encode writes UTF-16, little endian, without a zero at the end.
func encode(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}
