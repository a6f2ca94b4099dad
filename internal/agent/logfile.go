package agent

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/fettlehq/fettle/internal/fault"
)

// maxLog bounds the log file in bytes; one older file of that size stays
// beside it.
const maxLog = 4 << 20

// LogFile is a log that does not grow for ever, for services whose outputs
// nobody reads.
type LogFile struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
}

// OpenLog makes the state folder when it is missing and opens agent.log in it
// for appending. The older file is agent.log.1.
func OpenLog(d Dir) (*LogFile, error) {
	if err := d.make(); err != nil {
		return nil, err
	}
	l := &LogFile{path: d.path("agent.log")}
	return l, l.open()
}

func (l *LogFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "agent: can't open %s", l.path)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fault.Wrap(err, fault.Unavailable, "agent: can't open %s", l.path), f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write appends a record.
func (l *LogFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > maxLog {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

func (l *LogFile) rotate() error {
	if err := errors.Join(l.file.Close(), os.Remove(l.path+".1")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, l.open())
	}
	return errors.Join(os.Rename(l.path, l.path+".1"), l.open())
}

// Close closes the file.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
