package wmi

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
)

// Question is a query in WMI's language that can be answered here, from rows that were fetched once: hardware makers ask
// for the same few objects in thousands of ways, and WMI takes a tenth of a second and more for each.
type Question struct {
	// Class is the class that is asked for, as the query writes it.
	Class string
	where condition
	names []string
}

// condition is a WHERE clause over the properties of one object, nil for none.
type condition func(property func(string) any) bool

// Bounds of a query that is answered here.
const (
	maxTerms   = 2000
	maxNesting = 30
)

// ParseQuestion reads SELECT ... FROM class [WHERE ...] with comparisons (=, <>, !=, <, <=, >, >=, LIKE, IS [NOT] NULL) of a
// property with a constant, joined by AND, OR, NOT and brackets ("WQL (SQL for WMI)" in Microsoft's documents). Anything
// else is fault.Unsupported and must be asked of WMI itself.
func ParseQuestion(wql string) (Question, error) {
	tokens, ok := tokenize(wql)
	p := &wqlParser{tokens: tokens}
	if !ok || !p.word("select") {
		return Question{}, cannot()
	}
	for !p.word("from") {
		if t := p.next(); t.kind != tokenName && t.text != "*" && t.text != "," {
			return Question{}, cannot()
		}
	}
	class := p.next()
	if class.kind != tokenName {
		return Question{}, cannot()
	}
	q := Question{Class: class.text}
	if p.word("where") {
		q.where = p.or(0)
	}
	if p.failed || p.peek().kind != tokenEnd {
		return Question{}, cannot()
	}
	slices.Sort(p.names)
	q.names = slices.Compact(p.names)
	return q, nil
}

func cannot() error {
	return fault.New(fault.Unsupported, "wmi: the query is none that can be answered from rows")
}

// Properties are the names of the properties that the condition looks at, in lower case and sorted.
func (q Question) Properties() []string { return q.names }

// Matches reports whether the condition holds for an object. property gives a property by its name in lower case: a
// string, an int64, a float64, a bool, or nil when it has no value, which no comparison holds for.
func (q Question) Matches(property func(name string) any) bool {
	return q.where == nil || q.where(property)
}

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

type wqlParser struct {
	tokens []token
	names  []string
	terms  int
	failed bool
}

func (p *wqlParser) peek() token {
	if len(p.tokens) == 0 {
		return token{}
	}
	return p.tokens[0]
}

func (p *wqlParser) next() token {
	t := p.peek()
	if t.kind != tokenEnd {
		p.tokens = p.tokens[1:]
	}
	return t
}

// word takes a keyword if it comes next.
func (p *wqlParser) word(w string) bool {
	t := p.peek()
	if t.kind != tokenName || !strings.EqualFold(t.text, w) {
		return false
	}
	p.next()
	return true
}

func (p *wqlParser) fail() condition {
	p.failed, p.tokens = true, nil
	return nil
}

func (p *wqlParser) or(depth int) condition {
	terms := []condition{p.and(depth)}
	for p.word("or") {
		terms = append(terms, p.and(depth))
	}
	if p.failed || len(terms) == 1 {
		return terms[0]
	}
	return func(property func(string) any) bool {
		return slices.ContainsFunc(terms, func(c condition) bool { return c(property) })
	}
}

func (p *wqlParser) and(depth int) condition {
	terms := []condition{p.term(depth)}
	for p.word("and") {
		terms = append(terms, p.term(depth))
	}
	if p.failed || len(terms) == 1 {
		return terms[0]
	}
	return func(property func(string) any) bool {
		return !slices.ContainsFunc(terms, func(c condition) bool { return !c(property) })
	}
}

func (p *wqlParser) term(depth int) condition {
	if p.terms++; depth > maxNesting || p.terms > maxTerms || p.failed {
		return p.fail()
	}
	switch {
	case p.word("not"):
		inner := p.term(depth + 1)
		if p.failed {
			return nil
		}
		return func(property func(string) any) bool { return !inner(property) }
	case p.peek().text == "(" && p.peek().kind == tokenSign:
		p.next()
		inner := p.or(depth + 1)
		if t := p.next(); t.kind != tokenSign || t.text != ")" {
			return p.fail()
		}
		return inner
	}
	return p.comparison()
}

