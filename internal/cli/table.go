package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/fettlehq/fettle/internal/patch"
)

// printJSON prints a value for programs.
func (o *options) printJSON(v any) error {
	enc := json.NewEncoder(o.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows for people, columns aligned. On a terminal the last
// column is cut to fit.
func (o *options) table(head []string, rows [][]string) error {
	width := o.width()
	if width > 0 {
		fit(head, rows, width)
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(head, "\t"))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(o.out, strings.TrimRight(line, " \n")) // empty last cells leave blanks
	}
	return nil
}

func (o *options) width() int {
	f, ok := o.out.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// fit shortens the last column so that a row stays on one line.
func fit(head []string, rows [][]string, width int) {
	if len(head) == 0 {
		return
	}
	last := len(head) - 1
	used := 0
	for col := range last {
		widest := utf8.RuneCountInString(head[col])
		for _, r := range rows {
			widest = max(widest, utf8.RuneCountInString(r[col]))
		}
		used += widest + 2
	}
	room := max(20, width-used)
	for _, r := range rows {
		if utf8.RuneCountInString(r[last]) > room {
			r[last] = string([]rune(r[last])[:room-1]) + "…"
		}
	}
}

// say prints one line for people; with --json nothing.
func (o *options) say(format string, args ...any) {
	if !o.json {
		fmt.Fprintf(o.out, format+"\n", args...)
	}
}

func yes(b bool, word string) string {
	if b {
		return word
	}
	return ""
}

// ago is a span for people: "3 min", "2 days".
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	switch {
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// bytesText is a size for people, in binary units.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// severityText marks what is exploited.
func severityText(s patch.Severity, exploited bool) string {
	if exploited {
		return string(s) + " (exploited)"
	}
	return string(s)
}

// shortList joins at most n names.
func shortList(names []string, n int) string {
	if len(names) > n {
		return strings.Join(names[:n], " ") + fmt.Sprintf(" +%d", len(names)-n)
	}
	return strings.Join(names, " ")
}
