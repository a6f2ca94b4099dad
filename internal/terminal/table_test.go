package terminal

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestLayout(t *testing.T) {
	head := []string{"HOST", "ID", "STATE", "NOTE", "WHY"}
	rows := [][]string{{"web1", "e1384130a3272078", "verified", "", "a fresh scan shows everything installed"}, {"db1", "e8024944b60079ce", "failed", "", "billing: no database"}}
	for name, tc := range map[string]struct {
		width int
		want  string
	}{
		"a pipe": {0, `
HOST  ID                STATE     NOTE  WHY
web1  e1384130a3272078  verified        a fresh scan shows everything installed
db1   e8024944b60079ce  failed          billing: no database
`},
		"room for all but what is empty": {80, `
HOST  ID                STATE     WHY
web1  e1384130a3272078  verified  a fresh scan shows everything installed
db1   e8024944b60079ce  failed    billing: no database
`},
		"wrapped": {60, `
HOST  ID                STATE     WHY
web1  e1384130a3272078  verified  a fresh scan shows
                                  everything installed
db1   e8024944b60079ce  failed    billing: no database
`},
		"without its spare column": {50, `
HOST  STATE     WHY
web1  verified  a fresh scan shows everything
                installed
db1   failed    billing: no database
`},
		"below": {30, `
HOST  STATE
    WHY
web1  verified
    a fresh scan shows
    everything installed
db1   failed
    billing: no database
`},
	} {
		if d := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), layout(head, rows, tc.width, []string{"ID"})); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if got := layout([]string{"A", "B"}, [][]string{{"x\x1b[2J\ny", "z"}}, 0, nil); got != "A        B\nx [2J y  z\n" {
		t.Errorf("control characters reach the terminal: %q", got)
	}
	if got := layout([]string{"HOST", "A", "B", "WHY"}, [][]string{{"a", "aaaaa aaa", strings.Repeat("b", 25), ""}}, 40, nil); got != "HOST  A          B\na     aaaaa aaa  "+strings.Repeat("b", 23)+"\n"+strings.Repeat(" ", 17)+"bb\n" {
		t.Errorf("a last column that has to be squeezed:\n%s", got)
	}
	if layout(nil, nil, 80, nil) != "" {
		t.Error("no table is something")
	}
	var out bytes.Buffer
	if err := Table(&out, []string{"A", "B"}, [][]string{{"1", ""}, {"22", "x"}}); err != nil || out.String() != "A   B\n1\n22  x\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestLayoutKeeps holds for any texts and widths: the lines fit where the
// words that must stay whole leave room, and names for other commands are
// never cut.
func TestLayoutKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringMatching(`[a-zäß…]{0,12}( [a-z]{1,30}){0,6}`)
		n := rapid.IntRange(1, 5).Draw(t, "rows")
		rows := make([][]string, n)
		for i := range rows {
			rows[i] = []string{rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "host"), cell.Draw(t, "a"), cell.Draw(t, "b"), cell.Draw(t, "why")}
		}
		width := rapid.IntRange(40, 160).Draw(t, "width")
		text := layout([]string{"HOST", "A", "B", "WHY"}, rows, width, nil)
		for line := range strings.Lines(text) {
			if got := utf8.RuneCountInString(strings.TrimRight(line, "\n")); got > width {
				t.Fatalf("%d characters in %d:\n%s", got, width, text)
			}
		}
		for _, r := range rows {
			if !strings.Contains(text, r[0]) {
				t.Fatalf("%s was cut:\n%s", r[0], text)
			}
		}
	})
}
