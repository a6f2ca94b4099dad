package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// OS runs commands on this machine.
//
// Each command's environment is PATH (this process's, or the usual system folders when it has none), LC_ALL and LANG
// C.UTF-8, HOME and TMPDIR when this process has them, on Windows also the variables that programs need to start there;
// then Cmd.Inherit, then Cmd.Env.
type OS struct{}

var _ Runner = OS{}

const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Run implements Runner.
func (OS) Run(ctx context.Context, cmd Cmd) (Result, error) {
	res := Result{Argv: cmd.Argv, ExitCode: -1}
	if len(cmd.Argv) == 0 || cmd.Argv[0] == "" {
		return res, fault.New(fault.Internal, "run: no command given")
	}
	if cmd.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cmd.Timeout)
		defer cancel()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	grace := cmd.Grace
	if grace <= 0 {
		grace = DefaultGrace
	}
	out, errOut := outputs(cmd, stop)
	c := exec.CommandContext(ctx, cmd.Argv[0], cmd.Argv[1:]...)
	c.Dir, c.Env, c.Stdin = cmd.Dir, environment(cmd), cmd.Stdin
	c.Stdout, c.Stderr = out, errOut
	c.WaitDelay = grace
	setLine(c, cmd.Line)
	g := newGroup(c, cmd.Outlives)
	defer g.release()
	c.Cancel = func() error { return g.interrupt() }

	start := time.Now()
	err := c.Start()
	if err == nil {
		stuck := g.started()
		if stuck != nil {
			g.kill()
		}
		err = c.Wait()
		if stuck != nil && ctx.Err() == nil {
			err = stuck
		}
		if ctx.Err() != nil {
			g.kill() // children that ignored the request, or whose parent went first
		}
	}
	res.Duration = time.Since(start)
	res.Stdout, res.Stderr = out.finish(), errOut.finish()
	res.Truncated = out.left > 0 || errOut.left > 0
	if c.ProcessState != nil {
		res.ExitCode = c.ProcessState.ExitCode()
	}
	return res, explain(ctx, res, err)
}

// explain turns what os/exec says into the errors that Runner promises.
func explain(ctx context.Context, res Result, err error) error {
	var exit *exec.ExitError
	cause := context.Cause(ctx)
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil:
		return nil // a daemon that the command started may keep its outputs open: not the command's failure
	case errors.As(cause, new(*sinkError)):
		return fault.Wrap(cause, fault.CodeOf(errors.Unwrap(cause)), "run: stopped %s as its output can't be stored", res.Argv[0])
	case errors.Is(cause, context.DeadlineExceeded):
		return fault.Wrap(cause, fault.Cancelled, "run: %s took longer than allowed and was stopped after %s", quote(res.Argv), res.Duration.Round(time.Millisecond))
	case ctx.Err() != nil:
		return fault.Wrap(cause, fault.Cancelled, "run: %s was stopped", quote(res.Argv))
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return fault.Wrap(err, fault.NotFound, "run: %s is not installed on this machine", res.Argv[0])
	case errors.As(err, &exit) && res.ExitCode >= 0:
		return nil // the exit code says it
	case errors.As(err, &exit):
		return fault.Wrap(err, fault.Unavailable, "run: %s died: %s", quote(res.Argv), exit.ProcessState)
	}
	return fault.Wrap(err, fault.Unavailable, "run: can't run %s", quote(res.Argv))
}

func environment(cmd Cmd) []string {
	path := os.Getenv("PATH")
	if path == "" && runtime.GOOS != "windows" {
		path = systemPath
	}
	env := []string{"PATH=" + path, "LC_ALL=C.UTF-8", "LANG=C.UTF-8"}
	names := append([]string{"HOME", "TMPDIR"}, cmd.Inherit...)
	if runtime.GOOS == "windows" {
		names = append([]string{
			"SystemRoot", "SystemDrive", "windir", "ComSpec", "PATHEXT", "TEMP", "TMP", "USERPROFILE",
			"ProgramData", "ProgramFiles", "ProgramFiles(x86)", "CommonProgramFiles", "PSModulePath", "NUMBER_OF_PROCESSORS",
		}, names...)
	}
	for _, n := range names {
		if v, ok := os.LookupEnv(n); ok {
			env = append(env, n+"="+v)
		}
	}
	return append(env, cmd.Env...) // os/exec lets the last of two win
}

// outputs builds the two sinks. One mutex keeps OnLine to one goroutine at a time.
func outputs(cmd Cmd, stop context.CancelCauseFunc) (out, errOut *sink) {
	limit := cmd.MaxOutput
	if limit <= 0 {
		limit = DefaultMaxOutput
	}
	mu := new(sync.Mutex)
	out = &sink{mu: mu, stream: Stdout, limit: limit, onLine: cmd.OnLine, to: cmd.Stdout, stop: stop}
	errOut = &sink{mu: mu, stream: Stderr, limit: limit, onLine: cmd.OnLine, stop: stop}
	return out, errOut
}

// sinkError marks that Cmd.Stdout refused the output.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return fmt.Sprintf("writing its output: %v", e.err) }
func (e *sinkError) Unwrap() error { return e.err }
