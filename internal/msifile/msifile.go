// Package msifile reads what a Windows Installer package says of itself: the
// rows of its Property table, such as ProductCode and UpgradeCode.
//
// A package is a compound file; each table is a stream whose name is packed two
// letters to a character. Strings stand once in a pool, tables hold their
// numbers, column by column. The form is not documented by Microsoft; this
// follows libmsi of msitools and Wine's msi.dll, against which it is tested.
package msifile

import (
	"encoding/binary"
	"io"
	"unicode/utf8"

	"github.com/fettlehq/fettle/internal/cfb"
	"github.com/fettlehq/fettle/internal/fault"
)

// Limits of what is read into memory, in bytes. Large packages have pools of a
// few MB; their files stand in other streams.
const (
	maxPool = 16 << 20
	maxData = 64 << 20
)

// Properties returns the Property table of a package of size bytes. What is no
// package, or is damaged, is fault.Invalid; what can't be read is
// fault.Unavailable.
func Properties(r io.ReaderAt, size int64) (map[string]string, error) {
	f, err := cfb.Open(r, size)
	if err != nil {
		return nil, err
	}
	read := func(table string, most int64) ([]byte, error) {
		e := f.Root().Child(streamName(table))
		if e == nil || e.Kind != cfb.Stream {
			return nil, damaged("it has no table " + table)
		}
		data, err := f.Read(e, most)
		if fault.Is(err, fault.Exhausted) {
			return nil, damaged("its table " + table + " is too large")
		}
		return data, err
	}
	pool, err := read("_StringPool", maxPool)
	if err != nil {
		return nil, err
	}
	data, err := read("_StringData", maxData)
	if err != nil {
		return nil, err
	}
	rows, err := read("Property", maxPool)
	if err != nil {
		return nil, err
	}
	strings, width, err := parsePool(pool, data)
	if err != nil {
		return nil, err
	}
	return pairs(rows, width, strings)
}

// streamName packs a table's name: a mark, then two characters of 6 bits to a
// character from U+3800 on, a last single one from U+4800 on.
func streamName(table string) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
	code := func(c byte) rune {
		for i := range len(alphabet) {
			if alphabet[i] == c {
				return rune(i)
			}
		}
		return 0
	}
	out := []rune{0x4840}
	for i := 0; i < len(table); i += 2 {
		if i+1 == len(table) {
			out = append(out, 0x4800+code(table[i]))
			break
		}
		out = append(out, 0x3800+code(table[i])+code(table[i+1])<<6)
	}
	return string(out)
}

// parsePool cuts the data into strings, numbered from 1, and tells how many
// bytes their numbers have in tables. An entry has length and count of uses; a
// length of 0 with uses says that the next entry is the length, in 32 bits.
func parsePool(pool, data []byte) (strings []string, width int, err error) {
	if len(pool) < 4 || len(pool)%4 != 0 {
		return nil, 0, damaged("its string pool is cut off")
	}
	width = 2
	if binary.LittleEndian.Uint16(pool[2:])&0x8000 != 0 {
		width = 3
	}
	strings = []string{""}
	for at := 4; at < len(pool); at += 4 {
		n, uses := int64(binary.LittleEndian.Uint16(pool[at:])), binary.LittleEndian.Uint16(pool[at+2:])
		if n == 0 && uses != 0 {
			if at += 4; at >= len(pool) {
				return nil, 0, damaged("its string pool is cut off")
			}
			n = int64(binary.LittleEndian.Uint32(pool[at:]))
		}
		if n > int64(len(data)) {
			return nil, 0, damaged("its strings are cut off")
		}
		strings = append(strings, text(data[:n]))
		data = data[n:]
	}
	return strings, width, nil
}

// text decodes a string. Packages of code page 1252 are as good as Latin 1 for
// what is asked of them; codes and versions are ASCII.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// pairs reads a table of two columns of strings.
func pairs(rows []byte, width int, strings []string) (map[string]string, error) {
	if len(rows)%(2*width) != 0 {
		return nil, damaged("its table Property is cut off")
	}
	n := len(rows) / (2 * width)
	at := func(i int) (string, bool) {
		b := rows[i*width:]
		k := int(b[0]) | int(b[1])<<8
		if width == 3 {
			k |= int(b[2]) << 16
		}
		if k >= len(strings) {
			return "", false
		}
		return strings[k], true
	}
	out := make(map[string]string, n)
	for i := range n {
		key, ok := at(i)
		value, ok2 := at(n + i)
		if !ok || !ok2 {
			return nil, damaged("its table Property points nowhere")
		}
		out[key] = value
	}
	return out, nil
}

func damaged(why string) error {
	return fault.New(fault.Invalid, "msifile: this is no Windows Installer package, or it is damaged: %s", why)
}
