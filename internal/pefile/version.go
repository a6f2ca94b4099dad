package pefile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

// VersionInfo is a version resource.
type VersionInfo struct {
	// FileVersion and ProductVersion are the numbers of VS_FIXEDFILEINFO, which installers and applicability rules compare.
	// Fixed says whether the resource has them; else they are zero. The texts of the same names in Strings are for people
	// and often say something else, such as "10.0.19041.1 (WinBuild.160101.0800)".
	Fixed          bool `json:"fixed"`
	FileVersion    Quad `json:"file_version"`
	ProductVersion Quad `json:"product_version"`
	// Flags say Debug, PreRelease, Patched, PrivateBuild and so on, where the file says that they count (dwFileFlags
	// under dwFileFlagsMask).
	Flags uint32 `json:"flags,omitempty"`
	// Translations are the languages (upper half) and code pages (lower half) that the file lists, in its order.
	Translations []uint32 `json:"translations,omitempty"`
	// Tables are the texts: table ("040904b0", lower case) to name ("ProductName") to text. Names are compared exactly;
	// use String.
	Tables map[string]map[string]string `json:"tables,omitempty"`
}

const (
	fixedSignature = 0xFEEF04BD
	fixedSize      = 52
	maxNodes       = 4096
)

// String is a text such as ProductName, "" if there is none. The table is that of the first listed translation, as
// Explorer takes it, then those that Microsoft's documents recommend to try, then any.
func (v *VersionInfo) String(name string) string {
	var order []string
	for _, t := range v.Translations {
		order = append(order, fmt.Sprintf("%08x", t))
	}
	order = append(order, "040904b0", "040904e4", "04090000")
	order = append(order, slices.Sorted(maps.Keys(v.Tables))...)
	for _, table := range order {
		if text, ok := v.Tables[table][name]; ok {
			return text
		}
		for key, text := range v.Tables[table] { // VerQueryValue does not look at case
			if strings.EqualFold(key, name) {
				return text
			}
		}
	}
	return ""
}

// node is one block of VS_VERSIONINFO: length, length of the value, type, key, padding, value, padding, children.
type node struct {
	key   string
	text  bool
	value []byte // what its length says; for text there may be more in rest
	rest  []byte // value and all behind it, to the end of the block
	kids  []byte
}

// parseVersion reads a VS_VERSIONINFO. One whose frame is damaged is fault.Invalid; single texts that are damaged are left
// out, as Windows finds the others too.
func parseVersion(block []byte) (*VersionInfo, error) {
	root, _, ok := parseNode(block)
	if !ok || root.key != "VS_VERSION_INFO" {
		return nil, damaged("its version resource is none")
	}
	v := &VersionInfo{Tables: map[string]map[string]string{}}
	if len(root.value) >= fixedSize && le32(root.value, 0) == fixedSignature {
		v.Fixed = true
		v.FileVersion, v.ProductVersion = quad(root.value[8:]), quad(root.value[16:])
		v.Flags = le32(root.value, 24) & le32(root.value, 28)
	}
	budget := maxNodes
	each(root.kids, &budget, func(info node) {
		switch info.key {
		case "StringFileInfo":
			each(info.kids, &budget, func(table node) {
				texts := map[string]string{}
				each(table.kids, &budget, func(s node) {
					if _, twice := texts[s.key]; !twice {
						texts[s.key] = s.string()
					}
				})
				if _, twice := v.Tables[strings.ToLower(table.key)]; !twice {
					v.Tables[strings.ToLower(table.key)] = texts
				}
			})
		case "VarFileInfo":
			each(info.kids, &budget, func(s node) {
				for b := s.value; s.key == "Translation" && len(b) >= 4; b = b[4:] {
					v.Translations = append(v.Translations, uint32(le16(b, 0))<<16|uint32(le16(b, 2)))
				}
			})
		}
	})
	return v, nil
}

// each goes through blocks that lie behind each other on multiples of four bytes.
func each(blocks []byte, budget *int, do func(node)) {
	for len(blocks) > 0 && *budget > 0 {
		*budget--
		n, length, ok := parseNode(blocks)
		if !ok {
			return
		}
		do(n)
		blocks = blocks[min(align(length), len(blocks)):]
	}
}

// parseNode reads the first block. ok is false if there is none.
func parseNode(b []byte) (n node, length int, ok bool) {
	if len(b) < 6 {
		return node{}, 0, false
	}
	length = int(le16(b, 0))
	if length < 6 {
		return node{}, 0, false
	}
	b = b[:min(length, len(b))]
	n.text = le16(b, 4) == 1
	size := int(le16(b, 2))
	if n.text {
		size *= 2 // counted in characters
	}
	key, end := untilZero(b[6:])
	n.key = key
	at := min(align(6+end), len(b))
	n.rest = b[at:]
	n.value = b[at:min(at+size, len(b))]
	n.kids = b[min(align(at+size), len(b)):]
	return n, length, true
}

// string is a text's value. Compilers disagree on whether its length counts bytes or characters, with or without the zero
// at the end, so the block's end and the zero decide.
func (n node) string() string {
	if len(n.value) == 0 {
		return ""
	}
	s, _ := untilZero(n.rest)
	return s
}

// untilZero reads UTF-16 up to a zero or the end, and tells how many bytes that takes with the zero.
func untilZero(b []byte) (string, int) {
	var u []uint16
	for at := 0; at+2 <= len(b); at += 2 {
		c := le16(b, at)
		if c == 0 {
			return string(utf16.Decode(u)), at + 2
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u)), len(b)
}

// quad reads two numbers of 32 bits that hold four of 16.
func quad(b []byte) Quad {
	high, low := le32(b, 0), le32(b, 4)
	return Quad{uint16(high >> 16), uint16(high), uint16(low >> 16), uint16(low)}
}

// align is the next multiple of four. Blocks are aligned within the resource, which itself is.
func align(n int) int { return (n + 3) &^ 3 }
