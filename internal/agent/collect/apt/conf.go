package apt

import (
	"bytes"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
)

const releaseKey = "apt::default-release"

// defaultRelease reads APT::Default-Release from apt.conf.d and apt.conf; the
// last one wins (apt.conf(5)). Files that do not mention it are not parsed.
func defaultRelease(t *collect.Tree) (string, error) {
	names, err := parts(t, "etc/apt/apt.conf.d", "conf")
	if err != nil {
		return "", err
	}
	found := ""
	for _, name := range append(names, "etc/apt/apt.conf") {
		data, err := read(t, name)
		if err != nil {
			return found, err
		}
		lower := bytes.ToLower(data)
		if !bytes.Contains(lower, []byte("default-release")) && !bytes.Contains(lower, []byte("#clear")) {
			continue
		}
		v, err := confValue(string(data), releaseKey, found)
		if err != nil {
			return found, fault.Wrap(err, fault.Invalid, "collect/apt: /%s is damaged", name)
		}
		found = v
	}
	return found, nil
}

const maxDepth = 64

// confValue returns the value that a key (lower case, parts joined by "::") has
// after a file, given the one before it, in apt.conf(5) syntax: scopes in braces or by "::", values in quotes or bare,
// #clear. Includes and list items do not matter for a single value.
func confValue(text, key, value string) (string, error) {
	s := confScanner{text: text}
	var scopes []string
	for {
		words, end, err := s.statement()
		if err != nil {
			return value, err
		}
		name := ""
		if len(words) > 0 {
			name = strings.ToLower(strings.Join(append(slices.Clip(scopes), words[0]), "::"))
		}
		switch {
		case len(words) > 1 && strings.EqualFold(words[0], "#clear"):
			if strings.EqualFold(words[1], key) || strings.HasPrefix(key, strings.ToLower(words[1])+"::") {
				value = ""
			}
		case len(words) > 1 && name == key:
			value = words[1]
		}
		switch end {
		case '{':
			if len(scopes) == maxDepth || len(words) == 0 {
				return value, fault.New(fault.Invalid, "a scope has no name, or scopes are nested too deeply")
			}
			scopes = append(scopes, words[0])
		case '}':
			if len(scopes) == 0 {
				return value, fault.New(fault.Invalid, "a scope is closed that was not opened")
			}
			scopes = scopes[:len(scopes)-1]
		case 0:
			return value, nil
		}
	}
}

// confScanner cuts text into statements.
type confScanner struct {
	text string
	pos  int
}

// statement returns the words up to the next ';', '{' or '}', which is end; at
// the end of the text end is 0.
func (s *confScanner) statement() (words []string, end byte, err error) {
	for {
		s.skip()
		if s.pos >= len(s.text) {
			return words, 0, nil
		}
		switch c := s.text[s.pos]; c {
		case ';', '{', '}':
			s.pos++
			return words, c, nil
		case '"':
			closing := strings.IndexByte(s.text[s.pos+1:], '"')
			if closing < 0 {
				return words, 0, fault.New(fault.Invalid, "a quote is not closed")
			}
			words = append(words, s.text[s.pos+1:s.pos+1+closing])
			s.pos += closing + 2
		default:
			words = append(words, s.word())
		}
	}
}

func (s *confScanner) word() string {
	from := s.pos
	for s.pos < len(s.text) && !strings.ContainsRune(" \t\r\n;{}\"", rune(s.text[s.pos])) {
		s.pos++
	}
	return s.text[from:s.pos]
}

// skip passes blanks and comments: //, /* */ and # (but not #clear, #include).
func (s *confScanner) skip() {
	for s.pos < len(s.text) {
		rest := s.text[s.pos:]
		switch {
		case strings.ContainsRune(" \t\r\n", rune(rest[0])):
			s.pos++
		case strings.HasPrefix(rest, "//"), rest[0] == '#' && !directive(rest):
			s.jump(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			s.jump(rest, "*/")
		default:
			return
		}
	}
}

func (s *confScanner) jump(rest, to string) {
	if i := strings.Index(rest, to); i >= 0 {
		s.pos += i + len(to)
		return
	}
	s.pos = len(s.text)
}

func directive(rest string) bool {
	lower := strings.ToLower(rest[:min(len(rest), len("#include "))])
	return strings.HasPrefix(lower, "#clear") || strings.HasPrefix(lower, "#include")
}
