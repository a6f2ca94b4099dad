//go:build unix

package run_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/run"
)

// sh runs a script of the test's own; the product never does.
func sh(script string) run.Cmd { return run.Cmd{Argv: []string{"/bin/sh", "-c", script}} }

func TestRun(t *testing.T) {
	res, err := run.OS{}.Run(t.Context(), sh("echo out; echo err >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if string(res.Stdout) != "out\n" || string(res.Stderr) != "err\n" || res.ExitCode != 3 || res.Truncated || res.Duration <= 0 {
		t.Errorf("%+v", res)
	}
	if err := res.Err(); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "exit code 3: err") {
		t.Errorf("Err() = %v", err)
	}
	if res, err = (run.OS{}).Run(t.Context(), run.Cmd{Argv: []string{"cat"}, Stdin: strings.NewReader("in")}); err != nil || string(res.Stdout) != "in" || res.Err() != nil {
		t.Errorf("%+v %v", res, err)
	}
}

func TestEnvironmentIsExplicit(t *testing.T) {
	t.Setenv("FETTLE_SECRET", "leaked")
	t.Setenv("FETTLE_WANTED", "wanted")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("HOME", "/home/x")
	t.Setenv("TMPDIR", "/tmp/y")
	cmd := run.Cmd{Argv: []string{"env"}, Inherit: []string{"FETTLE_WANTED", "FETTLE_UNSET"}, Env: []string{"LANG=C", "A=1"}}
	res, err := run.OS{}.Run(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for l := range strings.Lines(string(res.Stdout)) {
		k, v, _ := strings.Cut(strings.TrimSpace(l), "=")
		got[k] = v
	}
	want := map[string]string{"PATH": os.Getenv("PATH"), "LC_ALL": "C.UTF-8", "LANG": "C", "A": "1", "HOME": "/home/x", "TMPDIR": "/tmp/y", "FETTLE_WANTED": "wanted"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		cmd  run.Cmd
		code fault.Code
		text string
	}{
		{"no command", run.Cmd{}, fault.Internal, "no command"},
		{"unknown name", run.Cmd{Argv: []string{"fettle-no-such-command"}}, fault.NotFound, "is not installed"},
		{"unknown path", run.Cmd{Argv: []string{"/no/such/command"}}, fault.NotFound, "is not installed"},
		{"not executable", run.Cmd{Argv: []string{"/etc/passwd"}}, fault.Unavailable, "can't run"},
		{"died of a signal", sh("kill -9 $$"), fault.Unavailable, "signal: killed"},
		{"too slow", run.Cmd{Argv: []string{"sleep", "60"}, Timeout: 50 * time.Millisecond}, fault.Cancelled, "longer than allowed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, err := run.OS{}.Run(t.Context(), tc.cmd)
			if !fault.Is(err, tc.code) || !strings.Contains(err.Error(), tc.text) || res.ExitCode != -1 {
				t.Errorf("got %v, exit code %d", err, res.ExitCode)
			}
		})
	}
}

// TestCancelKillsTheWholeGroup starts a child of a child that ignores the request to stop, and cancels once it is up.
func TestCancelKillsTheWholeGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var child int
	cmd := sh("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait")
	cmd.Grace = 100 * time.Millisecond
	cmd.OnLine = func(_ run.Stream, line string) {
		child, _ = strconv.Atoi(line)
		cancel()
	}
	_, err := run.OS{}.Run(ctx, cmd)
	if !fault.Is(err, fault.Cancelled) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if child == 0 {
		t.Fatal("there was no child")
	}
	for range 12000 { // init may need a moment to reap it
		if gone(child) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d still runs", child)
}

