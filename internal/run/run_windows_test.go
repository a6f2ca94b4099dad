package run

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/fault"
)

// The test binary plays the commands that the tests start.
const (
	playLonger = "play-longer" // start "last" beside itself and wait
	playLast   = "play-last"   // say that it runs, and write a file when it is told to
	playMark   = "play-mark"   // write a file at once
	playWaiter = "play-waiter" // start "last" by Run, outliving, and end before it
)

// The endings of the files by which "last" and the tests agree on a moment.
const begun, goOn = ".begun", ".go"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case playLast:
			_ = os.WriteFile(os.Args[2]+begun, nil, 0o600)
			if appears(os.Args[2]+goOn, 5*time.Minute) {
				_ = os.WriteFile(os.Args[2], nil, 0o600)
			}
			return
		case playMark:
			_ = os.WriteFile(os.Args[2], nil, 0o600)
			return
		case playLonger:
			self, _ := os.Executable()
			if err := exec.Command(self, playLast, os.Args[2]).Start(); err != nil {
				os.Exit(3)
			}
			fmt.Println("started")
			time.Sleep(time.Minute)
			return
		case playWaiter:
			go func() {
				self, _ := os.Executable()
				_, _ = OS{}.Run(context.Background(), Cmd{Argv: []string{self, playLast, os.Args[2]}, Outlives: true})
			}()
			appears(os.Args[2]+begun, 5*time.Minute)
			os.Exit(7)
		}
	}
	os.Exit(m.Run())
}

func mark(t *testing.T) string {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("fettle-run-%d-%s", os.Getpid(), t.Name()))
	t.Cleanup(func() { // there or not
		for _, ending := range []string{"", begun, goOn} {
			_ = os.Remove(path + ending)
		}
	})
	return path
}

// tell lets "last" go on.
func tell(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path+goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func appears(path string, within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // other processes work
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNothingRunsOutsideTheJob: a command does nothing, and starts nothing,
// before it is in its job.
func TestNothingRunsOutsideTheJob(t *testing.T) {
	file := mark(t)
	c := exec.Command(self(t), playMark, file)
	g := newGroup(c, false)
	defer g.release()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if appears(file, time.Second) {
		t.Error("the command ran before it was in the job")
	}
	if err := g.started(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil || !appears(file, time.Second) || g.job == 0 {
		t.Errorf("%v; job %v", err, g.job)
	}
}

// TestStoppedBeforeItRan: a stop that comes before the command is in its job
// ends it all the same.
func TestStoppedBeforeItRan(t *testing.T) {
	file := mark(t)
	c := exec.Command(self(t), playMark, file)
	g := newGroup(c, false)
	defer g.release()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.interrupt(); err != nil {
		t.Fatal(err)
	}
	if err := g.started(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || appears(file, time.Second) {
		t.Errorf("it ran: %v", err)
	}
}

// TestStopEndsTheWholeGroup: what a command started goes with it.
func TestStopEndsTheWholeGroup(t *testing.T) {
	file := mark(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := OS{}.Run(ctx, Cmd{Argv: []string{self(t), playLonger, file}, OnLine: func(Stream, string) { cancel() }})
	if !fault.Is(err, fault.Cancelled) {
		t.Errorf("got %v", err)
	}
	tell(t, file)
	if appears(file, 2*time.Second) {
		t.Error("the command's child lives on")
	}
}

// TestOutlives: a command goes on when the program that started it ends.
func TestOutlives(t *testing.T) {
	file := mark(t)
	res, err := OS{}.Run(t.Context(), Cmd{Argv: []string{self(t), playWaiter, file}, Outlives: true})
	if err != nil || res.ExitCode != 7 {
		t.Fatalf("exit code %d, %v", res.ExitCode, err)
	}
	tell(t, file)
	if !appears(file, 5*time.Minute) {
		t.Error("the command ended with its starter")
	}
}

// TestBreakAway: in a job that ends with its last handle, as task schedulers and
// remote shells make them, only a command that breaks away lives on; asking for
// it in a job that forbids it would keep the command from starting. It comes
// last: this process does not leave the job again.
func TestBreakAway(t *testing.T) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	set := func(flags uint32) {
		t.Helper()
		info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: flags}}
		if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))); err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	if err := windows.AssignProcessToJobObject(job, windows.CurrentProcess()); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []uint32{0, windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK} {
		set(flags)
		var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION // Wine 8 keeps no flags but that which ends all
		if err := windows.QueryInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)), nil); err != nil {
			t.Fatal(err)
		}
		want := info.BasicLimitInformation.LimitFlags&windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK != 0
		if got := mayBreakAway(); got != want {
			t.Errorf("with the flags %#x: %v, the job says %v", flags, got, want)
		}
		if res, err := (OS{}).Run(t.Context(), Cmd{Argv: []string{"cmd.exe", "/c", "exit 5"}, Outlives: true}); err != nil || res.ExitCode != 5 {
			t.Errorf("with the flags %#x a command ends with %d, %v", flags, res.ExitCode, err)
		}
	}
}
