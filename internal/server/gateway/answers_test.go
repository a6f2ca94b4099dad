package gateway_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wire"
)

// answering is a machine that says whether it has a file.
func answering(v detect.Value) inventory.Snapshot {
	s := snapshot(3, "new")
	s.Answers.Given = []inventory.Answer{{Test: detect.Rule{File: &detect.File{Path: "/opt/app"}}, Answer: detect.Answer{Value: v}}}
	return s
}

// A machine's answers travel as a section of their own, once, and are kept with
// what they were said of; a machine that is like it sends no body; one that has
// no answers, or an agent that knows none, sends what it always sent.
func TestAnswersTravel(t *testing.T) {
	w := newWorld(t)
	a, b := w.enrol("acme"), w.enrol("acme")
	send := func(m *agent, s inventory.Snapshot) []inventory.SectionName {
		t.Helper()
		all, bare := split(t, s)
		in := wire.CheckIn{Root: inventory.Root(all), Sections: bare}
		want := m.checkIn(in).Want
		if len(want) > 0 {
			wanted := slices.DeleteFunc(slices.Clone(all), func(sec inventory.Section) bool { return !slices.Contains(want, sec.Name) })
			m.mustSend("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: in.Root, Sections: wanted})), nil)
		}
		if r := m.checkIn(wire.CheckIn{Root: in.Root}); r.WantHashes || len(r.Want) > 0 {
			t.Fatalf("what was sent is not known: %+v", r)
		}
		got, _, err := w.db.In(estate.InTenant("acme")).Inventory(t.Context(), m.id)
		if diff := cmp.Diff(all, got); err != nil || diff != "" {
			t.Fatalf("kept (-sent +kept), %v:\n%s", err, diff)
		}
		return want
	}
	only := []inventory.SectionName{inventory.SectionAnswers}
	if want := send(a, snapshot(3, "new")); slices.Contains(want, inventory.SectionAnswers) || len(want) == 0 {
		t.Errorf("without answers %v is wanted", want)
	}
	if want := send(a, answering(detect.True)); !slices.Equal(want, only) {
		t.Errorf("with new answers %v is wanted", want)
	}
	if want := send(a, answering(detect.False)); !slices.Equal(want, only) {
		t.Errorf("with other answers %v is wanted", want)
	}
	if want := send(b, answering(detect.False)); len(want) > 0 {
		t.Errorf("a machine like it is asked for %v", want)
	}
	if want := send(a, snapshot(3, "new")); len(want) > 0 {
		t.Errorf("without answers again %v is wanted", want)
	}
	_, bare := split(t, answering(detect.True))
	older := wire.CheckIn{Protocol: 1, Root: inventory.Root(bare[:6]), Sections: bare[:6], Now: time.Now()}
	var r wire.CheckInReply
	a.mustSend("POST", wire.PathCheckIn, older, &r)
	if r.WantHashes || len(r.Want) > 0 {
		t.Errorf("an older agent gets %+v", r)
	}
}

// Row 6: answers that are not what an agent makes of a catalog's tests are
// refused whole, and what was known of the machine stays.
func TestTrustRow6HostileAnswers(t *testing.T) {
	w := newWorld(t)
	a, victim := w.enrol("acme"), w.enrol("acme")
	for _, m := range []*agent{a, victim} {
		all, _ := split(t, answering(detect.True))
		m.mustSend("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: inventory.Root(all), Sections: all})), nil)
	}
	before, _, err := w.db.In(estate.InTenant("acme")).Inventory(t.Context(), victim.id)
	if err != nil {
		t.Fatal(err)
	}
	test := func(t string) string { return `{"given":[{"t":` + t + `,"v":"true"}]}` }
	for name, body := range map[string]string{
		"a package of the inventory": test(`{"package":{"kind":"dpkg","name":"openssl","op":"ge","version":"9"}}`),
		"a whole rule":               test(`{"any":[{"file":{"path":"a"}},{"file":{"path":"b"}}]}`),
		"another form":               `{ "given":[{"t":{"file":{"path":"a"}},"v":"true"}]}`,
		"of another machine":         `{"endpoint":"` + string(victim.id) + `","given":[{"t":{"file":{"path":"a"}},"v":"true"}]}`,
		"without end":                test(`{"file":{"path":"` + strings.Repeat("a", inventory.MaxAnswersBody) + `"}}`),
		"terminal codes":             `{"given":[{"t":{"file":{"path":"a"}},"v":"unknown","f":"\u001b[31m"}]}`,
		"no object":                  `"given"`,
	} {
		all, _ := split(t, answering(detect.True))
		last := &all[len(all)-1]
		last.Body, last.Hash = []byte(body), inventory.HashBody([]byte(body))
		m := wire.Sections{Root: inventory.Root(all), Sections: all, Scanned: time.Now()}
		packed := pack(t, rawSections(t, m))
		if code, no := a.send("PUT", wire.PathSection, packed, nil); code != http.StatusBadRequest {
			t.Errorf("%s: %d %+v", name, code, no)
		}
	}
	for _, m := range []*agent{a, victim} {
		if now, _, err := w.db.In(estate.InTenant("acme")).Inventory(t.Context(), m.id); err != nil || !cmp.Equal(before, now) {
			t.Errorf("the inventory changed: %v %s", err, cmp.Diff(before, now))
		}
	}
	// Nor may the sections that every machine has be left away.
	all, _ := split(t, answering(detect.True))
	lone := w.enrol("acme")
	short := wire.Sections{Root: inventory.Root(all[5:]), Sections: all[5:]}
	if code, no := lone.send("PUT", wire.PathSection, pack(t, encode(t, short)), nil); code != http.StatusBadRequest {
		t.Errorf("two sections alone: %d %+v", code, no)
	}
}

// rawSections writes the message with the bodies byte for byte.
func rawSections(t *testing.T, m wire.Sections) []byte {
	t.Helper()
	var all []string
	for _, s := range m.Sections {
		all = append(all, `{"name":"`+string(s.Name)+`","hash":"`+s.Hash+`","body":`+string(s.Body)+`}`)
	}
	return []byte(`{"root":"` + m.Root + `","scanned":` + string(encode(t, m.Scanned)) + `,"sections":[` + strings.Join(all, ",") + `]}`)
}
