//go:build unix

package agent

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// DefaultStateDir is where an agent keeps everything that it must not forget.
func DefaultStateDir() string { return "/var/lib/fettle-agent" }

// DefaultPolicyFile is where the administrator of the machine limits what a
// server may order. It wins over the server.
func DefaultPolicyFile() string { return "/etc/fettle-agent/policy.json" }

// rebootCommand restarts the machine.
func rebootCommand() []string { return []string{"systemctl", "reboot"} }

// makePrivate makes a folder that only its owner may open. One that is there is
// refused (Untrusted) when somebody else owns it, or the link to it, or may write
// to it: he may have put anything there.
func makePrivate(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	link, err := os.Lstat(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	err = onlyAdministered(info)
	if err == nil && !ours(link) {
		err = fault.New(fault.Untrusted, "others than the administrator have made the link")
	}
	if err != nil {
		return fault.Wrap(err, fault.Untrusted, "agent: nothing is kept in the folder %s: %s", path, fault.Public(err)).
			WithHint("look at what is in it, remove it, and run this again as root")
	}
	return nil
}

// createVanishing makes a file without a name: it is gone when it is closed.
func createVanishing() (*os.File, error) {
	f, err := os.CreateTemp("", "fettle-shard-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// openShared opens a file for reading that may be replaced meanwhile.
func openShared(path string) (*os.File, error) { return os.Open(path) }

// administered refuses (Untrusted) a file that others than root, and than whoever
// runs the agent, may write.
func administered(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return onlyAdministered(info)
}

// ours reports whether root owns it, or whoever runs the agent.
func ours(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

func onlyAdministered(info os.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fault.New(fault.Internal, "agent: the owner of a file is not told")
	}
	const groupWrites, allWrite = 0o020, 0o002
	mode := info.Mode().Perm()
	if !ours(info) || mode&allWrite != 0 || mode&groupWrites != 0 && st.Gid != 0 {
		return fault.New(fault.Untrusted, "others than the administrator may write it (owner %d, group %d, mode %v)", st.Uid, st.Gid, mode)
	}
	return nil
}

// replace puts a file in another's place, which may be open.
func replace(from, to string) error { return os.Rename(from, to) }

// packagesChanged reports whether the package manager's database was written
// since. It looks at one time stamp, which costs nothing.
func packagesChanged(root string, since time.Time) bool {
	info, err := os.Stat(filepath.Join(root, "var/lib/dpkg/status"))
	return err == nil && info.ModTime().After(since)
}
