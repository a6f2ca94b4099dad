package crawl

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Memory is what the fingerprints of learning sources have in common; each
// embeds it.
type Memory struct {
	// Form is the number of the folded form: what was folded in another one is
	// folded anew. From says by which configuration it was folded.
	Form    int     `json:"form"`
	From    string  `json:"from"`
	Learned Learned `json:"learned,omitempty"`
}

func (m *Memory) common() *Memory { return m }

// State is a fingerprint of type S: it embeds Memory, and names the blobs that
// it needs besides the payloads that were learned.
type State[S any] interface {
	*S
	Kept() []string
	common() *Memory
}

// Folded is the state of a source that folds one document.
type Folded struct {
	Memory
	// Seen says which version of the document was folded, SHA256 to what.
	Seen   string `json:"seen,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// Kept names the folded document.
func (f *Folded) Kept() []string {
	if f.SHA256 == "" {
		return nil
	}
	return []string{f.SHA256}
}

// Check forgets a folded document that has vanished from the source's folder.
func (f *Folded) Check(dir string) {
	if f.SHA256 == "" || !There(dir, f.SHA256) {
		f.Seen, f.SHA256 = "", ""
	}
}

// There reports whether a blob is in a source's folder.
func There(dir, sum string) bool {
	_, err := os.Stat(BlobPath(dir, sum))
	return err == nil
}

// Learning is the half that all sources share whose vendors name payloads
// without their SHA-256: it remembers, and fetches what is to be proven. With
// it they are Keepers, Shelves and Provers; they embed it.
type Learning[S any, P State[S]] struct {
	// Client fetches payloads.
	Client Client
	// Refuses, when it is not empty, says why nothing is fetched that people
	// ask for.
	Refuses string

	form  int
	from  string
	asked []patch.ID
}

// NewLearning makes the shared half of a source. What was folded in another
// form, or by another configuration than from describes, is forgotten.
func NewLearning[S any, P State[S]](client Client, form int, from string) Learning[S, P] {
	return Learning[S, P]{Client: client, form: form, from: from}
}

// Recall reads a fingerprint.
func (l *Learning[S, P]) Recall(prev Fingerprint) S {
	var st S
	if prev == nil || json.Unmarshal(prev, &st) != nil || P(&st).common().Form != l.form || P(&st).common().From != l.from {
		st = *new(S)
		m := P(&st).common()
		m.Form, m.From = l.form, l.from
	}
	if m := P(&st).common(); m.Learned == nil {
		m.Learned = Learned{}
	}
	return st
}

// Blobs names what was folded and the payloads that were fetched.
func (l *Learning[S, P]) Blobs(at Fingerprint) []string {
	st := l.Recall(at)
	out := append(P(&st).common().Learned.Blobs(), P(&st).Kept()...)
	slices.Sort(out)
	return out
}

// Ask says which patches people want proven; see Prover.
func (l *Learning[S, P]) Ask(ids []patch.ID) { l.asked = slices.Clone(ids) }

// Asked are the patches that people want proven, of whichever source.
func (l *Learning[S, P]) Asked() []patch.ID { return l.asked }

// Holds names no archive: payloads stand in none.
func (l *Learning[S, P]) Holds(Fingerprint) []string { return nil }

// Offers says whether a payload was fetched.
func (l *Learning[S, P]) Offers(at Fingerprint, sha256 string) bool {
	st := l.Recall(at)
	return P(&st).common().Learned.Offers(sha256)
}

// Payloads fetches payloads again.
func (l *Learning[S, P]) Payloads(ctx context.Context, _ Fingerprint, items []Wanted, dir string) (map[string]string, error) {
	return Again(ctx, l.Client, items, dir)
}

// Choice says which payloads are fetched to be proven.
type Choice struct {
	// Patches are all that the source offers; it is called when one is wanted.
	Patches func() ([]patch.Patch, error)
	// Named are those that the configuration names; nil names none.
	Named func(patch.Patch) bool
}

// Conclude ends a fetch: payloads that are wanted are learned, and the state
// becomes the new fingerprint.
func (l *Learning[S, P]) Conclude(ctx context.Context, dir string, prev Fingerprint, st *S, choice Choice, notes []string) (Fetched, error) {
	learned := P(st).common().Learned
	if choice.Named != nil || len(l.asked) > 0 || len(learned) > 0 {
		wanted, refused, err := l.chosen(choice)
		if err != nil {
			return Fetched{}, err
		}
		if err := learned.Learn(ctx, l.Client, dir, wanted); err != nil {
			return Fetched{}, err
		}
		for digest, why := range refused {
			if _, good := learned[digest]; !good {
				learned[digest] = Lesson{Refused: why}
			}
		}
	}
	fp, err := json.Marshal(st)
	if err != nil {
		return Fetched{}, fault.Wrap(err, fault.Internal, "crawl: a source's state can't be encoded")
	}
	before := l.Recall(prev)
	return Fetched{Changed: told(P(&before)) != told(P(st)), Fingerprint: fp, Notes: notes}, nil
}

// told is all that Parse reads.
func told[S any, P State[S]](st P) string {
	kept := st.Kept()
	slices.Sort(kept)
	return fmt.Sprint(kept, st.common().Learned)
}

// chosen are the payloads that are wanted, and, by digest, why others are not
// fetched although they are: nothing would be installed from them.
func (l *Learning[S, P]) chosen(c Choice) (wanted []patch.Payload, refused map[string]string, err error) {
	if c.Named == nil && len(l.asked) == 0 {
		return nil, nil, nil
	}
	all, err := c.Patches()
	if err != nil {
		return nil, nil, err
	}
	refused = map[string]string{}
	for _, p := range all {
		named := c.Named != nil && c.Named(p)
		if !named && !slices.Contains(l.asked, p.ID) {
			continue
		}
		why := p.Install.Stray()
		switch {
		case why != "":
			why = "its manifest " + why
		case !named:
			why = l.Refuses
		}
		for _, it := range p.Items {
			switch {
			case why == "":
				wanted = append(wanted, it.Payload)
			case it.Payload.Digest != "":
				refused[it.Payload.Digest] = why
			}
		}
	}
	return wanted, refused, nil
}
