package aptget

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// ParseList reads a *.list file, sources.list(5) "ONE-LINE-STYLE FORMAT":
//
//	deb [ arch=amd64 signed-by=/usr/share/keyrings/x.gpg ] http://archive.example/debian bookworm main contrib
//
// The file name is used for Entry and in errors.
func ParseList(file string, data []byte) ([]Source, error) {
	var out []Source
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, 1<<20)
	n := 0
	for sc.Scan() {
		n++
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := oneLine(line)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "aptget: %s line %d", file, n)
		}
		s.Entry = file + ":" + strconv.Itoa(n)
		out = append(out, s)
	}
	if err := sc.Err(); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "aptget: %s line %d is too long", file, n+1)
	}
	return out, nil
}

func oneLine(line string) (Source, error) {
	var s Source
	var err error
	s.Type, line = cutBlank(line)
	if s.Type != "deb" && s.Type != "deb-src" {
		return s, fault.New(fault.Invalid, "type %q is not known", s.Type)
	}
	if strings.HasPrefix(line, "[") {
		options, rest, ok := strings.Cut(line[1:], "]")
		if !ok {
			return s, fault.New(fault.Invalid, "[ without ]")
		}
		if err := s.options(options); err != nil {
			return s, err
		}
		line = strings.TrimLeft(rest, " \t")
	}
	var words []string
	for line != "" && line[0] != '#' {
		var w string
		if w, line, err = cutWord(line); err != nil {
			return s, err
		}
		words = append(words, w)
	}
	if len(words) < 2 {
		return s, fault.New(fault.Invalid, "URI or suite is missing")
	}
	s.URI, s.Suite, s.Components = words[0], words[1], words[2:]
	return s, s.check()
}

// options reads what stands between the brackets. Options that change nothing of Source are accepted and left to apt;
// "arch+=" and "arch-=" change dpkg's list, which Source does not know, so they leave it empty.
func (s *Source) options(text string) error {
	for o := range strings.FieldsSeq(text) {
		key, value, ok := strings.Cut(o, "=")
		if !ok {
			return fault.New(fault.Invalid, "option %q has no value", o)
		}
		switch strings.ToLower(key) {
		case "arch", "architectures":
			s.Architectures = strings.FieldsFunc(value, func(c rune) bool { return c == ',' })
		case "trusted":
			s.Trusted = yesNo(value)
		case "signed-by":
			by, err := signedBy([]byte(value))
			if err != nil {
				return err
			}
			s.SignedBy = by
		}
	}
	return nil
}

func cutBlank(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// cutWord is apt's ParseQuoteWord: quotes and brackets hold blanks together, as in cdrom:[Debian 12]/, quotes are
// dropped, and %20 is a blank.
func cutWord(s string) (word, rest string, err error) {
	var b strings.Builder
	i := 0
	for i < len(s) && s[i] != ' ' && s[i] != '\t' {
		closing := byte(0)
		switch s[i] {
		case '"':
			closing = '"'
		case '[':
			closing = ']'
		}
		if closing == 0 {
			i += unescape(&b, s[i:])
			continue
		}
		end := strings.IndexByte(s[i+1:], closing)
		if end < 0 {
			return "", "", fault.New(fault.Invalid, "%c without %c", s[i], closing)
		}
		part := s[i+1 : i+1+end]
		if closing == ']' {
			part = s[i : i+2+end]
		}
		for part != "" {
			part = part[unescape(&b, part):]
		}
		i += end + 2
	}
	return b.String(), strings.TrimLeft(s[i:], " \t"), nil
}

// unescape writes the first character of s, decoded when it is %xx, and returns how many bytes it took.
func unescape(b *strings.Builder, s string) int {
	if s[0] == '%' && len(s) >= 3 {
		if n, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
			b.WriteByte(byte(n))
			return 3
		}
	}
	b.WriteByte(s[0])
	return 1
}
