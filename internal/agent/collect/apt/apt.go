// Package apt reads what the machine's administrator has set for apt: pins
// (apt_preferences(5)), APT::Default-Release (apt.conf(5)), and archives that
// are not the distribution's own.
package apt

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

const maxFile = 4 << 20

// Collector fills the pins, the default release and the third-party archives
// of inventory.Policy. A damaged file is reported and the others are used.
func Collector() collect.Collector {
	return collect.Collector{Name: "apt", Collect: gather}
}

func gather(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	var errs []error
	s.Policy.Pins, errs = pins(t)
	var err error
	if s.Policy.DefaultRelease, err = defaultRelease(t); err != nil {
		errs = append(errs, err)
	}
	if s.Policy.ThirdParty, err = thirdParty(t, s.OS.ID); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// parts lists the files of a configuration folder that apt reads, in apt's
// order: names of letters, digits, "_-:." that have no extension or this one;
// hidden ones and folders are left out (apt-pkg, GetListOfFilesInDir).
func parts(t *collect.Tree, dir, ext string) ([]string, error) {
	names, err := t.Names(dir)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		e := path.Ext(n)
		return n == "" || n[0] == '.' || strings.IndexFunc(n, strange) >= 0 || (e != "" && e != "."+ext)
	})
	for i, n := range names {
		names[i] = dir + "/" + n
	}
	return names, nil
}

func strange(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("_-:.", r)
}

// read returns a file, and nothing when it is absent or a folder.
func read(t *collect.Tree, name string) ([]byte, error) {
	data, err := t.ReadFile(name, maxFile)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return data, err
}
