package terminal

import (
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	gap       = 2  // blanks between columns
	leastLast = 24 // of the last column beside the others; with less, others are cut or it gets lines of its own
	mostLines = 6  // of one cell
	indent    = 4  // of a last column below its row
	leastCell = 10 // to which a column is shortened or squeezed at most
)

// Table prints rows for people, columns aligned. On a terminal it fits the
// width: columns without content are left out, long texts in the last column
// wrap, and where there is no room for it, it stands below its row; columns of
// spare are left out, first to last, when the rest would not fit. Pipes and
// files get every row on one line, whole.
//
// Columns named ID, PATCH and HOST name things for other commands and are never
// broken.
func Table(out io.Writer, head []string, rows [][]string, spare ...string) error {
	_, err := io.WriteString(out, layout(head, rows, Width(out), spare))
	return err
}

// Pairs prints names with their values, one a line; those without a value are
// left out, and on a terminal long values wrap.
func Pairs(out io.Writer, pairs ...[2]string) error {
	var b strings.Builder
	width, names := Width(out), 0
	for _, p := range pairs {
		if p[1] != "" {
			names = max(names, utf8.RuneCountInString(p[0])+gap)
		}
	}
	for _, p := range pairs {
		if p[1] == "" {
			continue
		}
		pad(&b, Plain(p[0]), names)
		lines := []string{Plain(p[1])}
		if width > 0 {
			lines = wrapped(lines[0], max(leastCell, width-names))
		}
		b.WriteString(strings.Join(lines, "\n"+strings.Repeat(" ", names)) + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// Width is the number of characters in a line of the terminal that out is, 0
// when it is none.
func Width(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// layout puts a table into lines of at most width characters, as far as that
// is possible; 0 is no limit. Columns of spare are left out, first to last,
// when the rest would not fit; the first already for the last column's sake.
func layout(head []string, rows [][]string, width int, spare []string) string {
	if len(head) == 0 {
		return ""
	}
	g := (&grid{head: head, rows: rows}).clone()
	for _, r := range g.rows {
		for col := range r {
			r[col] = Plain(r[col])
		}
	}
	if width > 0 {
		g.fit(width, spare)
	}
	return g.text(width)
}

// grid is a table that is being fitted.
type grid struct {
	head  []string
	rows  [][]string
	below bool // the last column stands below its row
}

func (g *grid) widths() []int {
	out := make([]int, len(g.head))
	for col, h := range g.head {
		out[col] = utf8.RuneCountInString(h)
		for _, r := range g.rows {
			out[col] = max(out[col], utf8.RuneCountInString(r[col]))
		}
	}
	return out
}

// before is the width of all columns but the last.
func (g *grid) before() int {
	sum := 0
	for _, w := range g.widths()[:len(g.head)-1] {
		sum += w + gap
	}
	return sum
}

func (g *grid) fit(width int, spare []string) {
	for col := len(g.head) - 1; col > 0; col-- {
		if !slices.ContainsFunc(g.rows, func(r []string) bool { return r[col] != "" }) {
			g.drop(col)
		}
	}
	if g.fits(width) {
		g.settle(width)
		return
	}
	if len(spare) > 0 { // the last column beside the others is worth the first spare one
		without := g.clone()
		without.leave(spare[0])
		if without.fits(width) {
			*g = *without
			g.settle(width)
			return
		}
	}
	g.below = g.canStandBelow()
	for _, name := range spare {
		if !g.fits(width) {
			g.leave(name)
		}
	}
	g.shorten(width)
}

// settle puts the last column below its rows where that takes fewer lines than
// a narrow column beside them.
func (g *grid) settle(width int) {
	if !g.canStandBelow() || g.whole() {
		return
	}
	last, room := len(g.head)-1, max(leastCell, width-g.before())
	beside, below := 0, 0
	for _, r := range g.rows {
		beside += len(wrapped(r[last], room))
		below += 1
		if r[last] != "" {
			below += len(wrapped(r[last], width-indent))
		}
	}
	g.below = below < beside
}

// canStandBelow reports whether the last column is one of texts.
func (g *grid) canStandBelow() bool {
	return len(g.head) > 1 && slices.Contains([]string{"WHY", "WHAT", "NOTES", "NOTE", "PATCH", "REASON", "ROLES"}, g.head[len(g.head)-1])
}

func (g *grid) clone() *grid {
	out := &grid{head: slices.Clone(g.head), rows: make([][]string, len(g.rows)), below: g.below}
	for i, r := range g.rows {
		out.rows[i] = slices.Clone(r)
	}
	return out
}

// leave drops the column of the name.
func (g *grid) leave(name string) {
	if col := slices.Index(g.head, name); col > 0 {
		g.drop(col)
	}
}

// fits reports whether the columns have their room.
func (g *grid) fits(width int) bool {
	if g.below {
		return g.before() <= width
	}
	last := g.widths()[len(g.head)-1]
	if !g.whole() {
		last = min(last, leastLast)
	}
	return g.before()+last <= width
}

// whole reports whether the last column names things for other commands: it is
// never broken.
func (g *grid) whole() bool {
	return slices.Contains([]string{"ID", "PATCH", "HOST"}, g.head[len(g.head)-1])
}

func (g *grid) drop(col int) {
	g.head = slices.Delete(g.head, col, col+1)
	for i := range g.rows {
		g.rows[i] = slices.Delete(g.rows[i], col, col+1)
	}
}

// shorten cuts the widest columns, but none that names things for other
// commands.
func (g *grid) shorten(width int) {
	for !g.fits(width) {
		widest, at := leastCell, -1
		for col, w := range g.widths()[:len(g.head)-1] {
			if w > widest && !slices.Contains([]string{"ID", "PATCH", "HOST"}, g.head[col]) {
				widest, at = w, col
			}
		}
		if at < 0 {
			return
		}
		for _, r := range g.rows {
			r[at] = Cut(r[at], widest-1)
		}
		if g.widths()[at] >= widest {
			return // its name alone is that wide
		}
	}
}

// text writes the grid out.
func (g *grid) text(width int) string {
	var out strings.Builder
	widths, last := g.widths(), len(g.head)-1
	row := func(r []string) {
		for col, cell := range r[:last] {
			pad(&out, cell, widths[col]+gap)
		}
	}
	line := func(r []string) {
		before := g.before()
		row(r)
		switch {
		case r[last] == "":
		case g.below && g.whole():
			out.WriteString("\n    " + r[last])
		case g.below:
			for _, l := range wrapped(r[last], width-indent) {
				out.WriteString("\n    " + l)
			}
		case width > 0 && !g.whole():
			for i, l := range wrapped(r[last], max(leastCell, width-before)) {
				if i > 0 {
					out.WriteString("\n" + strings.Repeat(" ", before))
				}
				out.WriteString(l)
			}
		default:
			out.WriteString(r[last])
		}
		out.WriteByte('\n')
	}
	line(g.head)
	for _, r := range g.rows {
		line(r)
	}
	return trimmed(out.String())
}

// trimmed takes the blanks off the ends of lines.
func trimmed(text string) string {
	var out strings.Builder
	for l := range strings.Lines(text) {
		out.WriteString(strings.TrimRight(l, " \n") + "\n")
	}
	return out.String()
}

func pad(out *strings.Builder, text string, n int) {
	out.WriteString(text)
	out.WriteString(strings.Repeat(" ", max(0, n-utf8.RuneCountInString(text))))
}

// wrapped breaks a text into lines between words, and within words that are
// longer than a line; what is beyond mostLines is cut.
func wrapped(text string, width int) []string {
	lines := broken(text, width, true)
	if len(lines) > mostLines {
		lines = lines[:mostLines]
		lines[mostLines-1] = Cut(lines[mostLines-1]+" …", width)
	}
	return lines
}

// broken breaks a text into lines between words; words that are longer than a
// line stay whole unless they are split.
func broken(text string, width int, split bool) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		for {
			joined := strings.TrimLeft(line+" "+word, " ")
			if utf8.RuneCountInString(joined) <= width || line == "" && !split {
				line = joined
				break
			}
			if line != "" {
				lines, line = append(lines, line), ""
				continue
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:width])), string(r[width:])
		}
	}
	return append(lines, line)
}
