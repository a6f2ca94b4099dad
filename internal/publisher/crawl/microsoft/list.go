package microsoft

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
)

// List is what the supersedence list says beyond the documents: the comma-
// separated definitions of the wesng project (columns DatePosted, CVE,
// BulletinKB, Title, AffectedProduct, AffectedComponent, Severity, Impact,
// Supersedes, Exploits), which reach back to 2001. Its JSON form is what Fetch
// keeps.
type List struct {
	// Edges lead from a KB to those that it replaces, by platform and KB.
	Edges map[string]map[string][]string `json:"edges,omitempty"`
	Packs []Pack                         `json:"packs,omitempty"`
	// Lines are the lines that are not blank, without the header; Records
	// the records in them: some titles run over several lines.
	Lines   int `json:"lines"`
	Records int `json:"records"`
	// NoKB and TextKB are records whose KB is empty or a text, Superseding
	// those that replace something, Foreign those of other products.
	NoKB        int `json:"no_kb"`
	TextKB      int `json:"text_kb"`
	Superseding int `json:"superseding"`
	Foreign     int `json:"foreign"`
	// Broken are records without all their columns.
	Broken int `json:"broken,omitempty"`
}

// Pack is a service pack, or an upgrade to the next release.
type Pack struct {
	Name       string   `json:"name"`    // KB number, or the list's own word
	Product    string   `json:"product"` // what it is installed on
	Title      string   `json:"title"`   // what that becomes
	Date       string   `json:"date"`    // YYYYMMDD
	Supersedes []string `json:"supersedes,omitempty"`
}

// maxRecord bounds one record of the list in bytes.
const maxRecord = 1 << 20

// packImpact marks the service packs in the list.
const packImpact = "No more updates"

// ParseList reads the list as a stream and folds it into l: memory holds the
// distinct edges alone. Lines that begin with # are comments. It refuses
// (Invalid) a file without the columns' names.
func (l *List) ParseList(r io.Reader) error {
	p := listParser{list: l, products: map[string]Product{}, seen: map[string]map[string]map[string]bool{}}
	if l.Edges == nil {
		l.Edges = map[string]map[string][]string{}
	}
	in := bufio.NewReaderSize(r, 1<<16)
	header := false
	for {
		line, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return fault.Wrap(err, fault.CodeOf(err), "microsoft: the supersedence list can't be read")
		}
		text := strings.TrimRight(strings.TrimPrefix(line, "\ufeff"), "\r\n")
		switch {
		case text == "":
		case strings.HasPrefix(text, "#") && !p.open():
		case !header:
			if !strings.Contains(text, "BulletinKB") || !strings.Contains(text, "Supersedes") {
				return fault.New(fault.Invalid, "microsoft: it is no supersedence list: the columns BulletinKB and Supersedes are not named")
			}
			header = true
		default:
			l.Lines++
			if err := p.line(text); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if !header {
		return fault.New(fault.Invalid, "microsoft: the supersedence list is empty")
	}
	p.end()
	return nil
}

// readLine reads a line of at most maxRecord bytes.
func readLine(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := in.ReadSlice('\n')
		b.Write(part)
		if b.Len() > maxRecord {
			return "", fault.New(fault.Invalid, "microsoft: a line of the supersedence list is longer than %d bytes", maxRecord)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return b.String(), err
		}
	}
}

type listParser struct {
	list     *List
	record   string
	products map[string]Product
	seen     map[string]map[string]map[string]bool
}

// line goes on with the record at hand, or begins a new one: records begin
// with a quoted date, and titles have quotes of their own that are not doubled,
// so that no ordinary CSV reader finds the ends.
func (p *listParser) line(text string) error {
	if beginsRecord(text) {
		p.flush()
		p.record = text
		return nil
	}
	if len(p.record)+len(text) > maxRecord {
		return fault.New(fault.Invalid, "microsoft: a record of the supersedence list is longer than %d bytes", maxRecord)
	}
	if p.record != "" {
		p.record += "\n" + text
	}
	return nil
}

