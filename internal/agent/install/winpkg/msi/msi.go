// Package msi installs Windows Installer's packages (.msi) and patches (.msp)
// with msiexec, and removes them again.
//
// msiexec gets its documented switches: /qn shows nothing and asks nothing,
// /norestart leaves the restart to the agent, /l*v keeps a log, from which the
// reason of a failure is taken. Exit codes are those of the Windows Installer
// SDK, "MsiExec.exe and InstMsi.exe Error Messages".
package msi

import (
	"context"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// Package installs .msi files.
type Package struct{}

// Extension implements winpkg.Kind.
func (Package) Extension() string { return ".msi" }

// Registers implements winpkg.Kind.
func (Package) Registers() bool { return true }

// Install implements winpkg.Kind. Manifest.Argv are properties and switches
// besides the usual ones.
func (Package) Install(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	return msiexec(ctx, w, "/i", w.Payload, w.Patch.Install.Argv)
}

// Uninstall implements winpkg.Kind. The product code comes from the manifest
// or, when that names none, from what Windows lists.
func (Package) Uninstall(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	argv := w.Patch.Install.UninstallArgv
	if len(argv) > 0 && inventory.IsGUID(argv[0]) {
		return msiexec(ctx, w, "/x", argv[0], argv[1:])
	}
	if w.Product == nil || !inventory.IsGUID(w.Product.Name) {
		return winpkg.Outcome{}, fault.New(fault.NotFound, "Windows Installer does not list %s any more", w.Patch.Product)
	}
	return msiexec(ctx, w, "/x", w.Product.Name, nil)
}

// Patch installs .msp files.
type Patch struct{}

// Extension implements winpkg.Kind.
func (Patch) Extension() string { return ".msp" }

// Registers implements winpkg.Kind: a patch need not raise the version that
// its product shows.
func (Patch) Registers() bool { return false }

// Install implements winpkg.Kind.
func (Patch) Install(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	return msiexec(ctx, w, "/p", w.Payload, w.Patch.Install.Argv)
}

// Uninstall implements winpkg.Kind: UninstallArgv begins with the patch code,
// which is taken off the product that Windows lists.
func (Patch) Uninstall(ctx context.Context, w *winpkg.Work) (winpkg.Outcome, error) {
	argv := w.Patch.Install.UninstallArgv
	if len(argv) == 0 || !inventory.IsGUID(argv[0]) {
		return winpkg.Outcome{}, fault.New(fault.Unsupported, "the signed manifest of %s does not name its patch code", w.Patch.ID)
	}
	if w.Product == nil || !inventory.IsGUID(w.Product.Name) {
		return winpkg.Outcome{}, fault.New(fault.NotFound, "Windows Installer does not list the product of %s any more", w.Patch.ID)
	}
	return msiexec(ctx, w, "/package", w.Product.Name, append([]string{"/uninstall", argv[0]}, argv[1:]...))
}

// Remove uninstalls a product by its code, for other kinds whose products turn
// out to be Windows Installer's.
func Remove(ctx context.Context, w *winpkg.Work, code string) (winpkg.Outcome, error) {
	return msiexec(ctx, w, "/x", code, nil)
}

// msiexec runs msiexec and reads its log.
func msiexec(ctx context.Context, w *winpkg.Work, verb, target string, extra []string) (winpkg.Outcome, error) {
	log := w.LogFile("msiexec.log")
	argv := append([]string{winpkg.Program("msiexec"), verb, target}, extra...)
	argv = append(argv, "/qn", "/norestart", "/l*v", log)
	code, output, err := w.Exec(ctx, winpkg.Command{Argv: argv, Line: commandLine(argv)})
	if err != nil {
		return winpkg.Outcome{}, err
	}
	out := winpkg.Judge(code, w.Patch.Install.ExitCodes, codes())
	out.Output = output
	if out.Meaning != patch.ExitFailed {
		return out, nil
	}
	x := readLog(log)
	if why := x.reason(); why != "" {
		out.Reason += "; its log says: " + why
	}
	out.Output = strings.TrimSpace(out.Output + "\n" + strings.Join(x.before, "\n"))
	return out, nil
}

// commandLine writes the argument list as msiexec reads it: a property's value
// with blanks stands in quotes of its own, NAME="a value", and a quote within
// is doubled (Windows Installer SDK, "Command-Line Options").
func commandLine(argv []string) string {
	parts := make([]string, len(argv))
	for i, a := range argv {
		parts[i] = a
		name, value, isProperty := strings.Cut(a, "=")
		switch {
		case i > 0 && isProperty && propertyName(name):
			if value == "" || strings.ContainsAny(value, " \t\"") {
				parts[i] = name + `="` + strings.ReplaceAll(value, `"`, `""`) + `"`
			}
		case a == "" || strings.ContainsAny(a, " \t"):
			parts[i] = `"` + strings.ReplaceAll(a, `"`, "") + `"`
		}
	}
	return strings.Join(parts, " ")
}

// propertyName reports whether the word can be the name of a public property.
func propertyName(s string) bool {
	for i, c := range []byte(s) {
		letter := (c|0x20) >= 'a' && (c|0x20) <= 'z' || c == '_'
		if !letter && (i == 0 || c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}
