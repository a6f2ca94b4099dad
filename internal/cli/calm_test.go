package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/terminal"
)

// TestTrustRow6NothingSteersTheTerminal: a machine's name and problem are what
// its root says. Shown to an administrator they write nothing but themselves.
func TestTrustRow6NothingSteersTheTerminal(t *testing.T) {
	const evil = "web1\x1b]0;owned\x07\x1b[2J\u009b31m\r\u202egpj.exe"
	var out bytes.Buffer
	o := &options{out: &out}
	if err := o.diagnose(hostChecks([]host{{}})); err == nil && out.Len() == 0 {
		t.Fatal("nothing is shown")
	}
	h := host{}
	h.Hostname, h.Problem, h.LastSeen = evil, evil, time.Now()
	_ = o.diagnose(hostChecks([]host{h})) // it has found something
	terminal.Explain(&out, "fettle", fault.New(fault.Unavailable, "the machine %s is away", evil).WithHint("see %s", evil))
	o.say("%s\n\tindented", evil)
	text := out.String()
	for _, bad := range []string{"\x1b", "\x07", "\u009b", "\r", "\u202e"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q reaches the terminal: %q", bad, text)
		}
	}
	if !strings.Contains(text, "web1") || !strings.Contains(text, "\n\tindented") {
		t.Errorf("what is harmless is gone: %q", text)
	}
}
