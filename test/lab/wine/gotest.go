package wine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/test/lab"
)

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath, Dir           string
	TestGoFiles, XTestGoFiles []string
}

// tests are the files of tests on one system.
func (p goPackage) tests() []string { return append(slices.Clone(p.TestGoFiles), p.XTestGoFiles...) }

// WindowsTested lists the packages matching patterns that have tests which are
// only compiled for Windows, sorted by import path.
func WindowsTested(ctx context.Context, patterns ...string) ([]string, error) {
	windows, err := list(ctx, "windows", patterns)
	if err != nil {
		return nil, err
	}
	linux, err := list(ctx, "linux", patterns)
	if err != nil {
		return nil, err
	}
	everywhere := map[string][]string{}
	for _, p := range linux {
		everywhere[p.ImportPath] = p.tests()
	}
	var found []string
	for _, p := range windows {
		special := func(file string) bool { return !slices.Contains(everywhere[p.ImportPath], file) }
		if slices.ContainsFunc(p.tests(), special) {
			found = append(found, p.ImportPath)
		}
	}
	return found, nil
}

// list asks go for the packages of a system.
func list(ctx context.Context, goos string, patterns []string) ([]goPackage, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-e", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles"}, patterns...)...)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := output(cmd)
	if err != nil {
		return nil, err
	}
	var all []goPackage
	dec := json.NewDecoder(strings.NewReader(out))
	for dec.More() {
		var p goPackage
		if err := dec.Decode(&p); err != nil {
			return nil, fmt.Errorf("wine: go list: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// RunTests compiles the tests of a package for Windows and runs them on the
// host, in a folder that holds the package's testdata. Each test becomes a
// subtest of t with the output that it had. pkg is an import path; flags are
// such as "-test.run=^TestName$".
func RunTests(t *testing.T, h *Host, pkg string, flags ...string) {
	t.Helper()
	if testing.Short() {
		flags = append(flags, "-test.short")
	}
	outcomes, res, err := h.runTests(t.Context(), t.TempDir(), pkg, flags)
	if err != nil {
		t.Fatal(err)
	}
	failed := false // as the exit code says
	for _, o := range outcomes {
		failed = failed || o.excused
		t.Run(o.test, func(t *testing.T) {
			switch o.action {
			case "pass":
				t.Logf("took %.2f s there", o.seconds)
			case "skip":
				t.Skipf("on Windows:\n%s", o.said)
			default:
				failed = true
				t.Errorf("on Windows (%s):\n%s", o.action, o.said)
			}
		})
	}
	if len(outcomes) == 0 || res.Code != 0 && !failed {
		t.Errorf("%s: %d tests, exit code %d: %s\n%s", path.Base(pkg), len(outcomes), res.Code, tail(res.Stdout, 4000), tail(res.Stderr, 4000))
	}
}

// outcome is how one test on the host ended: "pass", "fail", "skip", or "run"
// when it never did. said is its output and that of its subtests.
type outcome struct {
	test, action, said string
	seconds            float64
	// excused failed for nothing but Wine's lack.
	excused bool
}

// excuse turns a failure into a pass when all that went wrong is the removal of
// t.TempDir: Wine 8 does not know the way in which Go removes files (POSIX
// semantics, FileDispositionInformationEx), and calls it an invalid function.
func (o *outcome) excuse() {
	if o.action != "fail" {
		return
	}
	for line := range strings.Lines(o.said) {
		line = strings.TrimSpace(line)
		frame := line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ")
		if !frame && !(strings.Contains(line, "TempDir RemoveAll cleanup: ") && strings.HasSuffix(line, ": Invalid function.")) {
			return
		}
		o.excused = o.excused || !frame
	}
	if o.excused {
		o.action = "pass"
	}
}

// runTests compiles a package's tests into scratch and runs them.
func (h *Host) runTests(ctx context.Context, scratch, pkg string, flags []string) ([]outcome, lab.Result, error) {
	found, err := list(ctx, "windows", []string{pkg})
	if err != nil || len(found) != 1 {
		return nil, lab.Result{}, fmt.Errorf("wine: %s: %d packages: %w", pkg, len(found), err)
	}
	exe := filepath.Join(scratch, "package.test.exe")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", exe, pkg)
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if _, err := output(build); err != nil {
		return nil, lab.Result{}, err
	}
	dir := `C:\src\` + strings.ReplaceAll(pkg, "/", `\`)
	if err := h.CopyIn(exe, dir+`\package.test.exe`); err != nil {
		return nil, lab.Result{}, err
	}
	if err := h.Remove(dir + `\testdata`); err != nil { // of an earlier run
		return nil, lab.Result{}, err
	}
	testdata := filepath.Join(found[0].Dir, "testdata")
	if _, err := os.Stat(testdata); err == nil {
		if err := h.CopyIn(testdata, dir+`\testdata`); err != nil {
			return nil, lab.Result{}, err
		}
	}
	argv := append([]string{dir + `\package.test.exe`, "-test.v=test2json", "-test.timeout=15m"}, flags...)
	res, err := h.ExecIn(ctx, dir, nil, argv...)
	if err != nil {
		return nil, res, err
	}
	outcomes, err := outcomesOf(ctx, pkg, res.Stdout)
	return outcomes, res, err
}

// outcomesOf reads what a test binary printed, in the order in which the tests
// began.
func outcomesOf(ctx context.Context, pkg, printed string) ([]outcome, error) {
	convert := exec.CommandContext(ctx, "go", "tool", "test2json", "-t", "-p", pkg)
	convert.Stdin = strings.NewReader(printed)
	lines, err := output(convert)
	if err != nil {
		return nil, err
	}
	var all []outcome
	index := map[string]int{}
	dec := json.NewDecoder(strings.NewReader(lines))
	for dec.More() {
		// The form of a line is in `go doc test2json`.
		var e struct {
			Action, Test, Output string
			Elapsed              float64 // seconds
		}
		if err := dec.Decode(&e); err != nil {
			return nil, fmt.Errorf("wine: %s: test2json: %w", pkg, err)
		}
		top, _, _ := strings.Cut(e.Test, "/")
		if top == "" {
			continue
		}
		i, known := index[top]
		if !known {
			i = len(all)
			index[top] = i
			all = append(all, outcome{test: top, action: "run"})
		}
		switch e.Action {
		case "output":
			all[i].said += e.Output
		case "pass", "fail", "skip":
			if e.Test == top {
				all[i].action, all[i].seconds = e.Action, e.Elapsed
				all[i].excuse()
			}
		}
	}
	return all, nil
}
