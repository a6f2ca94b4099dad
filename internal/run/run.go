// Package run starts external commands, and nothing else in Fettle does.
//
// A command is an argv, never a shell string. Its environment is explicit: a fixed locale, the PATH, and what the
// caller names; so output can be parsed on a machine in any language. It ends with its context: the whole process
// group is asked to stop, then killed. Output is captured up to a cap and can be watched line by line.
//
// OS runs commands for real; Recorded answers from a fixture file, for tests of tools that a test machine lacks.
package run

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Defaults of Cmd's fields.
const (
	DefaultMaxOutput = 1 << 20
	DefaultGrace     = 5 * time.Second
)

// Stream tells a command's two outputs apart.
type Stream int

// The two outputs of a command.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// String returns "stdout" or "stderr".
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// Runner runs one command to its end.
type Runner interface {
	// Run returns an error only when the command gave no exit code: it is missing (fault.NotFound), can't be started
	// (fault.Unavailable), was stopped by ctx or its timeout (fault.Cancelled) or died of a signal (fault.Unavailable).
	// An exit code other than 0 is a Result; see Result.Err. The Result holds the captured output in every case.
	Run(ctx context.Context, cmd Cmd) (Result, error)
}

// Cmd is a command to run.
type Cmd struct {
	// Argv is the program, as a path or a name to be found in PATH, and its arguments.
	Argv []string
	// Line, when set, is on Windows the exact text of the command line that the program gets instead of one made from Argv:
	// some programs, msiexec among them, read theirs in a way of their own. Elsewhere it is not looked at.
	Line string
	// Outlives says that the command is to go on when this process ends; on Windows it leaves the job that this process is in,
	// where the job allows that. A context that ends stops it all the same.
	Outlives bool
	// Dir is the working directory; empty means this process's.
	Dir string
	// Env adds KEY=VALUE pairs to the default environment (see OS) and overrides it.
	Env []string
	// Inherit names variables of this process that the command gets too when they are set, such as "https_proxy".
	Inherit []string
	// Stdin is what the command reads; nil means an empty input.
	Stdin io.Reader
	// Timeout bounds the run; 0 means that only the context does.
	Timeout time.Duration
	// Grace is the time between asking the command to stop and killing it; 0 means DefaultGrace. It is also how long
	// Run waits for outputs to close after the command itself has ended, as a daemon that it started may hold them.
	Grace time.Duration
	// MaxOutput caps what is captured of each stream, in bytes; 0 means DefaultMaxOutput. The middle is left out then.
	MaxOutput int
	// Stdout, when set, gets standard output as it comes instead of its being captured; for output of any length.
	// When it fails, the command is stopped and Run returns its error.
	Stdout io.Writer
	// OnLine, when set, is called for each line as it comes, without its line break, never from two goroutines at once.
	// Lines are cut at 64 kB.
	OnLine func(stream Stream, line string)
}

// String shows the argv for logs, with quotes where needed. It is never given to a shell.
func (c Cmd) String() string { return quote(c.Argv) }

// Result is what a command left behind.
type Result struct {
	// Argv is the command that ran.
	Argv []string
	// ExitCode is the command's exit status, -1 when it has none.
	ExitCode int
	// Stdout and Stderr are the captured outputs.
	Stdout, Stderr []byte
	// Truncated reports that a stream was longer than MaxOutput; a mark in it says how much is missing.
	Truncated bool
	// Duration is the time from start to end.
	Duration time.Duration
}

// Err returns nil for exit code 0, else a fault.Unavailable that names the command, the code and the last lines that it
// wrote to standard error, or to standard output when that is empty.
func (r Result) Err() error {
	if r.ExitCode == 0 {
		return nil
	}
	return fault.Wrap(fmt.Errorf("%s", tail(r)), fault.Unavailable, "run: %s failed with exit code %d", quote(r.Argv), r.ExitCode)
}

// tail returns the last three lines that say why a command failed.
func tail(r Result) string {
	text := strings.TrimSpace(string(r.Stderr))
	if text == "" {
		text = strings.TrimSpace(string(r.Stdout))
	}
	if text == "" {
		return "it wrote nothing"
	}
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// quote joins an argv for reading. Arguments with blanks or quotes are quoted as in Go.
func quote(argv []string) string {
	parts := make([]string, len(argv))
	for i, a := range argv {
		parts[i] = a
		if a == "" || strings.ContainsAny(a, " \t\r\n\"'`\\") {
			parts[i] = fmt.Sprintf("%q", a)
		}
	}
	return strings.Join(parts, " ")
}
