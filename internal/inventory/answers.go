package inventory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
)

// Answers are what the machine itself said to tests of its catalog that the
// rest of its inventory does not hold: files, the registry, WMI. They are of
// the same moment as the rest.
type Answers struct {
	// Given are sorted by the key of their test; each test stands once.
	Given []Answer `json:"given,omitempty"`
	// LeftOut counts the answers that were beyond MaxAnswers or MaxAnswersBody.
	LeftOut int `json:"left_out,omitempty"`
	// Withheld says that the machine's own policy keeps its answers back.
	Withheld bool `json:"withheld,omitempty"`
}

// Answer is one test with its answer.
type Answer struct {
	Test detect.Rule `json:"t"`
	detect.Answer
}

// Bounds of the section, on the agent and on the server. The whole catalogs of
// HP, Dell and Lenovo ask a machine some hundred things.
const (
	MaxAnswers     = 8192
	MaxAnswersBody = 2 << 20 // bytes of JSON
	// MaxFound bounds what was found by one test, in bytes.
	MaxFound = 200
)

// What is said of a test that nobody has answered.
const (
	notAsked = "the machine has not been asked yet; its next scan with this catalog tells"
	withheld = "the machine's own policy keeps its answers back (allow_answers); its own scan tells"
	leftOut  = "the machine has not been asked yet, or its answer was left out because it had too many; its own scan tells"
)

// silence is why a test has no answer.
func (a *Answers) silence() error {
	switch {
	case a.Withheld:
		return detect.Unknown(withheld)
	case a.LeftOut > 0:
		return detect.Unknown(leftOut)
	}
	return detect.Unknown(notAsked)
}

func (a *Answers) empty() bool { return len(a.Given) == 0 && a.LeftOut == 0 && !a.Withheld }

// MayAnswer reports whether a machine is asked a test itself: those of files,
// the registry and WMI, and of the component packages of Windows, which are not
// all in the inventory. Everything else follows from the inventory.
func MayAnswer(test detect.Rule) bool {
	return test.File != nil || test.FileVersion != nil || test.FileChecksum != nil || test.RegistryKey != nil ||
		test.RegistryValue != nil || test.WMI != nil || test.Package != nil && test.Package.Kind == kindComponent
}

// kindComponent is that of component packages, see Package.Kind.
const kindComponent = "cbs"

// ParseAnswers decodes the body of section "answers", strictly: it must be the
// very bytes that Split makes, within the bounds, with tests that a machine may
// answer, each once and in order. Everything else is Invalid.
func ParseAnswers(body []byte) (Answers, error) {
	bad := func(cause error, why string) (Answers, error) {
		return Answers{}, fault.Wrap(cause, fault.Invalid, "inventory: section %s %s", SectionAnswers, why)
	}
	if len(body) > MaxAnswersBody {
		return bad(nil, "is too large")
	}
	var a Answers
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		return bad(err, "is not well-formed")
	}
	if _, err := dec.Token(); err != io.EOF {
		return bad(nil, "has something after its end")
	}
	if len(a.Given) > MaxAnswers || a.LeftOut < 0 || a.Withheld && len(a.Given)+a.LeftOut > 0 || a.empty() {
		return bad(nil, "has other counts than a machine gives")
	}
	last := ""
	for _, x := range a.Given {
		key := x.Test.Key()
		if err := x.check(); err != nil || key <= last {
			return bad(err, "has a test that no machine answers, or tests out of order")
		}
		last = key
	}
	if same, err := json.Marshal(a); err != nil || !bytes.Equal(same, body) {
		return bad(err, "is not in its canonical form")
	}
	return a, nil
}

func (x Answer) check() error {
	if err := x.Test.Validate(); err != nil {
		return err
	}
	known := x.Value == detect.True || x.Value == detect.False || x.Value == detect.Undetermined
	if !known || !MayAnswer(x.Test) || x.Found != printable(x.Found) {
		return fault.New(fault.Invalid, "inventory: an answer is none")
	}
	return nil
}

// printable cuts a text to MaxFound bytes of characters that can be shown.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	if len(s) <= MaxFound {
		return s
	}
	s = s[:MaxFound]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// Book gathers a machine's answers while rules are evaluated on it. It is for
// one goroutine.
type Book struct {
	stored, live detect.Facts
	asked        map[string]detect.Answer
	noted        map[string]Answer
	size         int
	dropped      map[string]bool
}

// NewBook returns an empty book for the machine of the snapshot, whose own
// facts are live.
func (s *Snapshot) NewBook(live detect.Facts) *Book {
	return &Book{stored: s.Facts(), live: live, asked: map[string]detect.Answer{}, noted: map[string]Answer{}, dropped: map[string]bool{}}
}

// Ask asks the machine a test and notes the answer where the inventory alone
// says something else. What was found is left out, unless it is why the answer
// is unknown: Show notes it.
func (b *Book) Ask(test detect.Rule) detect.Value {
	a := b.look(test)
	if a.Value != detect.Undetermined {
		a.Found = ""
	}
	b.note(test, a)
	return a.Value
}

// Show asks as Ask does and notes what was found as well, for people who look
// at a patch that the machine lacks.
func (b *Book) Show(test detect.Rule) { b.note(test, b.look(test)) }

func (b *Book) look(test detect.Rule) detect.Answer {
	key := test.Key()
	a, known := b.asked[key]
	if !known {
		a = detect.Look(test, b.live)
		a.Found = printable(a.Found)
		b.asked[key] = a
	}
	return a
}

func (b *Book) note(test detect.Rule, a detect.Answer) {
	key := test.Key()
	if !MayAnswer(test) || a.Value != detect.Undetermined && detect.Eval(test, b.stored).Value == a.Value {
		return
	}
	next := Answer{test, a}
	before, known := b.noted[key]
	switch {
	case known && (before.Found != "" || a.Found == ""):
		return
	case known:
		if size := b.size - sizeOf(before) + sizeOf(next); size <= roomForAnswers {
			b.noted[key], b.size = next, size
		}
	case len(b.noted) == MaxAnswers || b.size+sizeOf(next) > roomForAnswers:
		b.dropped[key] = true
	default:
		b.noted[key], b.size = next, b.size+sizeOf(next)
	}
}

// roomForAnswers is what the answers themselves may take of the body.
const roomForAnswers = MaxAnswersBody - 1024

// sizeOf is the size of an answer in the section, with its comma.
func sizeOf(a Answer) int {
	text, err := json.Marshal(a)
	if err != nil {
		return MaxAnswersBody // it would not fit
	}
	return len(text) + 1
}

// Answers returns what was noted.
func (b *Book) Answers() Answers {
	out := Answers{LeftOut: len(b.dropped)}
	for _, a := range b.noted {
		out.Given = append(out.Given, a)
	}
	slices.SortFunc(out.Given, func(x, y Answer) int { return cmp.Compare(x.Test.Key(), y.Test.Key()) })
	return out
}

// Settled returns the facts that server and agent both take from the
// inventory: what the machine itself is asked is unknown to them.
func (s *Snapshot) Settled() detect.Facts { return settled{s.Facts(), s.Answers.silence()} }

type settled struct {
	detect.Facts
	unknown error
}

func (f settled) Registry(string, string, string) (detect.RegistryFact, error) {
	return detect.RegistryFact{}, f.unknown
}

func (f settled) Packages(kind, name string) ([]detect.PackageFact, error) {
	if kind == kindComponent {
		return nil, f.unknown
	}
	return f.Facts.Packages(kind, name)
}
