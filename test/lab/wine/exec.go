package wine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/fettlehq/fettle/test/lab"
)

// Exec runs a program on the host as its administrator, in the root folder of
// drive C, and returns its whole 32-bit exit code. argv[0] is a Windows path or
// the name of a program of Windows. The error says that it could not be run; a
// program that fails is no error but a Code.
func (h *Host) Exec(ctx context.Context, argv ...string) (lab.Result, error) {
	return h.ExecIn(ctx, `C:\`, nil, argv...)
}

// ExecIn is Exec in a folder of the host and with additions to the environment.
func (h *Host) ExecIn(ctx context.Context, dir string, env []string, argv ...string) (lab.Result, error) {
	at, err := h.unixPath(dir)
	if err != nil {
		return lab.Result{Code: -1}, err
	}
	status := fmt.Sprintf(`C:\windows\temp\labrun-%d`, tickets.Add(1))
	var res lab.Result
	for range 3 {
		var text string
		if text, res, err = h.labrun(ctx, at, env, status, argv); err != nil {
			return res, err
		}
		// Wine says ERROR_INTERNAL_ERROR when a process dies before it has begun,
		// which happens while a busy machine boots: the program has not run.
		if text == "start 1359" {
			continue
		}
		code, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return res, fmt.Errorf("wine: %s: %s: no exit code but %q: %s", h.Name, strings.Join(argv, " "), text, tail(res.Stderr, 1000))
		}
		res.Code = int(code)
		return res, nil
	}
	return res, fmt.Errorf("wine: %s: %s: cannot be started", h.Name, strings.Join(argv, " "))
}

// labrun runs a program once and returns what labrun.c left in the status file.
func (h *Host) labrun(ctx context.Context, dir string, env []string, status string, argv []string) (string, lab.Result, error) {
	res := lab.Result{Code: -1}
	cmd, err := h.command(ctx, dir, env, append([]string{`C:\windows\system32\labrun.exe`, status}, argv...)...)
	if err != nil {
		return "", res, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	res.Stdout, res.Stderr = stdout.String(), stderr.String()
	// A program that leaves others behind keeps the pipes open: its exit code
	// is there all the same.
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) || ctx.Err() != nil {
		return "", res, fmt.Errorf("wine: %s: %s: %w", h.Name, strings.Join(argv, " "), errors.Join(err, context.Cause(ctx)))
	}
	file, err := h.unixPath(status)
	if err != nil {
		return "", res, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", res, fmt.Errorf("wine: %s: %s: %w: %s", h.Name, strings.Join(argv, " "), err, tail(res.Stderr, 1000))
	}
	_ = os.Remove(file) // the drive goes with the fleet
	return string(text), res, nil
}

// tickets number the status files of this process.
var tickets atomic.Int64

// Run is Exec for programs that must end with 0; it returns standard output.
func (h *Host) Run(ctx context.Context, argv ...string) (string, error) {
	res, err := h.Exec(ctx, argv...)
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("wine: %s: %s: exit code %d: %s", h.Name, strings.Join(argv, " "), res.Code, tail(res.Stdout+res.Stderr, 2000))
	}
	return res.Stdout, err
}

// unixPath is where a file of drive C lies on this machine. Parts that exist
// are found as Windows finds them, whatever their case.
func (h *Host) unixPath(path string) (string, error) {
	rest, ok := strings.CutPrefix(strings.ToLower(path[:min(len(path), 3)]), `c:\`)
	if !ok || rest != "" {
		return "", fmt.Errorf(`wine: %s: %q is no full path on drive C`, h.Name, path)
	}
	at := h.Drive()
	for part := range strings.SplitSeq(path[3:], `\`) {
		switch part {
		case "", ".":
			continue
		case "..":
			return "", fmt.Errorf("wine: %s: %q goes upwards", h.Name, path)
		}
		at = filepath.Join(at, existing(at, part))
	}
	return at, nil
}

// existing is the entry of dir that Windows takes for name, else name itself.
func existing(dir, name string) string {
	if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
		return name
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			return e.Name()
		}
	}
	return name
}

// WriteFile makes or replaces a file of the host and the folders above it.
func (h *Host) WriteFile(path string, data []byte) error {
	file, err := h.unixPath(path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("wine: %s: %w", h.Name, err)
	}
	if err := os.WriteFile(file, data, 0o755); err != nil {
		return fmt.Errorf("wine: %s: %w", h.Name, err)
	}
	return nil
}

// ReadFile reads a file of the host; one that is not there answers to
// [os.ErrNotExist].
func (h *Host) ReadFile(path string) ([]byte, error) {
	file, err := h.unixPath(path)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// Remove deletes a file or a folder with all that is in it, if it is there.
func (h *Host) Remove(path string) error {
	file, err := h.unixPath(path)
	if err != nil {
		return err
	}
	if file == h.Drive() {
		return fmt.Errorf("wine: %s: not the whole drive", h.Name)
	}
	if err := os.RemoveAll(file); err != nil {
		return fmt.Errorf("wine: %s: %w", h.Name, err)
	}
	return nil
}

// CopyIn copies a file or a folder of this machine to a path of the host.
func (h *Host) CopyIn(src, path string) error {
	info, err := os.Stat(src)
	if err != nil {
		return fmt.Errorf("wine: %s: %w", h.Name, err)
	}
	if !info.IsDir() {
		data, err := os.ReadFile(src)
		if err != nil {
			return fmt.Errorf("wine: %s: %w", h.Name, err)
		}
		return h.WriteFile(path, data)
	}
	dir, err := h.unixPath(path)
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
		return fmt.Errorf("wine: %s: copy %s: %w", h.Name, src, err)
	}
	return nil
}

// SetRegistry sets a string value; the key is made.
func (h *Host) SetRegistry(ctx context.Context, key, name, value string) error {
	_, err := h.Run(ctx, "reg", "add", key, "/v", name, "/t", "REG_SZ", "/d", value, "/f")
	return err
}

// Registry reads the values of a key, as reg.exe writes them: numbers as
// "0x12". A key that does not exist has none.
func (h *Host) Registry(ctx context.Context, key string) (map[string]string, error) {
	res, err := h.Exec(ctx, "reg", "query", key)
	if err != nil || res.Code != 0 {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(res.Stdout) {
		// "    name    REG_SZ    data"
		f := strings.SplitN(strings.TrimSpace(line), "    ", 3)
		if strings.HasPrefix(line, "    ") && len(f) >= 2 && strings.HasPrefix(f[1], "REG_") {
			values[f[0]] = strings.Join(f[2:], "")
		}
	}
	return values, nil
}
