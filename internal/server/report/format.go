package report

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/csv"
	"encoding/json"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// text is a cell for people and for CSV; times are RFC 3339 in UTC.
func text(cell any) string {
	switch v := cell.(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case bool:
		if v {
			return "yes"
		}
		return ""
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format(time.RFC3339)
	case []string:
		return strings.Join(v, ", ")
	}
	return ""
}

func notWritten(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Unavailable, "report: it can't be written")
}

// jsonSink writes {"report":...,"items":[...],"total":n,"counts":{...}}.
type jsonSink struct {
	w       *bufio.Writer
	columns []column
	some    bool
}

func (s *jsonSink) begin(t table, h head) error {
	s.columns = t.columns
	b, err := json.Marshal(h)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "report: encode")
	}
	_, _ = s.w.Write(b[:len(b)-1]) // without the closing brace; Flush tells of errors
	_, err = s.w.WriteString(",\"items\":[")
	return notWritten(err)
}

func (s *jsonSink) row(cells []any) error {
	var b bytes.Buffer
	if s.some {
		b.WriteByte(',')
	}
	s.some = true
	b.WriteString("\n{")
	for i, c := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Quote(s.columns[i].key) + ":")
		value, err := json.Marshal(bare(c))
		if err != nil {
			return fault.Wrap(err, fault.Internal, "report: encode")
		}
		b.Write(value)
	}
	b.WriteByte('}')
	_, err := s.w.Write(b.Bytes())
	return notWritten(err)
}

// bare is a cell for JSON: no time is null, no list is empty.
func bare(cell any) any {
	switch v := cell.(type) {
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return v.UTC()
	case []string:
		if v == nil {
			return []string{}
		}
	}
	return cell
}

func (s *jsonSink) end(total int, counts []count) error {
	m := map[string]int{}
	for _, c := range counts {
		m[c.Value] = c.N
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "report: encode")
	}
	_, err = s.w.WriteString("\n],\"total\":" + strconv.Itoa(total) + ",\"counts\":" + string(b) + "}\n")
	return notWritten(err)
}

// csvSink writes RFC 4180 with a header line.
type csvSink struct {
	w     *csv.Writer
	cells []string
}

func newCSV(out *bufio.Writer) *csvSink {
	w := csv.NewWriter(out)
	w.UseCRLF = true
	return &csvSink{w: w}
}

func (s *csvSink) begin(t table, _ head) error {
	for _, c := range t.columns {
		s.cells = append(s.cells, c.key)
	}
	return notWritten(s.w.Write(s.cells))
}

func (s *csvSink) row(cells []any) error {
	for i, c := range cells {
		s.cells[i] = harmless(text(c))
	}
	return notWritten(s.w.Write(s.cells))
}

// harmless keeps a spreadsheet from taking a text for a formula: a quote goes
// before what could begin one
// (https://owasp.org/www-community/attacks/CSV_Injection).
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}

func (s *csvSink) end(int, []count) error {
	s.w.Flush()
	return notWritten(s.w.Error())
}

//go:embed page.html
var pages embed.FS

// htmlSink writes one page that needs nothing else.
type htmlSink struct {
	w       *bufio.Writer
	t       *template.Template
	columns []column
	shown   int
	some    bool
	tally   string
	filled  []bool // of the columns that are shown: some row has a text there
}

func newHTML(out *bufio.Writer) (*htmlSink, error) {
	t, err := template.ParseFS(pages, "page.html")
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "report: the page's template")
	}
	return &htmlSink{w: out, t: t}, nil
}

func (s *htmlSink) run(name string, data any) error {
	if err := s.t.ExecuteTemplate(s.w, name, data); err != nil {
		return fault.Wrap(err, fault.Unavailable, "report: it can't be written")
	}
	return nil
}

func (s *htmlSink) begin(t table, h head) error {
	s.columns = t.columns
	var titles []string
	for _, c := range t.columns {
		if c.look != hidden {
			titles = append(titles, c.title)
		}
	}
	s.shown, s.filled, s.tally = len(titles), make([]bool, len(titles)), t.columns[t.tally].title
	return s.run("begin", map[string]any{
		"Title": t.title, "Head": h, "Generated": h.Generated.Format("2006-01-02 15:04:05 MST"), "Columns": titles,
	})
}

// cell is one cell of the page. Class is empty or a name of page.html.
type cell struct {
	Text  string
	Class string
	Badge string // the value in letters and underscores
}

// Parts are the pieces between which a line may be broken: the ids of patches
// and versions are long and have no blanks.
func (c cell) Parts() []string {
	if c.Class == "n" {
		return []string{c.Text}
	}
	return strings.SplitAfter(c.Text, ":")
}

func (s *htmlSink) row(cells []any) error {
	s.some = true
	out := make([]cell, 0, s.shown)
	for i, c := range cells {
		one := cell{Text: text(c)}
		if t, ok := c.(time.Time); ok && !t.IsZero() {
			one.Text, one.Class = t.UTC().Format("2006-01-02 15:04:05"), "n"
		}
		switch s.columns[i].look {
		case hidden:
			continue
		case wide:
			one.Class = "w"
		case long:
			one.Class = "l"
		case badge:
			one.Badge = slug(one.Text)
		}
		s.filled[len(out)] = s.filled[len(out)] || one.Text != ""
		out = append(out, one)
	}
	return s.run("row", out)
}

// slug makes a value a class name.
func slug(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, s)
}

func (s *htmlSink) end(total int, counts []count) error {
	var unused []int // rows are written as they come: only now it is known
	for i, some := range s.filled {
		if !some && s.some {
			unused = append(unused, i+1)
		}
	}
	return s.run("end", map[string]any{"Empty": !s.some, "Width": s.shown, "Total": total, "Counts": counts, "Tally": s.tally, "Unused": unused})
}
