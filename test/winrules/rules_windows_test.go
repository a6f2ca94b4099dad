package winrules

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/fettlehq/fettle/internal/agent/probe"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
)

// TestOnWindows evaluates the rules in the file that the test on Linux has
// laid down.
func TestOnWindows(t *testing.T) {
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Skip("started by the test on Linux, which lays down the rules")
	}
	var rules []Rule
	if err := json.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	facts := probe.New(t.Context(), "/", &inventory.Snapshot{OS: inventory.OS{
		Family: "windows", ID: "windows-10", Version: "1903", Build: "10.0.18362.0", Edition: "Professional", Arch: "amd64",
	}})
	counts := map[detect.Value]int{}
	why := map[string]int{}
	for _, r := range rules {
		v := detect.Eval(r.Rule, facts)
		counts[v.Value]++
		if v.Value == detect.Undetermined {
			why[v.Reason()]++
		}
		if r.Want != "" && v.Value != r.Want {
			t.Errorf("%s: %s, want %s: %+v", r.Name, v.Value, r.Want, v.Evidence)
		}
	}
	t.Log(len(rules), "rules:", counts)
	for reason, n := range why {
		t.Errorf("%d rules are unknown: %s", n, reason)
	}
}
