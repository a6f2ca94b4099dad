package wmi

import "strings"

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenText
	tokenNumber
	tokenSign
)

type token struct {
	kind tokenKind
	text string
}

// tokenize cuts a query into words; false when there is what no query holds.
func tokenize(s string) (out []token, ok bool) {
	for len(s) > 0 {
		c := s[0]
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			s = s[1:]
			continue
		case c == '\'' || c == '"':
			text, rest, closed := constant(s)
			if !closed {
				return nil, false
			}
			out, s = append(out, token{tokenText, text}), rest
			continue
		}
		kind, n := tokenSign, 1
		switch {
		case nameByte(c) && (c < '0' || c > '9'):
			kind, n = tokenName, run(s, nameByte)
		case c >= '0' && c <= '9' || c == '-':
			kind, n = tokenNumber, 1+run(s[1:], numberByte)
		case strings.HasPrefix(s, "<=") || strings.HasPrefix(s, ">=") || strings.HasPrefix(s, "<>") || strings.HasPrefix(s, "!="):
			n = 2
		case strings.IndexByte("=<>(),*", c) < 0:
			return nil, false
		}
		out, s = append(out, token{kind, s[:n]}), s[n:]
	}
	return out, true
}

func nameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func numberByte(c byte) bool { return c >= '0' && c <= '9' || c == '.' }

func run(s string, is func(byte) bool) int {
	n := 0
	for n < len(s) && is(s[n]) {
		n++
	}
	return n
}

// constant reads a text in quotes, where a backslash takes the next byte as it is.
func constant(s string) (text, rest string, closed bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
