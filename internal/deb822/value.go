package deb822

import (
	"bytes"
	"iter"
	"strings"
)

func blank(line []byte) bool {
	for _, c := range line {
		if c != '\r' {
			return false
		}
	}
	return true
}

// validName applies deb822(5): printable ASCII without blank and colon, not starting with '#' or '-'.
func validName(name []byte) bool {
	if name[0] == '#' || name[0] == '-' {
		return false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if b[i] != s[i] && lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func equalFoldBytes(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// Lines yields the lines of a value, each without the blanks around it; the " ." that stands for an empty line in a
// description yields an empty line. The first line is yielded also when it is empty, as it is in most lists.
func Lines(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := 0; ; i++ {
			line, rest, more := bytes.Cut(value, []byte{'\n'})
			line = bytes.Trim(line, " \t\r")
			if i > 0 && len(line) == 1 && line[0] == '.' {
				line = line[:0]
			}
			if !yield(line) || !more {
				return
			}
			value = rest
		}
	}
}

// Words splits a value at blanks and line breaks into new strings.
func Words(value []byte) []string { return strings.Fields(string(value)) }
