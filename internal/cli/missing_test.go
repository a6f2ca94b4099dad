package cli

import (
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
)

// TestWhySaysWhoLooked: what the machine itself answered is told with its time.
func TestWhySaysWhoLooked(t *testing.T) {
	at := time.Date(2026, 11, 22, 5, 4, 3, 0, time.UTC)
	for want, e := range map[string]detect.Evidence{
		"old": {Value: detect.True},
		"old; by the machine's own look at 2026-11-22 05:04 UTC": {By: detect.ByMachine, At: at},
		"old; by the machine's own look":                         {By: detect.ByMachine},
	} {
		f := finding{Finding: catalog.Finding{State: catalog.Missing, Reason: "old", Evidence: []detect.Evidence{{Test: "os build"}, e}}}
		if got := why(f); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
