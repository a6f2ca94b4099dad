// Package msu installs Microsoft's updates of the system that come as files:
// .msu by wusa.exe, .cab by dism.exe, and removes them again.
//
// wusa is documented by Microsoft in article KB934307 and "Windows Update
// Standalone Installer", dism in "DISM Operating System Package Servicing
// Command-Line Options". Where wusa.exe is missing, an .msu is given to dism,
// which takes them since Windows 10.
package msu

import (
	"context"
	"os"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Update installs .msu files.
type Update struct{}

// Extension implements winpkg.Kind.
func (Update) Extension() string { return ".msu" }

// Registers implements winpkg.Kind: most updates show only after a restart.
func (Update) Registers() bool { return false }

// Install implements winpkg.Kind.
func (Update) Install(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	wusa := winpkg.Program("wusa")
	if missing(wusa) {
		return addPackage(ctx, w)
	}
	argv := append([]string{wusa, w.Payload, "/quiet", "/norestart"}, w.Patch.Install.Argv...)
	return call(ctx, w, argv, wusaCodes())
}

// Uninstall implements winpkg.Kind. UninstallArgv is a package's full identity,
// for dism, or a KB number; dism is the only way for updates that wusa refuses
// to remove quietly (since Windows 10).
func (Update) Uninstall(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	name, err := removable(w.Patch)
	if err != nil {
		return winpkg.Outcome{}, err
	}
	if number, isKB := kbNumber(name); isKB {
		return call(ctx, w, []string{winpkg.Program("wusa"), "/uninstall", "/kb:" + number, "/quiet", "/norestart"}, wusaCodes())
	}
	return removePackage(ctx, w, name)
}

// Cabinet installs .cab files.
type Cabinet struct{}

// Extension implements winpkg.Kind.
func (Cabinet) Extension() string { return ".cab" }

// Registers implements winpkg.Kind.
func (Cabinet) Registers() bool { return false }

// Install implements winpkg.Kind.
func (Cabinet) Install(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	return addPackage(ctx, w)
}

// Uninstall implements winpkg.Kind. UninstallArgv is the package's full
// identity.
func (Cabinet) Uninstall(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	name, err := removable(w.Patch)
	if err != nil {
		return winpkg.Outcome{}, err
	}
	return removePackage(ctx, w, name)
}

func addPackage(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	return dism(ctx, w, append([]string{"/Add-Package", "/PackagePath:" + w.Payload}, w.Patch.Install.Argv...))
}

func removePackage(ctx context.Context, w *winpkg.Work, identity string) (winpkg.Outcome, error) {
	return dism(ctx, w, []string{"/Remove-Package", "/PackageName:" + identity})
}

// dism services the running system. It speaks English on request, and one that
// says nothing has done nothing, whatever its exit code.
func dism(ctx context.Context, w *winpkg.Work, words []string) (winpkg.Outcome, error) {
	log := w.LogFile("dism.log")
	argv := append([]string{winpkg.Program("dism"), "/English", "/Online", "/Quiet", "/NoRestart", "/LogPath:" + log}, words...)
	out, err := call(ctx, w, argv, dismCodes())
	if err != nil {
		return out, err
	}
	if out.Meaning == patch.ExitOK && missing(log) {
		out.Meaning, out.Reason = patch.ExitFailed, "dism ended with 0 and has not even begun its log: it did nothing"
	}
	return out, nil
}

func call(ctx context.Context, w *winpkg.Work, argv []string, codes map[int64]winpkg.Exit) (winpkg.Outcome, error) {
	code, output, err := w.Exec(ctx, winpkg.Command{Argv: argv})
	if err != nil {
		return winpkg.Outcome{}, err
	}
	out := winpkg.Judge(code, w.Patch.Install.ExitCodes, codes)
	out.Output = output
	return out, nil
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return err != nil
}

// removable is what the manifest says to remove. It is one word, and no switch.
func removable(p patch.Patch) (string, error) {
	argv := p.Install.UninstallArgv
	if len(argv) != 1 || argv[0] == "" || strings.ContainsAny(argv[0], " /\"") {
		return "", fault.New(fault.Unsupported, "the signed manifest of %s does not name the package to remove", p.ID)
	}
	return argv[0], nil
}

// kbNumber takes "KB5034127" apart.
func kbNumber(name string) (string, bool) {
	n := strings.TrimPrefix(strings.ToUpper(name), "KB")
	return n, n != "" && strings.Trim(n, "0123456789") == ""
}
