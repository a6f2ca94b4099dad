package winapps

import (
	"io"
	"os"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/winreg"
)

// within calls do with the first key of a hive file below a user's folder, as
// it is with what stands in its logs alone. A hive that is not there has no
// keys, and do is not called.
func within(t *collect.Tree, folder, name string, do func(winreg.Key) error) error {
	f, err := t.OpenWithin(folder, name)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	file, err := regular(f)
	if err != nil {
		return err
	}
	var logs []winreg.Log
	for _, suffix := range []string{".LOG1", ".LOG2"} {
		// One that is not there, or is kept, is only lacking when the hive
		// needs it, which it says itself.
		l, err := t.OpenWithin(folder, name+suffix)
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }() // read only
		if log, err := regular(l); err == nil {
			logs = append(logs, log)
		}
	}
	h, err := winreg.OpenHive(file, file.Size(), logs...)
	if err != nil {
		return err
	}
	if err := do(h.Root()); err != nil {
		return err
	}
	if h.Dirty() {
		return fault.New(fault.Unavailable, "winapps: the last changes of %s are neither in it nor in its logs", name)
	}
	return nil
}

// regular is a file with its size, and no pipe or device.
func regular(f *os.File) (*io.SectionReader, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, fault.New(fault.Invalid, "winapps: a hive is no regular file")
	}
	return io.NewSectionReader(f, 0, info.Size()), nil
}