// open reports whether the record at hand is cut in the middle of its title,
// so that a line with # in front goes on with it.
func (p *listParser) open() bool {
	if p.record == "" {
		return false
	}
	rest := p.record
	ok := true
	for _, cut := range []func(string) (string, string, bool){
		cutLeft, cutLeft, cutLeft, cutRight, cutRight, cutRight, cutRight, cutRight, cutRight,
	} {
		if ok {
			_, rest, ok = cut(rest)
		}
	}
	return !ok || len(rest) < 2 || rest[0] != '"' || rest[len(rest)-1] != '"'
}

func beginsRecord(text string) bool {
	return len(text) > 11 && text[0] == '"' && text[9:11] == `",` && strings.Trim(text[1:9], "0123456789") == ""
}

// end closes the last record and sorts the edges.
func (p *listParser) end() {
	p.flush()
	for platform, of := range p.seen {
		edges := p.list.Edges[platform]
		if edges == nil {
			edges = map[string][]string{}
			p.list.Edges[platform] = edges
		}
		for kb, olds := range of {
			all := append(edges[kb], sortedKeys(olds)...)
			slices.Sort(all)
			edges[kb] = slices.Compact(all)
		}
	}
}

// flush takes the record at hand apart: the first three columns from the left
// and the last six from the right, whatever the title between them holds.
func (p *listParser) flush() {
	text := p.record
	p.record = ""
	if text == "" {
		return
	}
	p.list.Records++
	var date, kb, title string
	right := make([]string, 6) // product, component, severity, impact, supersedes, exploits
	ok := true
	take := func(field *string, from func(string) (string, string, bool)) {
		if ok {
			*field, text, ok = from(text)
		}
	}
	take(&date, cutLeft)
	take(&title, cutLeft) // the CVE, which does not count
	take(&kb, cutLeft)
	for i := 5; i >= 0; i-- {
		take(&right[i], cutRight)
	}
	if !ok {
		p.list.Broken++
		return
	}
	title = strings.Trim(text, `"`)
	name, impact, supersedes := right[0], right[3], right[4]
	if impact == packImpact {
		p.list.Packs = append(p.list.Packs, Pack{Name: kb, Product: name, Title: title, Date: date, Supersedes: split(supersedes)})
	}
	number := msrc.KB(kb)
	switch {
	case kb == "":
		p.list.NoKB++
		return
	case number == "":
		p.list.TextKB++
		return
	}
	if supersedes == "" {
		return
	}
	p.list.Superseding++
	p.edges(number, name, supersedes)
}

// cutLeft takes a column off the left end: empty, or in quotes.
func cutLeft(text string) (field, rest string, ok bool) {
	switch {
	case strings.HasPrefix(text, ","):
		return "", text[1:], true
	case strings.HasPrefix(text, `"`):
		i := strings.Index(text[1:], `",`)
		if i < 0 {
			return "", text, false
		}
		return text[1 : 1+i], text[1+i+2:], true
	}
	return strings.Cut(text, ",")
}

// cutRight takes a column off the right end.
func cutRight(text string) (field, rest string, ok bool) {
	switch {
	case strings.HasSuffix(text, ","):
		return "", text[:len(text)-1], true
	case len(text) > 1 && strings.HasSuffix(text, `"`):
		i := strings.LastIndex(text[:len(text)-1], `,"`)
		if i < 0 {
			return "", text, false
		}
		return text[i+2 : len(text)-1], text[:i], true
	}
	i := strings.LastIndexByte(text, ',')
	if i < 0 {
		return "", text, false
	}
	return text[i+1:], text[:i], true
}

func (p *listParser) edges(kb, name, supersedes string) {
	product, known := p.products[name]
	if !known {
		product = ParseProduct(name)
		p.products[strings.Clone(name)] = product
	}
	platform := product.Platform()
	if platform == "" {
		p.list.Foreign++
		return
	}
	of := p.seen[platform]
	if of == nil {
		of = map[string]map[string]bool{}
		p.seen[platform] = of
	}
	olds := of[kb]
	if olds == nil {
		olds = map[string]bool{}
		of[strings.Clone(kb)] = olds
	}
	for _, old := range msrc.KBs(supersedes) {
		if old != kb {
			olds[strings.Clone(old)] = true
		}
	}
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ';' || r == ',' || r == ' ' })
}
