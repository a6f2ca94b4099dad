// Package winargs reads command lines as programs of Windows read their own.
package winargs

import "strings"

// Split takes a command line apart as Windows does for programs
// (CommandLineToArgvW, learn.microsoft.com/windows/win32/api/shellapi): the
// program is up to its closing quote or the first blank; in the rest, quotes
// group, 2n backslashes before a quote are n, and one more makes the quote
// part of the word. An empty line has no words.
func Split(line string) []string {
	line = strings.TrimLeft(line, " \t")
	if line == "" {
		return nil
	}
	end := strings.IndexAny(line+" ", " \t")
	program, rest := line[:end], line[end:]
	if strings.HasPrefix(line, `"`) {
		program, rest, _ = strings.Cut(line[1:], `"`)
	}
	return append([]string{program}, SplitArguments(rest)...)
}

// SplitArguments takes apart what follows the program in a command line, by the
// same rules. Blanks alone are no arguments.
func SplitArguments(rest string) []string {
	var argv []string
	for {
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			return argv
		}
		var word string
		word, rest = nextArgument(rest)
		argv = append(argv, word)
	}
}

// nextArgument reads one argument; line does not begin with a blank.
func nextArgument(line string) (word, rest string) {
	var b strings.Builder
	quoted, slashes := false, 0
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '\\' {
			slashes++
			continue
		}
		if c == '"' {
			b.WriteString(strings.Repeat(`\`, slashes/2))
			literal := slashes%2 == 1
			slashes = 0
			switch {
			case literal:
				b.WriteByte('"')
			case quoted && i+1 < len(line) && line[i+1] == '"': // "" ends the group and is a quote
				b.WriteByte('"')
				quoted = false
				i++
			default:
				quoted = !quoted
			}
			continue
		}
		b.WriteString(strings.Repeat(`\`, slashes))
		slashes = 0
		if !quoted && (c == ' ' || c == '\t') {
			return b.String(), line[i:]
		}
		b.WriteByte(c)
	}
	b.WriteString(strings.Repeat(`\`, slashes))
	return b.String(), ""
}
