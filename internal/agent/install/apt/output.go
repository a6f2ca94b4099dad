package apt

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/run"
)

const (
	// maxTail is what is kept of the output for the result, in bytes.
	maxTail = 64 << 10
	// maxWords is how many lines of a script go into the reason.
	maxWords = 5
)

var (
	stepLine  = regexp.MustCompile(`^(Unpacking|Setting up|Removing) ([^\s:]+(?::[a-z0-9-]+)?) `)
	preLine   = regexp.MustCompile(`^Preparing to unpack \S*?([^/]+\.deb) \.\.\.`)
	errorLine = regexp.MustCompile(`^dpkg: error processing (?:package|archive) (\S+) \(--?[a-z-]+\):`)
	fatalLine = regexp.MustCompile(`^dpkg: (?:unrecoverable fatal )?error[:,]`)
	needLine  = regexp.MustCompile(`^dpkg: dependency problems prevent configuration of ([^\s:]+(?::[a-z0-9-]+)?):`)
	numbered  = regexp.MustCompile(`^\d+-`)
)

// output follows what apt and dpkg print: progress, and the reason why a
// package failed, which dpkg prints on the lines after its error.
type output struct {
	report  func(install.Progress)
	total   int // steps: unpack and set up for each change
	done    int
	touched bool // dpkg has begun
	buf     []string
	size    int
	current string            // package in work
	recent  []string          // what its scripts printed
	failing string            // package whose reason comes next
	needing string            // package whose unmet dependencies come next
	fatal   bool              // dpkg itself can't go on; the reason comes next
	needs   map[string]string // by package, as dpkg prints its name
	reasons map[string]string // by package, as dpkg prints its name
	full    string            // the disk is full: concerns every package
	errors  []string          // apt's own errors, which concern no package
}

func newOutput(changes int, report func(install.Progress)) *output {
	return &output{report: report, total: 2*changes + 1, reasons: map[string]string{}, needs: map[string]string{}}
}

// line takes one line of output.
func (o *output) line(_ run.Stream, text string) {
	text = strings.TrimRight(text, "\r")
	text = text[strings.LastIndexByte(text, '\r')+1:]
	if strings.HasPrefix(text, "(Reading database") && !strings.HasSuffix(text, "installed.)") {
		return
	}
	o.keep(text[:min(len(text), 8<<10)])
	if strings.Contains(text, "No space left on device") && o.full == "" {
		o.full = "the disk is full: " + strings.TrimPrefix(strings.TrimSpace(text), "E: ")
	}
	if !strings.HasPrefix(text, " ") || !o.cause(strings.TrimSpace(text)) {
		o.failing, o.needing, o.fatal = "", "", false
		o.failure(text)
		o.step(text)
	}
	o.report(install.Progress{Percent: min(99, o.done*100/o.total), Line: text, Package: o.current})
}

// cause takes an indented line that says more about the line above.
func (o *output) cause(text string) bool {
	switch {
	case o.failing != "":
		o.fail(o.failing, text)
	case o.needing != "":
		o.needs[o.needing] = strings.TrimSpace(o.needs[o.needing] + " " + text)
	case o.fatal:
		o.errors = append(o.errors, "dpkg: "+text)
	default:
		return false
	}
	return true
}

// failure notes the lines that announce one.
func (o *output) failure(text string) {
	if m := errorLine.FindStringSubmatch(text); m != nil {
		o.failing, o.touched = packageOf(m[1]), true
	} else if m := needLine.FindStringSubmatch(text); m != nil {
		o.needing = m[1]
	} else if fatalLine.MatchString(text) {
		o.fatal = true
		if strings.Contains(text, "error: ") {
			o.errors = append(o.errors, text)
		}
	}
	if sentence, ok := strings.CutPrefix(text, "E: "); ok && !strings.HasPrefix(sentence, "Sub-process ") && !slices.Contains(o.errors, sentence) {
		o.errors = append(o.errors, sentence)
	}
}

// step follows what dpkg works on.
func (o *output) step(text string) {
	switch m := stepLine.FindStringSubmatch(text); {
	case m != nil:
		o.done++
		if m[1] != "Unpacking" || o.current != m[2] {
			o.recent = nil
		}
		o.current, o.touched = m[2], true
	case preLine.MatchString(text):
		o.current, o.recent, o.touched = packageOf(preLine.FindStringSubmatch(text)[1]), nil, true
	case o.failing == "" && o.needing == "" && strings.TrimSpace(text) != "":
		o.recent = append(o.recent, strings.TrimSpace(text))
		if n := len(o.recent); n > maxWords {
			o.recent = o.recent[n-maxWords:]
		}
	}
}

func (o *output) fail(pkg, reason string) {
	if o.reasons[pkg] != "" || reason == "" {
		return
	}
	switch {
	case o.needs[pkg] != "":
		reason += ": " + o.needs[pkg]
	case same(pkg, o.current) && len(o.recent) > 0:
		reason += fmt.Sprintf("; its script said: %s", strings.Join(o.recent, " | "))
	}
	o.reasons[pkg] = reason
}

func same(a, b string) bool {
	a, _, _ = strings.Cut(a, ":")
	b, _, _ = strings.Cut(b, ":")
	return a == b
}

// reason is why a package failed, or "". dpkg names it with its architecture
// when it can be installed for several.
func (o *output) reason(name, key string) string {
	if r := o.reasons[key]; r != "" {
		return r
	}
	return o.reasons[name]
}

// packageOf turns "name:arch" or the path of a .deb into the package's name,
// with its architecture if there is one. apt numbers the links that it makes
// to package files.
func packageOf(word string) string {
	file, ok := strings.CutSuffix(word[strings.LastIndexByte(word, '/')+1:], ".deb")
	if !ok {
		return word
	}
	parts := strings.Split(numbered.ReplaceAllString(file, ""), "_")
	if len(parts) == 3 && parts[2] != "all" {
		return parts[0] + ":" + parts[2]
	}
	return parts[0]
}

func (o *output) keep(text string) {
	o.buf = append(o.buf, text)
	o.size += len(text) + 1
	for o.size > maxTail && len(o.buf) > 1 {
		o.size -= len(o.buf[0]) + 1
		o.buf = o.buf[1:]
	}
}

// tail is the end of the output, whole lines of at most maxTail bytes together.
func (o *output) tail() string { return strings.Join(o.buf, "\n") }
