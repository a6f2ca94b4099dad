package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// baseMaxAge is how long a built root serves before it is built anew. Debian
// makes a point release about every two months; two weeks keep the root close
// to the current one without building it every day.
const baseMaxAge = 14 * 24 * time.Hour

// The recipe of a root. A change of any of these makes every cached root
// stale; raise baseEdition when [furnish] changes.
const (
	baseEdition  = "1"
	baseVariant  = "minbase"
	basePackages = "systemd,systemd-sysv,dbus,iproute2,procps,ca-certificates"
)

// CacheDir is where roots are kept between runs: FETTLE_LAB_CACHE, else
// fettle-lab in the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv("FETTLE_LAB_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("lab: no cache folder, set FETTLE_LAB_CACHE: %w", err)
	}
	return filepath.Join(dir, "fettle-lab"), nil
}

// Base returns the folder of a Debian root that machines are stacked on,
// building it with mmdebstrap if dir holds none that is fresh. It takes
// packages of the release's main suite only, so the root lacks the security
// updates since the last point release: those are real patches for tests.
//
// dir is the cache folder; "" means [CacheDir]. Progress is written to
// progress, one line a step. Concurrent calls, also of other processes, build
// once. The root must not be written to.
func Base(ctx context.Context, dir string, progress io.Writer) (string, error) {
	if err := Require(); err != nil {
		return "", err
	}
	if dir == "" {
		var err error
		if dir, err = CacheDir(); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("lab: base: %w", err)
	}
	unlock, err := LockFile(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	host, err := readHostApt(ctx)
	if err != nil {
		return "", err
	}
	prefix := host.Codename + "-" + host.Arch + "-" + recipeHash(host) + "-"
	if root := freshRoot(dir, prefix, time.Now()); root != "" {
		return root, nil
	}
	root := filepath.Join(dir, prefix+strconv.FormatInt(time.Now().Unix(), 10))
	if err := buildRoot(ctx, host, root, progress); err != nil {
		return "", err
	}
	removeOldRoots(dir, root)
	return root, nil
}

// recipeHash names a recipe: what is installed and from where.
func recipeHash(host hostApt) string {
	h := sha256.New()
	fmt.Fprintln(h, baseEdition, baseVariant, basePackages, host.Codename, host.Arch, host.MainURI)
	for _, f := range host.SourceFiles {
		fmt.Fprintln(h, f.Name, string(f.Data))
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// freshRoot is the newest finished root in dir whose name begins with prefix
// and that is younger than [baseMaxAge], or "".
func freshRoot(dir, prefix string, now time.Time) string {
	found, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
	newest, best := time.Time{}, ""
	for _, root := range found {
		sec, err := strconv.ParseInt(strings.TrimPrefix(filepath.Base(root), prefix), 10, 64)
		if err != nil {
			continue // a root still being built ends in ".part"
		}
		if built := time.Unix(sec, 0); now.Sub(built) < baseMaxAge && built.After(newest) {
			newest, best = built, root
		}
	}
	return best
}

// buildRoot runs mmdebstrap into root.part, prepares the result for use as a
// machine, and renames it to root.
func buildRoot(ctx context.Context, host hostApt, root string, progress io.Writer) error {
	part, start := root+".part", time.Now()
	fmt.Fprintf(progress, "lab: building a Debian %s root in %s (1 to 3 minutes, kept for 14 days)\n", host.Codename, root)
	argv := []string{
		"mmdebstrap", "--variant=" + baseVariant, "--include=" + basePackages,
		"--format=directory", "--architectures=" + host.Arch,
	}
	for _, opt := range host.AptOptions {
		argv = append(argv, "--aptopt="+opt)
	}
	argv = append(argv, host.Codename, part, host.MainURI)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var log strings.Builder
	out := io.MultiWriter(&log, &stepWriter{w: progress, start: start})
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Run(); err != nil {
		os.RemoveAll(part)
		return fmt.Errorf("lab: mmdebstrap: %w: %s", err, tail(log.String(), 3000))
	}
	if err := furnish(part, host); err != nil {
		os.RemoveAll(part)
		return err
	}
	if err := os.Rename(part, root); err != nil {
		return fmt.Errorf("lab: base: %w", err)
	}
	fmt.Fprintf(progress, "lab: root ready after %s\n", time.Since(start).Round(time.Second))
	return nil
}

// furnish turns a bare root into one that boots quietly in a container: the
// apt sources of this machine, no timers that would run apt at a random
// moment, no trace of this build.
func furnish(root string, host hostApt) error {
	in, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("lab: furnish: %w", err)
	}
	defer in.Close()
	for _, stale := range []string{"etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap", "etc/resolv.conf", "etc/hostname"} {
		if err := in.RemoveAll(stale); err != nil {
			return fmt.Errorf("lab: furnish: %w", err)
		}
	}
	for _, f := range host.SourceFiles {
		if err := writeIn(in, f.Name, f.Data, 0o644); err != nil {
			return err
		}
	}
	// An unreachable name server costs apt 12 s per update; a closed port on
	// loopback answers at once.
	if err := writeIn(in, "etc/resolv.conf", []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		return err
	}
	for _, unit := range []string{
		"apt-daily.timer", "apt-daily-upgrade.timer", "apt-daily.service", "apt-daily-upgrade.service",
		"systemd-networkd.service", "systemd-networkd-wait-online.service", "systemd-resolved.service",
		"e2scrub_all.timer", "fstrim.timer",
	} {
		path := filepath.Join("etc/systemd/system", unit)
		if err := errors.Join(in.RemoveAll(path), in.Symlink("/dev/null", path)); err != nil {
			return fmt.Errorf("lab: furnish: mask %s: %w", unit, err)
		}
	}
	return nil
}

// writeIn writes a file below an opened root, making its folders.
func writeIn(in *os.Root, name string, data []byte, mode os.FileMode) error {
	if err := in.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("lab: write %s: %w", name, err)
	}
	if err := in.WriteFile(name, data, mode); err != nil {
		return fmt.Errorf("lab: write %s: %w", name, err)
	}
	return nil
}

// removeOldRoots deletes every root in dir but keep, unless some machine still
// stands on it.
func removeOldRoots(dir, keep string) {
	found, _ := filepath.Glob(filepath.Join(dir, "*-*-*-*"))
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, root := range found {
		if root != keep && !strings.Contains(string(mounts), "lowerdir="+root) {
			os.RemoveAll(root)
		}
	}
}

// stepWriter passes mmdebstrap's "I: doing this" lines on, with the time since
// the start, and drops the rest.
type stepWriter struct {
	w     io.Writer
	start time.Time
	line  []byte
}

// Write implements [io.Writer].
func (s *stepWriter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b != '\n' && b != '\r' {
			s.line = append(s.line, b)
			continue
		}
		if step, ok := strings.CutPrefix(string(s.line), "I: "); ok {
			fmt.Fprintf(s.w, "lab: %3.0fs %s\n", time.Since(s.start).Seconds(), step)
		}
		s.line = s.line[:0]
	}
	return len(p), nil
}

// LockFile takes an exclusive lock on path, waiting for other holders, and
// returns what releases it.
func LockFile(ctx context.Context, path string) (func(), error) {
	l := flock.New(path)
	if _, err := l.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lab: waiting for %s, held by another run: %w", path, err)
	}
	return func() { _ = l.Unlock() }, nil
}

// pause waits d or until ctx ends. Machines of the lab are other programs with
// their own clock: polling is how one waits for them.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// sortedKeys is the keys of m in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
