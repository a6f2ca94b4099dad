package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/terminal"
)

// printJSON prints a value for programs.
func (o *options) printJSON(v any) error {
	enc := json.NewEncoder(o.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// say prints one line for people; with --json nothing.
func (o *options) say(format string, args ...any) {
	if !o.json {
		fmt.Fprint(o.out, terminal.Calm(fmt.Sprintf(format+"\n", args...)))
	}
}

// note prints a line of prose for people behind a prefix; with --json nothing.
func (o *options) note(prefix, format string, args ...any) {
	if !o.json {
		terminal.Fold(o.out, prefix, fmt.Sprintf(format, args...))
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

// span is a length of time for people: "24 h", "90 min"; other lengths as Go
// writes them.
func span(d time.Duration) string {
	switch {
	case d > 48*time.Hour && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return d.String()
}

// age is how old something is, for people.
func age(t, now time.Time) string {
	if text := ago(t, now); text != "now" {
		return text + " old"
	}
	return "made just now"
}

// shortKeys cuts the ids of keys to what people compare; --json has them whole.
func shortKeys(ids []string) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, terminal.Cut(id, 17))
	}
	return out
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
