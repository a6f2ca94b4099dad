package cli

import (
	"strings"
	"unicode"
)

// calm takes out of a text for people what steers a terminal or turns the
// direction of writing round: a server's words, and the names that users of the
// machine give their programs, are shown to its administrator.
func calm(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text)
}
