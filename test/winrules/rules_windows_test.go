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
	snap := &inventory.Snapshot{OS: inventory.OS{
		Family: "windows", ID: "windows-10", Version: "1903", Build: "10.0.18362.0", Edition: "Professional", Arch: "amd64",
	}}
	facts := probe.New(t.Context(), "/", snap)
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
	onTheServer(t, snap, facts, rules)
}

// onTheServer has the machine answer the rules and evaluates them from its
// stored inventory alone.
func onTheServer(t *testing.T, snap *inventory.Snapshot, facts detect.Facts, rules []Rule) {
	t.Helper()
	book := snap.NewBook(facts)
	for _, r := range rules {
		detect.Decide(r.Rule, snap.Settled(), book.Ask)
	}
	told := *snap
	told.Answers = book.Answers()
	sections, err := inventory.Split(told)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := inventory.Join(sections)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(len(stored.Answers.Given), "answers,", len(sections[len(sections)-1].Body), "bytes")
	if len(stored.Answers.Given) == 0 || stored.Answers.LeftOut > 0 {
		t.Errorf("%d answers, %d left out", len(stored.Answers.Given), stored.Answers.LeftOut)
	}
	for _, r := range rules {
		if here, there := detect.Outcome(r.Rule, facts), detect.Outcome(r.Rule, stored.Facts()); here != there {
			t.Errorf("%s: %s on the machine, %s on the server", r.Name, here, there)
		}
	}
}
