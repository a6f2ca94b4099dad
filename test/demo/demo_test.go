package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTour follows the ten-minute tour of the README to the letter, beside
// real machines, and looks at what each command says.
func TestTour(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	t.Chdir("../..") // where a reader of the README stands
	bin := t.TempDir()
	build := exec.CommandContext(ctx, "go", "build", "-o", bin+"/", "./cmd/...")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Somebody may be showing Fettle on this machine.
	before, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for i, line := range tour(t) {
		// Each command's output goes to a file of its own, with its exit code.
		out := filepath.Join(bin, "out", string(rune('a'+i)))
		script.WriteString(line + " >" + out + " 2>&1; echo \"exit $?\" >>" + out + "\n")
	}
	if err := os.Mkdir(filepath.Join(bin, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	work := t.TempDir()
	err = run(ctx, config{machines: 3, bin: bin, command: []string{"sh", "-c", "cd " + work + "\n" + script.String()}}, &said)
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	for i, line := range tour(t) {
		text, err := os.ReadFile(filepath.Join(bin, "out", string(rune('a'+i))))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("$ %s\n%s", line, text)
		check(t, line, string(text))
	}
	if _, err := os.Stat(filepath.Join(work, "tasks.html")); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	left = slices.DeleteFunc(left, func(dir string) bool { return slices.Contains(before, dir) })
	if err != nil || len(left) > 0 {
		t.Errorf("the demo leaves %v: %v", left, err)
	}
}

// tour reads the commands of the README's tour.
func tour(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, ok := strings.Cut(string(text), "## Ten-minute tour")
	part, _, ok2 := strings.Cut(part, "\n## ")
	if !ok || !ok2 {
		t.Fatal("the README has no ten-minute tour")
	}
	var out []string
	for line := range strings.Lines(part) {
		command, _, _ := strings.Cut(line, "#")
		if command = strings.TrimSpace(command); strings.HasPrefix(command, "fettle ") {
			out = append(out, command)
		}
	}
	if len(out) < 9 {
		t.Fatalf("the tour has only the commands %q", out)
	}
	return out
}

// check looks for what the README says of a command.
func check(t *testing.T, line, said string) {
	t.Helper()
	want := map[string][]string{
		"fettle status":             {"version 1", "signed by", "machines 3 enrolled, 3 online", "exit 0"},
		"fettle hosts":              {"demo1", "demo2", "demo3", "vulnerable", "exit 0"},
		"fettle missing --security": {"demo1", "is installed;", "exit 0"},
		"fettle patches":            {"NEEDED BY", "liblab1", "exit 0"},
		"fettle approve":            {"Nothing is installed until", "exit 0"},
		"fettle report":             {"wrote tasks.html", "exit 0"},
		"fettle audit":              {"deploy", "exit 0"},
	}
	switch {
	case strings.Contains(line, "--dry-run"):
		want[line] = []string{"demo1 would change", "new dependency", "exit 0"}
	case strings.Contains(line, "--watch"):
		want[line] = []string{"verified", "failed", "cannot migrate the database", "exit 1"}
	case strings.HasPrefix(line, "fettle deploy"):
		want[line] = []string{"nothing to do"}
	}
	for prefix, words := range want {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		for _, w := range words {
			if !strings.Contains(said, w) {
				t.Errorf("%s does not say %q:\n%s", line, w, said)
			}
		}
	}
}
