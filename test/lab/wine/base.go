package wine

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fettlehq/fettle/test/lab"
)

// sources are our own programs that a prefix needs, compiled when it is made.
//
//go:embed shim/*.c
var sources embed.FS

// edition names the recipe of a prefix; raise it when [makePrefix] changes.
const edition = "1"

// compiler is the cross compiler of Debian's gcc-mingw-w64-x86-64-posix.
const compiler = "x86_64-w64-mingw32-gcc-posix"

// tools maps each program that hosts and their software need to its package.
func tools() map[string]string {
	return map[string]string{
		"wine": "wine wine64", "wineserver": "wine", compiler: "gcc-mingw-w64-x86-64-posix",
		"wixl": "wixl", "msibuild": "msitools", "makensis": "nsis", "osslsigncode": "osslsigncode", "openssl": "openssl",
	}
}

// Require reports in one error what this machine lacks to run Windows hosts,
// with the command that installs it.
func Require() error {
	if err := lab.Require(); err != nil {
		return err
	}
	var missing []string
	for tool, pkg := range tools() {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("wine: tools are missing: run `make setup` or `apt-get install --no-install-recommends %s`", strings.Join(missing, " "))
	}
	return nil
}

// Base returns the prefix that hosts are stacked on, making it if the lab's
// cache has none of this version of Wine and of this recipe; that takes about
// 20 seconds and 700 MB. Concurrent calls, also of other processes, make it
// once. It must not be written to.
func Base(ctx context.Context, progress io.Writer) (string, error) {
	if err := Require(); err != nil {
		return "", err
	}
	dir, err := lab.CacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("wine: base: %w", err)
	}
	unlock, err := lab.LockFile(ctx, filepath.Join(dir, "wine.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	key, err := prefixKey(ctx)
	if err != nil {
		return "", err
	}
	prefix := filepath.Join(dir, "wine-"+key)
	if _, err := os.Stat(prefix); err == nil {
		return prefix, nil
	}
	if err := makePrefix(ctx, prefix, progress); err != nil {
		return "", err
	}
	removeOthers(dir, prefix)
	return prefix, nil
}

// prefixKey names what a prefix was made of and by.
func prefixKey(ctx context.Context) (string, error) {
	version, err := output(exec.CommandContext(ctx, "wine", "--version"))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, edition, version)
	for _, name := range []string{"bcryptprimitives.c", "labrun.c"} {
		text, err := sources.ReadFile("shim/" + name)
		if err != nil {
			return "", fmt.Errorf("wine: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// makePrefix makes a prefix in a folder of its own and gives it its name when
// it is whole.
func makePrefix(ctx context.Context, prefix string, progress io.Writer) error {
	part, start := prefix+".part", time.Now()
	fmt.Fprintf(progress, "wine: making a Windows prefix in %s (about 20 seconds, kept)\n", prefix)
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o755)); err != nil {
		return fmt.Errorf("wine: base: %w", err)
	}
	env := environment(part)
	for _, argv := range [][]string{
		{"wine", "wineboot", "--init"},
		{"wineserver", "--wait"},
		{"wine", "winecfg", "-v", "win10"},
		{"wineserver", "--wait"},
	} {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = env
		if _, err := output(cmd); err != nil {
			return err
		}
	}
	system := filepath.Join(part, "drive_c", "windows", "system32")
	if err := compileShims(ctx, system); err != nil {
		return err
	}
	// A host's world is its own drive C; this machine's files stay outside.
	if err := os.Remove(filepath.Join(part, "dosdevices", "z:")); err != nil {
		return fmt.Errorf("wine: base: %w", err)
	}
	if err := os.Rename(part, prefix); err != nil {
		return fmt.Errorf("wine: base: %w", err)
	}
	fmt.Fprintf(progress, "wine: prefix ready after %s\n", time.Since(start).Round(time.Second))
	return nil
}

// compileShims puts our own programs into system32.
func compileShims(ctx context.Context, system string) error {
	dir, err := os.MkdirTemp("", "fettle-wine-shim-")
	if err != nil {
		return fmt.Errorf("wine: base: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, sources); err != nil {
		return fmt.Errorf("wine: base: %w", err)
	}
	for _, argv := range [][]string{
		{"-shared", "-nostdlib", "-Wl,-e,DllMain", "-o", filepath.Join(system, "bcryptprimitives.dll"), filepath.Join(dir, "shim", "bcryptprimitives.c"), "-ladvapi32", "-lkernel32"},
		{"-o", filepath.Join(system, "labrun.exe"), filepath.Join(dir, "shim", "labrun.c"), "-lshell32"},
	} {
		cmd := exec.CommandContext(ctx, compiler, append([]string{"-O2", "-Wall", "-Werror"}, argv...)...)
		if _, err := output(cmd); err != nil {
			return err
		}
	}
	return nil
}

// removeOthers deletes the prefixes of other recipes, unless some host still
// stands on them.
func removeOthers(dir, keep string) {
	found, _ := filepath.Glob(filepath.Join(dir, "wine-*"))
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, prefix := range found {
		if prefix != keep && !strings.Contains(string(mounts), "lowerdir="+prefix) {
			os.RemoveAll(prefix)
		}
	}
}

// environment is that of every program under Wine. Without a display, HOME or
// a Unix user's settings Wine makes the same prefix everywhere.
func environment(prefix string) []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/nonexistent", "LANG=C.UTF-8", "TERM=dumb", "USER=root", "LOGNAME=root",
		"WINEPREFIX=" + prefix, "WINEDEBUG=-all",
		// No offer to download Mono or Gecko, and no menus of a Unix desktop.
		"WINEDLLOVERRIDES=mscoree,mshtml=;winemenubuilder.exe=d",
	}
}

// output runs a command to its end; an error carries what it said.
func output(cmd *exec.Cmd) (string, error) {
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("wine: %s: %w: %s", strings.Join(cmd.Args, " "), err, tail(string(out)+said.String(), 2000))
	}
	return string(out), nil
}

// tail is the last n bytes of s, trimmed.
func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = "..." + s[len(s)-n:]
	}
	return s
}
