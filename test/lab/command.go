package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// tools maps each program that the lab runs to the Debian package that has it.
func tools() map[string]string {
	return map[string]string{
		"mmdebstrap":     "mmdebstrap",
		"systemd-nspawn": "systemd-container",
		"ip":             "iproute2",
		"nsenter":        "util-linux",
		"dpkg-deb":       "dpkg",
		"apt-ftparchive": "apt-utils",
		"gpg":            "gnupg",
		"gpgconf":        "gnupg",
		"gcc":            "gcc",
		"xz":             "xz-utils",
	}
}

// Require reports, in one error, everything that the lab needs and this
// machine lacks, with the command that installs it. It returns nil when
// machines and archives can be made.
func Require() error {
	if os.Geteuid() != 0 {
		return errors.New("lab: throw-away machines need root: run this as root")
	}
	missing := map[string]bool{}
	for tool, pkg := range tools() {
		if _, err := exec.LookPath(tool); err != nil {
			missing[pkg] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	names := sortedKeys(missing)
	return fmt.Errorf("lab: tools are missing: run `make setup` or `apt-get install --no-install-recommends %s`",
		strings.Join(names, " "))
}

// command runs argv to its end and returns its standard output. An error
// carries the command and the end of its standard error.
func command(ctx context.Context, argv ...string) ([]byte, error) {
	return finish(exec.CommandContext(ctx, argv[0], argv[1:]...))
}

// finish runs a prepared command as [command] does.
func finish(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("lab: run %s: %w: %s",
			strings.Join(cmd.Args, " "), err, tail(stderr.String(), 2000))
	}
	return stdout.Bytes(), nil
}

// tail is the last n bytes of s, trimmed.
func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = "..." + s[len(s)-n:]
	}
	return s
}
