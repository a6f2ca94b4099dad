// Package exe runs installers that are programs, with the silent switches that
// their vendor documents and the signed manifest names, and removes their
// products by what these have registered.
package exe

import (
	"context"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Removal uninstalls a product of Windows Installer by its code: some programs
// install one.
type Removal func(ctx context.Context, w *winpkg.Work, code string) (winpkg.Outcome, error)

// Installer runs .exe files.
type Installer struct {
	remove Removal
}

// New returns the kind; remove is msi.Remove.
func New(remove Removal) Installer { return Installer{remove} }

// Extension implements winpkg.Kind.
func (Installer) Extension() string { return ".exe" }

// Registers implements winpkg.Kind.
func (Installer) Registers() bool { return true }

// Install implements winpkg.Kind: Manifest.Argv is "{payload}" and switches.
func (in Installer) Install(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	argv, err := expand(w.Patch.Install.Argv, w.Payload)
	if err != nil {
		return winpkg.Outcome{}, err
	}
	return in.run(ctx, w, argv)
}

// Uninstall implements winpkg.Kind: UninstallArgv is "{uninstall}" or
// "{payload}", and switches.
func (in Installer) Uninstall(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	argv := w.Patch.Install.UninstallArgv
	if len(argv) == 0 || argv[0] != "{uninstall}" {
		argv, err := expand(argv, w.Payload)
		if err != nil {
			return winpkg.Outcome{}, err
		}
		return in.run(ctx, w, argv)
	}
	r, err := w.Removal(argv[1:])
	if err != nil {
		return winpkg.Outcome{}, err
	}
	if r.ProductCode != "" {
		return in.remove(ctx, w, r.ProductCode)
	}
	return in.run(ctx, w, r.Argv)
}

// expand puts the verified file in place of its word. Nothing else can be the
// program.
func expand(argv []string, payload string) ([]string, error) {
	if len(argv) == 0 || argv[0] != "{payload}" || payload == "" {
		return nil, fault.New(fault.Invalid, "exe: the signed manifest does not say how to run the file: its first word must be {payload}")
	}
	out := []string{payload}
	for _, a := range argv[1:] {
		out = append(out, strings.ReplaceAll(a, "{payload}", payload))
	}
	return out, nil
}

func (in Installer) run(ctx context.Context, w *winpkg.Work, argv []string) (winpkg.Outcome, error) {
	code, output, err := w.Exec(ctx, winpkg.Command{Argv: argv})
	if err != nil {
		return winpkg.Outcome{}, err
	}
	out := winpkg.Judge(code, w.Patch.Install.ExitCodes, codes())
	out.Output = output
	return out, nil
}

// codes are those that installers share by custom: many hand on what Windows
// Installer gave them.
func codes() map[int64]winpkg.Exit {
	out := winpkg.CustomaryExits()
	// NSIS and Inno Setup use 1 and 2 for "cancelled" and "aborted"; what the
	// vendor says in the manifest comes first.
	out[1] = winpkg.Exit{Meaning: patch.ExitFailed, Words: "the installer was cancelled or could not start (code 1 of NSIS and Inno Setup)"}
	out[2] = winpkg.Exit{Meaning: patch.ExitFailed, Words: "the installer ended itself (code 2 of NSIS and Inno Setup)"}
	return out
}
