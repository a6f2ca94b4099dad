package wmi

import (
	"slices"
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
