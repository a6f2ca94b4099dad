//go:build !windows

package winpkg

import (
	"context"
	"os"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Off Windows the flow runs for tests of what is the same everywhere; nothing
// of Windows itself is known.

func freshFolder(dir string) error {
	if err := atomicfile.RemoveTree(dir); err != nil {
		return fault.Wrap(err, fault.Unavailable, "winpkg: can't clear the work folder")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(err, diskCode(err), "winpkg: can't make the work folder")
	}
	return nil
}

func openLocked(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "winpkg: can't open the payload")
	}
	return f, nil
}

func installing() string { return "" }

func stillRuns(string) string { return "" }

func suspended() string { return "" }

func observe(context.Context, func(string)) (stop func() []string) {
	return func() []string { return nil }
}

func systemFolder() string { return "/" }

func systemProgram(name string) string { return name }

func registered(p inventory.Package) (Registered, error) {
	return Registered{}, fault.New(fault.Unsupported, "what %s has registered for its removal can only be read on Windows", title(p))
}

type machineFiles struct{}

func (machineFiles) regular(string) bool  { return false }
func (machineFiles) usersOwn(string) bool { return false }

func holders(*inventory.Package) string { return "" }
