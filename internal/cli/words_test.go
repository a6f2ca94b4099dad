package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// TestNotes: lists say beside a machine what counts and what nothing can be
// installed from.
func TestNotes(t *testing.T) {
	h := host{Endpoint: estate.Endpoint{RebootDue: true}, Bulletins: 1, UserOnly: 2, Problem: "disk full"}
	if got := strings.Join(h.notes(), "; "); got != "reboot due; disk full; 1 bulletin; 2 products of single users" {
		t.Error(got)
	}
}

func TestTotals(t *testing.T) {
	of := func(s catalog.FindingState, bulletin bool) finding {
		return finding{Finding: catalog.Finding{State: s, Bulletin: bulletin}}
	}
	got := totals([]finding{of(catalog.Missing, false), of(catalog.Held, false), of(catalog.Broken, false), of(catalog.Missing, true), of(catalog.UserOnly, false), of(catalog.Pinned, false)})
	for _, want := range []string{"6 findings: 1 can be installed by Fettle", "1 held by", "1 installed only half", "1 bulletins", "1 of single users", "1 pinned"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{24 * time.Hour: "24 h", 720 * time.Hour: "30 days", 90 * time.Minute: "90 min", 90 * time.Second: "1m30s"} {
		if got := span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	if count(1, "machine") != "1 machine" || count(0, "machine") != "0 machines" {
		t.Error("numbers of things")
	}
	if err := oneOf("--x", "c", "a", "b"); !fault.Is(err, fault.Invalid) || oneOf("--x", "", "a") != nil || oneOf("--x", "a", "a") != nil {
		t.Error("words that are not known")
	}
}
