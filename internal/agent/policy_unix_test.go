//go:build unix

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

// TestTrustRow11UsersPolicy: the policy names the program that restarts the
// machine, which the agent runs as root. One that somebody else may write is
// not followed, nor taken for none.
func TestTrustRow11UsersPolicy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("giving files away needs root")
	}
	const evil = `{"reboot_command": ["/home/user/run-me"]}`
	for name, change := range map[string]func(string) error{
		"of a user":         func(f string) error { return os.Chown(f, 1000, 1000) },
		"writable by all":   func(f string) error { return os.Chmod(f, 0o666) },
		"writable by users": func(f string) error { return os.Chmod(f, 0o664) },
		"of a user's group": func(f string) error {
			if err := os.Chown(f, 0, 1000); err != nil {
				return err
			}
			return os.Chmod(f, 0o664)
		},
	} {
		file := filepath.Join(tempDir(t), "policy.json")
		write(t, file, evil)
		check(t, change(file))
		_, err := loadPolicy(file)
		if name == "writable by users" { // the group is root's own
			check(t, err)
			continue
		}
		if !fault.Is(err, fault.Denied) || !strings.Contains(fault.Public(err), "can't be used") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTrustRow11UsersState: nothing is kept in a folder that somebody else made
// or may write to: he could put files beside those that root goes by.
func TestTrustRow11UsersState(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("giving files away needs root")
	}
	for name, change := range map[string]func(string) error{
		"of a user":       func(d string) error { return os.Chown(d, 1000, 1000) },
		"writable by all": func(d string) error { return os.Chmod(d, 0o777) },
		"a user's link": func(d string) error {
			check(t, os.Rename(d, d+"-real"))
			check(t, os.Symlink(d+"-real", d))
			check(t, Dir(d).make()) // root's own link is as good as the folder
			return os.Lchown(d, 1000, 1000)
		},
	} {
		dir := filepath.Join(tempDir(t), "state")
		check(t, os.Mkdir(dir, 0o700))
		check(t, Dir(dir).make()) // as it should be
		check(t, change(dir))
		if err := Dir(dir).make(); !fault.Is(err, fault.Untrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