func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return bytes.Contains(stat, []byte(") Z ")) || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// TestDaemonThatKeepsOutputsOpen is what a maintainer script does that starts a service by hand.
func TestDaemonThatKeepsOutputsOpen(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	cmd := sh("sleep 300 & echo $! >" + pidFile + "; echo done")
	cmd.Grace = 100 * time.Millisecond
	res, err := run.OS{}.Run(t.Context(), cmd)
	if err != nil || res.ExitCode != 0 || string(res.Stdout) != "done\n" || res.Duration > 60*time.Second {
		t.Errorf("%+v %v", res, err)
	}
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || gone(pid) {
		t.Fatalf("the daemon must live on: pid %d, %v", pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestOutputCap(t *testing.T) {
	for _, tc := range []struct {
		size, limit int
		want        string
	}{
		{10, 10, "0123456789"},
		{11, 10, "01234\n[... 1 bytes left out ...]\n67890"},
		{100000, 10, "01234\n[... 99990 bytes left out ...]\n56789"},
	} {
		text := strings.Repeat("0123456789", tc.size/10+1)[:tc.size]
		res, err := run.OS{}.Run(t.Context(), run.Cmd{Argv: []string{"cat"}, Stdin: strings.NewReader(text), MaxOutput: tc.limit})
		if err != nil {
			t.Fatal(err)
		}
		if string(res.Stdout) != tc.want || res.Truncated != (tc.size > tc.limit) {
			t.Errorf("%d bytes, limit %d: got %q", tc.size, tc.limit, res.Stdout)
		}
	}
}

func TestLinesAndStdoutWriter(t *testing.T) {
	var lines []string
	var to bytes.Buffer
	cmd := sh(`printf 'a\r\n\nb'; sleep 0.1; printf 'c\nlast'; printf 'e\n' >&2`)
	cmd.OnLine = func(s run.Stream, l string) { lines = append(lines, s.String()+" "+l) }
	cmd.Stdout = &to
	res, err := run.OS{}.Run(t.Context(), cmd)
	if err != nil || len(res.Stdout) != 0 || to.String() != "a\r\n\nbc\nlast" {
		t.Fatalf("%+v %v %q", res, err, to.String())
	}
	got := strings.Join(lines, "|")
	if strings.Replace(got, "stderr e|", "", 1) != "stdout a|stdout |stdout bc|stdout last" && got != "stdout a|stdout |stdout bc|stdout last|stderr e" {
		t.Errorf("lines: %s", got)
	}

	lines = nil
	cmd = run.Cmd{Argv: []string{"cat"}, Stdin: strings.NewReader(strings.Repeat("x", 200000) + "\ny\n"), OnLine: cmd.OnLine}
	if _, err := (run.OS{}).Run(t.Context(), cmd); err != nil || len(lines) != 2 || len(lines[0]) != len("stdout ")+64<<10 || lines[1] != "stdout y" {
		t.Errorf("%d lines, %v", len(lines), err)
	}
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, fault.New(fault.Exhausted, "disk full") }

func TestStopsWhenOutputCannotBeStored(t *testing.T) {
	cmd := run.Cmd{Argv: []string{"yes"}, Stdout: fullWriter{}}
	if _, err := (run.OS{}).Run(t.Context(), cmd); !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
}

func TestRecorded(t *testing.T) {
	r, err := run.LoadRecorded("testdata/recorded.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	check := run.Cmd{Argv: []string{"dnf", "-q", "check-update"}, OnLine: func(s run.Stream, l string) { lines = append(lines, s.String()+": "+l) }}
	res, err := r.Run(t.Context(), check)
	if err != nil || res.ExitCode != 100 || string(res.Stdout) != "openssl.x86_64   1:3.0.7-28.el9   baseos\n" {
		t.Errorf("%+v %v", res, err)
	}
	for range 2 {
		if res, err = r.Run(t.Context(), check); err != nil || res.ExitCode != 0 || len(res.Stdout) != 0 {
			t.Errorf("%+v %v", res, err)
		}
	}
	if d := cmp.Diff([]string{"stdout: openssl.x86_64   1:3.0.7-28.el9   baseos"}, lines); d != "" {
		t.Error(d)
	}
	if _, err := r.Run(t.Context(), run.Cmd{Argv: []string{"dnf", "upgrade"}}); !fault.Is(err, fault.NotFound) {
		t.Errorf("unrecorded: %v", err)
	}
	if d := cmp.Diff([]string{`rpm -q "no thing" (answer 1)`}, r.Unused()); d != "" {
		t.Error(d)
	}
	if res, err = r.Run(t.Context(), run.Cmd{Argv: []string{"rpm", "-q", "no thing"}}); err != nil || !strings.Contains(res.Err().Error(), "package no thing is not installed") {
		t.Errorf("%+v %v", res, err)
	}
	if len(r.Unused()) != 0 || len(r.Calls()) != 5 {
		t.Errorf("unused %v, calls %v", r.Unused(), r.Calls())
	}
	for _, bad := range []string{"-- stdin: x --\n", "-- stdout --\n", "-- exit x: y --\n"} {
		if _, err := run.ParseRecorded([]byte(bad)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
