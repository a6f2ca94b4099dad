package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain builds both programs and puts them first in PATH.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		bin, err := os.MkdirTemp("", "fettle-script-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		build := exec.Command("go", "build", "-o", bin+"/", "../../cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "the programs can't be built: %v\n%s", err, out)
			return 1
		}
		if err := os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// TestScripts runs every session. A session starts in an empty folder, as a
// person without settings, in UTC.
func TestScripts(t *testing.T) { testscript.Run(t, sessions("script", "")) }

// sessions are those in a folder of testdata. Their servers keep their rows in
// the database, or in a file if it is "".
func sessions(folder, database string) testscript.Params {
	return testscript.Params{
		Dir:                filepath.Join("testdata", folder),
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			s := &site{env: env, dir: env.WorkDir, database: database}
			env.Values[siteKey{}] = s
			env.Defer(s.leave)
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "home", ".config"))
			env.Setenv("FETTLE_DATA", filepath.Join(env.WorkDir, "data"))
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "publish": publishCmd, "server": serverCmd, "machine": machineCmd, "key": keyCmd, "fails": failsCmd,
			"capture": capture, "until": until, "json": jsonCmd, "flip": flip, "ports": ports,
		},
	}
}

type siteKey struct{}

func siteOf(ts *testscript.TestScript) *site { return ts.Value(siteKey{}).(*site) }

// exits runs a program and wants this very exit code:
//
//	exits 3 fettle hosts nobody
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
