package crawl

import (
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
)

func TestParseLocation(t *testing.T) {
	for text, want := range map[string]struct {
		path string
		open bool
	}{
		"/srv/a.cab": {path: "/srv/a.cab"}, "file:///srv/a%20b": {path: "/srv/a b"}, "file://localhost/srv/a": {path: "/srv/a"},
		"https://vendor.example/a": {}, "http://vendor.example/a": {open: true}, "http://127.0.0.1.example/a": {open: true}, "http://10.0.0.1/a": {open: true},
		"http://127.0.0.1:80/a": {}, "http://localhost/a": {}, "http://[::1]/a": {},
	} {
		at, err := ParseLocation(text)
		if err != nil || at.Path != want.path || at.Open() != want.open || at.Text != text {
			t.Errorf("%q: %+v, %v", text, at, err)
		}
		_, far := at.Client(nil).(remote)
		if far != (want.path == "") {
			t.Errorf("%q: its client is that of the network: %v", text, far)
		}
	}
	for _, text := range []string{"", "a/b", "ftp://vendor.example/a", "file://elsewhere/a", "file:a", "https:///a", "::", "http://%zz"} {
		if _, err := ParseLocation(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// counting is the fingerprint of a source of the test.
type counting struct {
	Folded
	Note string `json:"note,omitempty"`
}

// TestLearningRemembers: a fingerprint comes back whole, and one of another form
// or configuration, or that is damaged, is as good as none.
func TestLearningRemembers(t *testing.T) {
	l := NewLearning[counting](nil, 2, "here")
	st := l.Recall(nil)
	st.SHA256, st.Seen, st.Note = "aa", "monday", "n"
	st.Learned["sha1:00"] = Lesson{SHA256: "bb", Size: 3}
	first, err := l.Conclude(t.Context(), t.TempDir(), nil, &st, Choice{Named: nil}, []string{"a note"})
	if err != nil || !first.Changed || len(first.Notes) != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	if got := l.Recall(first.Fingerprint); got.Note != "n" || got.Seen != "monday" || len(got.Learned) != 0 { // nothing is wanted any more
		t.Errorf("%+v", got)
	}
	st.Seen = "tuesday"
	if again, err := l.Conclude(t.Context(), t.TempDir(), first.Fingerprint, &st, Choice{}, nil); err != nil || again.Changed {
		t.Errorf("the same bytes seen later are a change: %v", err)
	}
	form, from := NewLearning[counting](nil, 3, "here"), NewLearning[counting](nil, 2, "there")
	for name, got := range map[string]counting{
		"form": form.Recall(first.Fingerprint), "place": from.Recall(first.Fingerprint), "damage": l.Recall(Fingerprint("{")),
	} {
		if got.SHA256 != "" || got.Note != "" || got.Learned == nil {
			t.Errorf("another %s: %+v", name, got)
		}
	}
	if st.Check(t.TempDir()); st.SHA256 != "" || st.Seen != "" {
		t.Errorf("a document that is gone is remembered: %+v", st)
	}
}

var _ Client = (*fetch.Client)(nil)
