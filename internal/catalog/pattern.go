package catalog

import (
	"regexp"
	"strings"
)

// pattern is a glob(7), a regular expression between slashes, or plain text.
type pattern struct {
	text string
	re   *regexp.Regexp // nil: compare the text
	none bool           // a regular expression that does not compile fits nothing
}

func (p pattern) match(s string) bool {
	switch {
	case p.none:
		return false
	case p.re != nil:
		return p.re.MatchString(s)
	}
	return p.text == s
}

func isRegexp(s string) bool { return len(s) > 1 && s[0] == '/' && s[len(s)-1] == '/' }

// newPattern compiles a pattern. As in apt, regular expressions ignore case
// and need not fit the whole text, globs fit all of it, slashes included.
func newPattern(s string) pattern {
	var expr string
	switch {
	case isRegexp(s):
		expr = "(?i)" + s[1:len(s)-1]
	case strings.ContainsAny(s, `*?[\`):
		expr = globExpr(s)
	default:
		return pattern{text: s}
	}
	re, err := regexp.Compile(expr)
	return pattern{text: s, re: re, none: err != nil}
}

// versionPattern is a pattern in which a star at the end alone means a prefix.
func versionPattern(s string) pattern { return newPattern(strings.TrimSpace(s)) }

// globExpr translates fnmatch(3) without flags into a regular expression.
func globExpr(s string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteByte('.')
		case '\\':
			if i++; i < len(s) {
				b.WriteString(regexp.QuoteMeta(s[i : i+1]))
			}
		case '[':
			class, length := globClass(s[i:])
			b.WriteString(class)
			i += length - 1
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString(`\z`)
	return b.String()
}

// globClass translates a bracket expression at the start of s and says how
// long it is; without a closing bracket the "[" stands for itself.
func globClass(s string) (expr string, length int) {
	from := 1
	if from < len(s) && (s[from] == '!' || s[from] == '^') {
		from++
	}
	end := strings.IndexByte(s[min(from+1, len(s)):], ']')
	if end < 0 {
		return `\[`, 1
	}
	end += from + 1
	inside := strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `&`, `\&`, `~`, `\~`).Replace(s[from:end])
	if from == 2 {
		return "[^" + inside + "]", end + 1
	}
	return "[" + inside + "]", end + 1
}
