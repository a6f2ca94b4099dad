package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/agent"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/inventory"
)

// TestNothingSteersTheTerminal: what a server says, and what a user of the
// machine calls his program, writes nothing but itself for the administrator.
func TestNothingSteersTheTerminal(t *testing.T) {
	const evil = "App\x1b]0;owned\x07\x1b[2J\u009b31m\r\u202egpj.exe"
	var out bytes.Buffer
	for _, err := range []error{
		statusTable(&out, agent.Status{Error: evil, Problem: evil}),
		scanTable(&out, agent.ScanReport{Missing: []catalog.Finding{{Package: evil, Installed: evil, Reason: evil}}, Notes: []string{evil}, Problems: []string{evil}}),
		packageLines(&out, []inventory.Package{{Name: evil, Title: evil + "x"}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"\x1b", "\x07", "\u009b", "\r", "\u202e"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("%q reaches the terminal: %q", bad, out.String())
		}
	}
	if strings.Count(out.String(), "App") < 8 {
		t.Errorf("what is harmless is gone: %q", out.String())
	}
}
