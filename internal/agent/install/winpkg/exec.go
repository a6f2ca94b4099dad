package winpkg

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/run"
)

// Command is an installer's call.
type Command struct {
	Argv []string
	// Line, when set, is the exact text of the command line, for programs
	// that read theirs in a way of their own; it begins with the program.
	Line string
}

// Exec runs an installer to its end and returns its exit code and its output.
// One that is stopped by the time is ended with everything that it started;
// the error says which windows it showed then.
func (w *Work) Exec(ctx context.Context, c Command) (code int64, output string, err error) {
	env, err := w.env()
	if err != nil {
		return -1, "", err
	}
	stop := w.observe(ctx, func(title string) { w.Report("the installer shows a window: " + title) })
	res, err := w.runner.Run(ctx, run.Cmd{
		Argv: c.Argv, Line: c.Line, Dir: w.Dir, Env: env, Inherit: inherited(),
		OnLine: func(_ run.Stream, text string) { w.Report(text) },
	})
	shown := stop()
	output = strings.TrimSpace(plain(res.Stdout) + "\n" + plain(res.Stderr))
	switch {
	case fault.Is(err, fault.Cancelled) && len(shown) > 0:
		return -1, output, fault.Wrap(err, fault.Cancelled, "the installer of %s was ended after %s: it waits for somebody at its window %s", w.Patch.Product, res.Duration.Round(time.Second), strings.Join(shown, ", ")).
			WithHint("it is not silent with the switches of the signed manifest")
	case fault.Is(err, fault.Cancelled):
		return -1, output, fault.Wrap(err, fault.Cancelled, "the installer of %s was ended after %s, with all that it had started", w.Patch.Product, res.Duration.Round(time.Second))
	case err != nil:
		return -1, output, fault.Wrap(err, fault.CodeOf(err), "the installer of %s can't be run", w.Patch.Product)
	}
	return int64(res.ExitCode), output, nil
}

// env keeps temporary files where no user of the machine can meddle with them.
// The folder's name says what is in it: what installers leave there to be swept
// at the next start makes no restart due (collect/state).
func (w *Work) env() ([]string, error) {
	temp := filepath.Join(w.Dir, "temp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "winpkg: the folder for temporary files can't be made")
	}
	return []string{"TEMP=" + temp, "TMP=" + temp}, nil
}

// inherited are variables that installers read besides those of run.OS.
func inherited() []string {
	return []string{
		"ALLUSERSPROFILE", "APPDATA", "LOCALAPPDATA", "PUBLIC", "COMPUTERNAME", "USERNAME", "USERDOMAIN", "USERPROFILE",
		"ProgramW6432", "CommonProgramW6432", "CommonProgramFiles(x86)", "DriverData", "HOMEDRIVE", "HOMEPATH", "OS",
		"PROCESSOR_ARCHITECTURE", "PROCESSOR_ARCHITEW6432", "PROCESSOR_IDENTIFIER", "PROCESSOR_LEVEL", "PROCESSOR_REVISION",
	}
}

// plain drops the zero bytes of UTF-16, which some of Windows' own programs
// write, and what is no UTF-8.
func plain(b []byte) string {
	return strings.ToValidUTF8(strings.ReplaceAll(strings.TrimPrefix(string(b), "\xff\xfe"), "\x00", ""), "")
}

// LogFile is the path of a log below the private folder.
func (w *Work) LogFile(name string) string { return filepath.Join(w.Dir, name) }

// Program is the full path of one of Windows' own programs, so that PATH and
// the working folder have no say.
func Program(name string) string { return systemProgram(name) }

// Exit is an exit code's meaning and its words.
type Exit struct {
	Meaning patch.ExitMeaning
	Words   string
}

// Judge says what an exit code means: by the patch's signed manifest first,
// then by the kind's own table; what neither knows is a failure. 0 is success
// where nobody says otherwise.
func Judge(code int64, manifest map[int]patch.ExitMeaning, kind map[int64]Exit) Outcome {
	code = int64(uint32(code))
	e, known := kind[code]
	if !known && code == 0 {
		e, known = Exit{Meaning: patch.ExitOK}, true
	}
	for _, form := range []int64{code, int64(int32(uint32(code)))} { // manifests have both signs
		if m, ok := manifest[int(form)]; ok {
			if !known || m != e.Meaning {
				e = Exit{Meaning: m, Words: cmpWords(e.Words, m)}
			}
			known = true
			break
		}
	}
	if !known {
		e = Exit{Meaning: patch.ExitFailed, Words: "an exit code that neither the vendor nor Windows explains"}
		if w, ok := systemErrors()[code]; ok {
			e.Words = w
		}
	}
	out := Outcome{Code: code, Meaning: e.Meaning}
	if e.Meaning != patch.ExitOK {
		out.Reason = fmt.Sprintf("%s: %s", codeText(code), e.Words)
	}
	return out
}

func cmpWords(words string, m patch.ExitMeaning) string {
	if words != "" {
		return words
	}
	return meaningWords()[m]
}

// codeText shows small codes as Windows' documents do and HRESULTs in hex.
func codeText(code int64) string {
	if code >= 0x80000000 || code >= 0x240000 && code < 0x250000 {
		return fmt.Sprintf("%d (0x%08X)", code, code)
	}
	return fmt.Sprint(code)
}

func meaningWords() map[patch.ExitMeaning]string {
	return map[patch.ExitMeaning]string{
		patch.ExitOK: "done", patch.ExitRebootDue: "a restart is due", patch.ExitRebootBegun: "the installer has begun to restart the machine",
		patch.ExitBusy: "another installation is at work", patch.ExitFailed: "the installation failed",
		patch.ExitNotNeeded: "it is installed already", patch.ExitUserCanceled: "it was cancelled",
	}
}

// Codes lists a table's codes in order, for documents and tests.
func Codes(table map[int64]Exit) []int64 { return slices.Sorted(maps.Keys(table)) }
