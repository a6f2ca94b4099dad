package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain takes control characters out of a text, and those that turn the
// direction of writing round: what machines report must not steer a terminal,
// nor show one name as another.
func Plain(text string) string { return strings.Map(steady, text) }

// Calm is Plain, but that lines stay lines and tabulators stay.
func Calm(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return steady(r)
	}, text)
}

func steady(r rune) rune {
	if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
		return ' '
	}
	return r
}

// Cut shortens a text to n characters, the last of which is then an ellipsis.
func Cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}
