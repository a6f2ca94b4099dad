package apt

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/run"
)

// maxTail is what is kept of the output for the result, in bytes.
const maxTail = 64 << 10

var (
	stepLine  = regexp.MustCompile(`^(Unpacking|Setting up) ([^\s:]+)`)
	errorLine = regexp.MustCompile(`^dpkg: error processing (?:package|archive) (\S+) \(--?[a-z-]+\):`)
)

// output follows what apt and dpkg print: progress, and the reason why a
// package failed, which dpkg prints on the lines after its error.
type output struct {
	report  func(install.Progress)
	total   int // steps: unpack and set up for each change
	done    int
	buf     []string
	size    int
	current string            // package in work
	recent  []string          // what its scripts printed
	failing string            // package whose reason comes next
	reasons map[string]string // by package
	general string            // a reason that concerns no single package
}

func newOutput(changes int, report func(install.Progress)) *output {
	return &output{report: report, total: 2*changes + 1, reasons: map[string]string{}}
}

// line takes one line of output.
func (o *output) line(_ run.Stream, text string) {
	o.keep(text)
	switch {
	case o.failing != "" && strings.HasPrefix(text, " "):
		o.fail(o.failing, strings.TrimSpace(text))
		return
	case errorLine.MatchString(text):
		o.failing = packageOf(errorLine.FindStringSubmatch(text)[1])
	default:
		o.failing = ""
	}
	if strings.Contains(text, "No space left on device") && o.general == "" {
		o.general = "the disk is full: " + strings.TrimSpace(text)
	}
	if m := stepLine.FindStringSubmatch(text); m != nil {
		o.done++
		o.current, o.recent = m[2], nil
	} else if o.failing == "" && strings.TrimSpace(text) != "" {
		o.recent = append(o.recent, strings.TrimSpace(text))
	}
	o.report(install.Progress{Percent: min(99, o.done*100/o.total), Line: text, Package: o.current})
}

func (o *output) fail(pkg, reason string) {
	if o.reasons[pkg] != "" {
		return
	}
	if pkg == o.current && len(o.recent) > 0 {
		reason += fmt.Sprintf(" (its script printed: %s)", strings.Join(o.recent[max(0, len(o.recent)-3):], " | "))
	}
	o.reasons[pkg] = reason
}

// packageOf turns "name:arch" or the path of a .deb into the package's name.
func packageOf(word string) string {
	word = word[strings.LastIndexByte(word, '/')+1:]
	word, _, _ = strings.Cut(word, "_")
	word, _, _ = strings.Cut(word, ":")
	return word
}

func (o *output) keep(text string) {
	o.buf = append(o.buf, text)
	o.size += len(text) + 1
	for o.size > maxTail && len(o.buf) > 1 {
		o.size -= len(o.buf[0]) + 1
		o.buf = o.buf[1:]
	}
}

func (o *output) tail() string { return strings.Join(o.buf, "\n") }
