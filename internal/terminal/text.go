package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Say prints one line for people.
func Say(out io.Writer, format string, args ...any) {
	_, _ = io.WriteString(out, Calm(fmt.Sprintf(format, args...))+"\n") // a terminal that is gone has nobody to be told
}

// Fold prints a line of prose behind a prefix, such as "  note: ". On a terminal
// it is broken between words, and what follows stands below its beginning.
func Fold(out io.Writer, prefix, text string) {
	_, _ = io.WriteString(out, fold(Plain(prefix), Plain(text), Width(out))) // as with Say
}

func fold(prefix, text string, width int) string {
	before := utf8.RuneCountInString(prefix)
	if width-before >= leastLast {
		text = strings.Join(broken(text, width-before, false), "\n"+strings.Repeat(" ", before))
	}
	return prefix + text + "\n"
}

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
