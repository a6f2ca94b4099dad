package detect

import (
	"strings"
	"time"
)

// Value is the outcome of a rule.
type Value string

// The three values.
const (
	True         Value = "true"
	False        Value = "false"
	Undetermined Value = "unknown"
)

// Verdict is a value with what it stands on.
type Verdict struct {
	Value Value `json:"value"`
	// Evidence lists the tests that were evaluated, in order of evaluation.
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Evidence says which test was made, what was wanted and what was found.
type Evidence struct {
	Test  string `json:"test"`  // "package dpkg openssl"
	Want  string `json:"want"`  // "lt 3.0.17-1~deb12u3"
	Found string `json:"found"` // "3.0.15-1~deb12u1", "not installed", or why it is unknown
	Value Value  `json:"value"`
	// By is ByMachine for the machine's own answer to a test that its
	// inventory does not hold, given when it was scanned; At is when, where
	// that is known. Both are empty for what follows from the facts.
	By string    `json:"by,omitempty"`
	At time.Time `json:"at,omitzero"`
}

// Reason joins the evidence that decided the verdict into one sentence part.
func (v Verdict) Reason() string {
	var parts []string
	for _, e := range v.Evidence {
		if e.Value == v.Value {
			parts = append(parts, e.Test+": "+e.Found+" (wanted "+e.Want+")")
		}
	}
	return strings.Join(parts, "; ")
}

// Eval evaluates the rule over the facts. All children are evaluated even
// when the first decides, so that the evidence is whole.
func Eval(r Rule, f Facts) Verdict {
	switch {
	case len(r.All) > 0:
		return fold(r.All, f, False, True)
	case len(r.Any) > 0:
		return fold(r.Any, f, True, False)
	case r.Not != nil:
		v := Eval(*r.Not, f)
		v.Value = negate(v.Value)
		return v
	case r.Always != nil:
		return Verdict{Value: of(*r.Always)}
	}
	return leaf(r, f)
}

// Outcome is the value of Eval without its evidence. It stops where one child
// decides, so it is for the many rules of which nobody wants to see more.
func Outcome(r Rule, f Facts) Value {
	switch {
	case len(r.All) > 0:
		return outcome(r.All, f, False, True)
	case len(r.Any) > 0:
		return outcome(r.Any, f, True, False)
	case r.Not != nil:
		return negate(Outcome(*r.Not, f))
	case r.Always != nil:
		return of(*r.Always)
	}
	if t, can := f.(Teller); can {
		if a, given := t.Told(r); given {
			return a.Value
		}
	}
	return look(r, f).Value
}

func outcome(rules []Rule, f Facts, decisive, otherwise Value) Value {
	out := otherwise
	for _, r := range rules {
		switch Outcome(r, f) {
		case decisive:
			return decisive
		case Undetermined:
			out = Undetermined
		}
	}
	return out
}

// fold combines children: one that equals decisive decides, else any unknown
// makes the whole unknown, else it is otherwise.
func fold(rules []Rule, f Facts, decisive, otherwise Value) Verdict {
	out := Verdict{Value: otherwise}
	for _, r := range rules {
		v := Eval(r, f)
		out.Evidence = append(out.Evidence, v.Evidence...)
		switch {
		case v.Value == decisive:
			out.Value = decisive
		case v.Value == Undetermined && out.Value != decisive:
			out.Value = Undetermined
		}
	}
	return out
}

func negate(v Value) Value {
	switch v {
	case True:
		return False
	case False:
		return True
	}
	return Undetermined
}

func of(b bool) Value {
	if b {
		return True
	}
	return False
}

func leaf(r Rule, f Facts) Verdict {
	if t, can := f.(Teller); can {
		if a, given := t.Told(r); given {
			return Verdict{Value: a.Value, Evidence: []Evidence{told(r, a)}}
		}
	}
	e := look(r, f)
	return Verdict{Value: e.Value, Evidence: []Evidence{e}}
}
