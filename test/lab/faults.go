package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CutNetwork pulls the machine's network cable at the server's end.
func (m *Machine) CutNetwork(ctx context.Context) error {
	_, err := command(ctx, "ip", "-n", m.fleet.serverNS(), "link", "set", m.port, "down")
	return err
}

// RestoreNetwork puts the cable back.
func (m *Machine) RestoreNetwork(ctx context.Context) error {
	_, err := command(ctx, "ip", "-n", m.fleet.serverNS(), "link", "set", m.port, "up")
	return err
}

// filler is the file that takes the room on a full disk. It lies beside the
// machine's files, where the machine does not see it.
func (m *Machine) filler() string { return filepath.Join(m.disk(), "filler") }

// FreeBytes is the room left on the machine's disk.
func (m *Machine) FreeBytes() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(m.disk(), &st); err != nil {
		return 0, fmt.Errorf("lab: %s: disk: %w", m.Name, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// FillDisk takes all room on the machine's disk but leave bytes.
func (m *Machine) FillDisk(leave int64) error {
	free, err := m.FreeBytes()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(m.filler(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("lab: fill disk of %s: %w", m.Name, err)
	}
	defer f.Close()
	if free <= leave {
		return nil
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, free-leave); err != nil {
		return fmt.Errorf("lab: fill disk of %s: %w", m.Name, err)
	}
	return nil
}

// FreeDisk gives back the room that FillDisk took.
func (m *Machine) FreeDisk() error {
	if err := os.Remove(m.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("lab: free disk of %s: %w", m.Name, err)
	}
	return nil
}
