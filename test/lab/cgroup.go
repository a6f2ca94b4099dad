package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cgroupRoot is where control groups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// makeControlGroups makes the groups that a container called name shall live
// in and returns their folders; none when the host's own systemd will give it
// a scope. Two containers in one group would mix up each other's services of
// the same name.
func makeControlGroups(name string) ([]string, error) {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return nil, nil
	}
	var made []string
	for _, dir := range []string{cgroupRoot, filepath.Join(cgroupRoot, "systemd"), filepath.Join(cgroupRoot, "unified")} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			continue
		}
		group := filepath.Join(dir, name)
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lab: control group: %w", err)
		}
		made = append(made, group)
	}
	return made, nil
}

// removeControlGroups removes the groups whose name begins with prefix, inner
// ones first. A group is busy until its last dead process has been reaped,
// which may take a moment after the kill.
func removeControlGroups(ctx context.Context, prefix string) error {
	var err error
	for range 50 {
		if err = tryRemoveControlGroups(prefix); err == nil || pause(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
	return fmt.Errorf("lab: control group: %w", err)
}

func tryRemoveControlGroups(prefix string) error {
	var dirs []string
	for _, pattern := range []string{prefix + "*", "systemd/" + prefix + "*", "unified/" + prefix + "*"} {
		tops, _ := filepath.Glob(filepath.Join(cgroupRoot, pattern))
		for _, top := range tops {
			_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
		}
	}
	slices.SortFunc(dirs, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	var errs []error
	for _, dir := range dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
