package winreg

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// Parse reads the text that regedit and `reg export` write ("Windows Registry Editor Version 5.00"), in UTF-16 with its
// mark or in UTF-8, over what the registry holds: keys and values that the text takes away ([-KEY], "name"=-) go. A
// text that is not of this form is fault.Invalid.
func (m *Memory) Parse(data []byte) error {
	p := &parser{into: m}
	lines := strings.Split(strings.ReplaceAll(textOf(data), "\r\n", "\n"), "\n")
	if strings.TrimSpace(lines[0]) != "Windows Registry Editor Version 5.00" {
		return fault.New(fault.Invalid, "winreg: not a text that regedit writes")
	}
	for i := 1; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		at := i + 1
		for strings.HasSuffix(line, `\`) && !strings.HasPrefix(line, "[") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + strings.TrimSpace(lines[i])
		}
		if err := p.line(line); err != nil {
			return fault.Wrap(err, fault.Invalid, "winreg: line %d of the text", at)
		}
	}
	return nil
}

// textOf decodes UTF-16 that begins with its mark, else takes UTF-8.
func textOf(data []byte) string {
	if text, wide := bytes.CutPrefix(data, []byte{0xff, 0xfe}); wide {
		return decode(text)
	}
	return strings.TrimPrefix(string(data), "\ufeff")
}

type parser struct {
	into *Memory
	key  string // of the lines that follow; "" while its values are to be passed over
}

func (p *parser) line(line string) error {
	switch {
	case line == "", strings.HasPrefix(line, ";"):
		return nil
	case strings.HasPrefix(line, "[-") && strings.HasSuffix(line, "]"):
		p.key = ""
		return p.into.remove(line[2 : len(line)-1])
	case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
		p.key = line[1 : len(line)-1]
		_, err := p.into.make(p.key)
		return err
	case p.key == "":
		return fault.New(fault.Invalid, "winreg: a value stands below no key")
	}
	name, rest, err := valueName(line)
	if err != nil {
		return err
	}
	if rest == "-" {
		return p.into.unset(p.key, name)
	}
	v, err := valueData(rest)
	if err != nil {
		return err
	}
	return p.into.Set(p.key, name, v)
}

// valueName takes the name and the equals sign off a line.
func valueName(line string) (name, rest string, err error) {
	if rest, unnamed := strings.CutPrefix(line, "@="); unnamed {
		return "", rest, nil
	}
	name, rest, ok := quoted(line)
	if !ok || !strings.HasPrefix(rest, "=") {
		return "", "", fault.New(fault.Invalid, "winreg: the line %q names no value", clip(line))
	}
	return name, rest[1:], nil
}

// quoted reads a text in quotes, where a backslash escapes a quote or a backslash.
func quoted(s string) (text, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func valueData(s string) (Value, error) {
	if strings.HasPrefix(s, `"`) {
		text, rest, ok := quoted(s)
		if !ok || rest != "" {
			return Value{}, fault.New(fault.Invalid, "winreg: the text %s does not end", clip(s))
		}
		return TextValue(SZ, text), nil
	}
	if digits, ok := strings.CutPrefix(s, "dword:"); ok {
		n, err := strconv.ParseUint(digits, 16, 32)
		if err != nil {
			return Value{}, fault.New(fault.Invalid, "winreg: %q is no number of 32 bits", clip(digits))
		}
		return Value{DWord, binary.LittleEndian.AppendUint32(nil, uint32(n))}, nil
	}
	kind, digits, ok := strings.Cut(s, ":")
	typ, known := hexType(kind)
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.ReplaceAll(digits, ",", ""), " ", ""))
	if !ok || !known || err != nil {
		return Value{}, fault.New(fault.Invalid, "winreg: the data %q is of no known form", clip(s))
	}
	return Value{typ, raw}, nil
}

// hexType reads "hex" (binary) and "hex(2)", whose number is the type in hex.
func hexType(s string) (Type, bool) {
	if s == "hex" {
		return Binary, true
	}
	digits, ok := strings.CutPrefix(s, "hex(")
	digits, end := strings.CutSuffix(digits, ")")
	n, err := strconv.ParseUint(digits, 16, 32)
	return Type(n), ok && end && err == nil
}

// TextValue is a value of a type that holds text, with the zero at its end; a multi_sz takes several and has one more.
func TextValue(t Type, texts ...string) Value {
	var b []byte
	for _, s := range texts {
		b = append(b, encode(s)...)
		b = append(b, 0, 0)
	}
	if t == MultiSZ {
		b = append(b, 0, 0)
	}
	return Value{t, b}
}

// NumberValue is a dword.
func NumberValue(n uint32) Value { return Value{DWord, binary.LittleEndian.AppendUint32(nil, n)} }
