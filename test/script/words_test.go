package script

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// capture puts what a pattern's first group finds in the last output into the
// environment:
//
//	capture ID 'deployment (\S+) began'
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME PATTERN")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("nothing fits %q", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// until repeats a command until its output has the text, for what happens in
// its own time:
//
//	until '3 machines' fettle groups
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until TEXT PROGRAM [ARG...]")
	}
	var err error
	for range 1200 { // a busy machine takes its time
		if err = ts.Exec(args[1], args[2:]...); err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%q did not come within two minutes; last error %v", args[0], err)
}

// jsonCmd wants the last output to be one JSON value, and what stands at a
// path in it to be so:
//
//	json 0.hostname db1
func jsonCmd(ts *testscript.TestScript, neg bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	if len(args) == 0 {
		return
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: json [PATH VALUE]")
	}
	for step := range strings.SplitSeq(args[0], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			n, err := strconv.Atoi(step)
			if step == "length" {
				v = float64(len(at))
				continue
			}
			if err != nil || n >= len(at) {
				ts.Fatalf("%s leads out of the list of %d", args[0], len(at))
			}
			v = at[n]
		default:
			ts.Fatalf("%s leads nowhere at %s", args[0], step)
		}
	}
	got, err := json.Marshal(v)
	ts.Check(err)
	if strings.Trim(string(got), `"`) != args[1] {
		ts.Fatalf("%s is %s, want %s", args[0], got, args[1])
	}
}

// flip turns one bit in the middle of a file over.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	name := ts.MkAbs(args[0])
	text, err := os.ReadFile(name)
	ts.Check(err)
	text[len(text)/2] ^= 1
	ts.Check(os.WriteFile(name, text, 0o644))
}

// ports puts free addresses of this machine into the environment.
func ports(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: ports NAME...")
	}
	for _, name := range args {
		ts.Setenv(name, freeAddress())
	}
}
