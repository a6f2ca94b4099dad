package winargs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"
)

// TestWindowsSplitsAlike asks CommandLineToArgvW.
func TestWindowsSplitsAlike(t *testing.T) {
	lines := []string{`x "a""b" c`, `x a""b`, `x """" y`, `x "a"b"c d"`, `x \\\\"a b" \"`, `x "a\\\\" b`, `x   `, `"q`, `x "`}
	for line := range commandLines() {
		lines = append(lines, line)
	}
	for _, line := range lines {
		want, err := windows.DecomposeCommandLine(line)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, Split(line)); d != "" {
			t.Errorf("%s (-Windows +ours):\n%s", line, d)
		}
	}
}