func (p *wqlParser) comparison() condition {
	name := p.next()
	if name.kind != tokenName {
		return p.fail()
	}
	key := strings.ToLower(name.text)
	p.names = append(p.names, key)
	if p.word("is") {
		not := p.word("not")
		if !p.word("null") {
			return p.fail()
		}
		return func(property func(string) any) bool { return (property(key) == nil) != not }
	}
	like := p.word("like")
	op := "like"
	if !like {
		if t := p.next(); t.kind == tokenSign && slices.Contains([]string{"=", "<>", "!=", "<", "<=", ">", ">="}, t.text) {
			op = t.text
		} else {
			return p.fail()
		}
	}
	want, ok := literal(p.next())
	text, isText := want.(string)
	switch {
	case !ok, like && !isText:
		return p.fail()
	case like:
		return func(property func(string) any) bool {
			found := property(key)
			return found != nil && matches(strings.ToLower(textOf(found)), strings.ToLower(text))
		}
	}
	return func(property func(string) any) bool {
		order, can := compare(property(key), want)
		return can && holds(op, order)
	}
}

// literal is the value of a constant.
func literal(t token) (any, bool) {
	switch {
	case t.kind == tokenText:
		return t.text, true
	case t.kind == tokenNumber:
		f, err := strconv.ParseFloat(t.text, 64)
		return f, err == nil
	case t.kind == tokenName && strings.EqualFold(t.text, "true"):
		return true, true
	case t.kind == tokenName && strings.EqualFold(t.text, "false"):
		return false, true
	}
	return nil, false
}

// compare orders a property and a constant, as texts without regard to case, or as numbers when either is one: WMI gives
// numbers of 64 bits as texts.
func compare(found, want any) (int, bool) {
	a, isText := found.(string)
	b, wantsText := want.(string)
	switch {
	case found == nil:
		return 0, false
	case isText && wantsText:
		return strings.Compare(strings.ToLower(a), strings.ToLower(b)), true
	}
	x, okX := number(found)
	y, okY := number(want)
	return cmp.Compare(x, y), okX && okY
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case string:
		switch strings.ToLower(v) {
		case "true":
			return 1, true
		case "false":
			return 0, true
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return f, err == nil
	}
	return 0, false
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func holds(op string, order int) bool {
	switch op {
	case "=":
		return order == 0
	case "<>", "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

// matches is LIKE: % stands for any letters, _ for one, [abc], [a-z] and [^abc] for one of a set. It goes back to the last
// % alone, so that its time is bounded by the product of both lengths.
func matches(s, pattern string) bool {
	text, like := []rune(s), elements(pattern)
	i, j, star, from := 0, 0, -1, 0
	for i < len(text) {
		switch {
		case j < len(like) && like[j].any:
			star, from = j, i
			j++
		case j < len(like) && like[j].takes(text[i]):
			i++
			j++
		case star >= 0:
			from++
			i, j = from, star+1
		default:
			return false
		}
	}
	for j < len(like) && like[j].any {
		j++
	}
	return j == len(like)
}

// element is one part of a pattern.
type element struct {
	any, one, not bool
	set           [][2]rune
}

func (e element) takes(r rune) bool {
	if e.any || e.one {
		return e.one
	}
	in := slices.ContainsFunc(e.set, func(span [2]rune) bool { return span[0] <= r && r <= span[1] })
	return in != e.not
}

func elements(pattern string) (out []element) {
	p := []rune(pattern)
	for i := 0; i < len(p); i++ {
		end := slices.Index(p[i:], ']')
		switch {
		case p[i] == '%':
			out = append(out, element{any: true})
		case p[i] == '_':
			out = append(out, element{one: true})
		case p[i] == '[' && end > 1:
			out = append(out, set(p[i+1:i+end]))
			i += end
		default:
			out = append(out, element{set: [][2]rune{{p[i], p[i]}}})
		}
	}
	return out
}

func set(p []rune) (e element) {
	if p[0] == '^' && len(p) > 1 {
		e.not, p = true, p[1:]
	}
	for i := 0; i < len(p); i++ {
		if i+2 < len(p) && (p[i+1] == '-' || p[i+1] == '=') {
			e.set = append(e.set, [2]rune{p[i], p[i+2]})
			i += 2
			continue
		}
		e.set = append(e.set, [2]rune{p[i], p[i]})
	}
	return e
}
