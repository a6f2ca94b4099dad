package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/agent/install"
	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

// stepArg makes the test binary a child process of an agent under test.
const stepArg = "agent-test-step"

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == stepArg {
		cfg := testConfig(os.Args[2], os.Args[3])
		if err := Step(context.Background(), cfg, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == agentArg {
		os.Exit(runForTest(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

// agentArg makes the test binary a whole agent that can be killed.
const agentArg = "agent-test-run"

func runForTest(state, root string) int {
	a, err := New(context.Background(), testConfig(state, root))
	if err == nil {
		err = a.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func testConfig(state, root string) Config {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Config{
		State: Dir(state), Root: root, PolicyFile: filepath.Join(state, "policy.json"),
		Installers: map[string]Installer{"apt": scripted{state: state, root: root}, "exe": scripted{state: state, root: root}},
		Child:      append(promptly(), self, stepArg, state, root),
		Reboot:     rebootDouble(filepath.Join(state, "rebooted")),
		Log:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// promptly starts programs that end at once: under the race detector they
// sleep for a second first, and these tests start hundreds.
func promptly() []string {
	if runtime.GOOS == "windows" {
		return nil
	}
	return []string{"env", "GORACE=atexit_sleep_ms=0"}
}

// scripted stands in for the package manager: it changes the machine's list of
// packages as a real one would, so that scans and verdicts are real, and does
// what
// the file "script" in the state folder says. The real installer is tested on
// throw-away machines, not on this one.
type scripted struct{ state, root string }

func (s scripted) script() string {
	data, err := os.ReadFile(filepath.Join(s.state, "script"))
	if err != nil {
		return ""
	}
	return string(data)
}

func (s scripted) note(text string) error {
	f, err := os.OpenFile(filepath.Join(s.state, "installs.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, text)
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	return err
}

func (s scripted) Plan(_ context.Context, job install.Job) (deploy.Plan, error) {
	if s.script() == "hang in plan" {
		time.Sleep(time.Hour) // until the agent stops this process
	}
	var p deploy.Plan
	todo := job.Patches
	if job.Operation == deploy.Rollback {
		todo = job.Restored
	}
	for _, one := range todo {
		for _, it := range one.Items {
			have := job.Snapshot.Find(it.Kind, it.Name)
			if len(have) == 0 || have[0].Version == it.Version {
				continue
			}
			p.Changes = append(p.Changes, deploy.Change{Package: it.Name, Arch: it.Arch, From: have[0].Version, To: it.Version, Why: "approved"})
			p.Payloads = append(p.Payloads, it.Payload)
			p.DownloadBytes += it.Payload.Size
		}
	}
	return p, nil
}

func (s scripted) Install(ctx context.Context, job install.Job, report func(install.Progress)) (deploy.Result, error) {
	if err := s.note(fmt.Sprintf("install %s %d", job.Task, job.Attempt)); err != nil {
		return deploy.Result{}, err
	}
	if s.script() == "die before" {
		s.die()
	}
	plan, err := s.Plan(ctx, job)
	if err != nil {
		return deploy.Result{}, err
	}
	r := deploy.Result{Started: time.Now(), Changes: plan.Changes, Output: "unpacking"}
	for _, p := range plan.Payloads {
		if _, err := job.Payload(ctx, p.SHA256); err != nil {
			return r, err
		}
	}
	if s.script() == "fail" {
		r.Failures = []deploy.ItemError{{Package: plan.Changes[0].Package, Reason: "postinst says no"}}
		r.ExitCode = 100
		return r, nil
	}
	for _, c := range plan.Changes {
		report(install.Progress{Percent: 50, Package: c.Package, Line: "Setting up " + c.Package})
		if err := s.set(c.Package, c.To); err != nil {
			return r, err
		}
	}
	switch s.script() {
	case "die after":
		s.die()
	case "linger":
		if err := s.waitFor("go"); err != nil {
			return r, err
		}
	case "reboot":
		if err := s.askReboot(&r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// die ends the child at once, as kill -9 would, and lets it do so only once.
func (s scripted) die() {
	_ = os.Remove(filepath.Join(s.state, "script")) // a test that sees it die twice fails by its log
	os.Exit(137)
}

func (s scripted) waitFor(name string) error {
	if err := os.WriteFile(filepath.Join(s.state, "lingers"), nil, 0o600); err != nil {
		return err
	}
	for range 6000 {
		if _, err := os.Stat(filepath.Join(s.state, name)); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond) // another process is waited for
	}
	return fault.New(fault.Internal, "nobody said %q", name)
}

func (s scripted) Recover(ctx context.Context, job install.Job) (deploy.Result, bool, error) {
	if err := s.note(fmt.Sprintf("recover %s %d", job.Task, job.Attempt)); err != nil {
		return deploy.Result{}, false, err
	}
	plan, err := s.Plan(ctx, job)
	return deploy.Result{Output: "recovered"}, len(plan.Changes) == 0, err
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tempDir is t.TempDir, which can't clean up under Wine (atomicfile.RemoveTree
// says why), nor wait: a step outlives the agent that was killed, and Windows
// removes no file that it has open.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fettle-agent-test-")
	check(t, err)
	t.Cleanup(func() {
		err := atomicfile.RemoveTree(dir)
		for tries := 0; err != nil && tries < 2400; tries++ {
			time.Sleep(50 * time.Millisecond) // another process is waited for
			err = atomicfile.RemoveTree(dir)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return dir
}
