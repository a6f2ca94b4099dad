package run

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// Recorded is a Runner for tests that answers from a fixture. The fixture is a txtar archive; the file names are the
// output and the argv as Cmd.String shows it:
//
//	-- stdout: dnf -q check-update --
//	openssl.x86_64   1:3.0.7-28.el9   baseos
//	-- exit 100: dnf -q check-update --
//	-- stderr: rpm -q nothing --
//	package nothing is not installed
//
// A second stdout, stderr or exit for the same argv starts the answer to the next call; the last answer repeats. A
// command that is not in the fixture is fault.NotFound.
type Recorded struct {
	mu      sync.Mutex
	answers map[string][]*answer
	calls   []string
}

type answer struct {
	set            [3]bool // stdout, stderr, exit
	stdout, stderr []byte
	exit           int
	used           bool
}

var _ Runner = (*Recorded)(nil)

// LoadRecorded reads a fixture file.
func LoadRecorded(path string) (*Recorded, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "run: can't read the recording %s", path)
	}
	return ParseRecorded(data)
}

// ParseRecorded reads a fixture; see Recorded for the form.
func ParseRecorded(data []byte) (*Recorded, error) {
	r := &Recorded{answers: map[string][]*answer{}}
	var open *answer
	which := 0
	for line := range bytes.Lines(data) {
		name, ok := sectionName(line)
		if !ok {
			if open != nil {
				open.add(which, line)
			}
			continue // before the first section stands a comment
		}
		kind, argv, ok := strings.Cut(name, ": ")
		exit := 0
		which = slices.Index([]string{"stdout", "stderr"}, kind)
		if code, isExit := strings.CutPrefix(kind, "exit "); isExit {
			n, err := strconv.Atoi(code)
			if err != nil {
				return nil, fault.New(fault.Invalid, "run: recording: %q is no exit code", code)
			}
			exit, which = n, 2
		}
		if !ok || which < 0 {
			return nil, fault.New(fault.Invalid, "run: recording: %q is not \"stdout: argv\", \"stderr: argv\" or \"exit N: argv\"", name)
		}
		open = r.at(argv, which)
		open.set[which] = true
		if which == 2 {
			open.exit = exit
		}
	}
	return r, nil
}

// at returns the answer that a section belongs to.
func (r *Recorded) at(argv string, which int) *answer {
	list := r.answers[argv]
	if n := len(list); n > 0 && !list[n-1].set[which] {
		return list[n-1]
	}
	a := new(answer)
	r.answers[argv] = append(list, a)
	return a
}

func (a *answer) add(which int, line []byte) {
	switch which {
	case 0:
		a.stdout = append(a.stdout, line...)
	case 1:
		a.stderr = append(a.stderr, line...)
	}
}

// sectionName reads a txtar marker line, "-- name --".
func sectionName(line []byte) (string, bool) {
	s := strings.TrimRight(string(line), "\r\n")
	if len(s) < 7 || !strings.HasPrefix(s, "-- ") || !strings.HasSuffix(s, " --") {
		return "", false
	}
	return strings.TrimSpace(s[3 : len(s)-3]), true
}

// Run implements Runner from the recording.
func (r *Recorded) Run(ctx context.Context, cmd Cmd) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{Argv: cmd.Argv, ExitCode: -1}, fault.Wrap(err, fault.Cancelled, "run: %s was stopped", cmd)
	}
	a, err := r.take(cmd)
	if err != nil {
		return Result{Argv: cmd.Argv, ExitCode: -1}, err
	}
	var sinkErr error
	out, errOut := outputs(cmd, func(err error) { sinkErr = err })
	_, _ = out.Write(a.stdout)
	_, _ = errOut.Write(a.stderr)
	res := Result{Argv: cmd.Argv, ExitCode: a.exit, Stdout: out.finish(), Stderr: errOut.finish(), Duration: time.Millisecond}
	res.Truncated = out.left > 0 || errOut.left > 0
	if sinkErr != nil {
		return res, fault.Wrap(sinkErr, fault.Unavailable, "run: stopped %s as its output can't be stored", cmd.Argv[0])
	}
	return res, nil
}

func (r *Recorded) take(cmd Cmd) (*answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := cmd.String()
	r.calls = append(r.calls, key)
	list := r.answers[key]
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "run: %s is not in the recording", key)
	}
	for _, a := range list {
		if !a.used {
			a.used = true
			return a, nil
		}
	}
	return list[len(list)-1], nil
}

// Calls returns the commands run so far, as Cmd.String shows them.
func (r *Recorded) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// Unused returns the recorded answers that no call has asked for, sorted, so that a test can see that its fixture is used up.
func (r *Recorded) Unused() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for argv, list := range r.answers {
		for i, a := range list {
			if !a.used {
				out = append(out, fmt.Sprintf("%s (answer %d)", argv, i+1))
			}
		}
	}
	slices.Sort(out)
	return out
}
