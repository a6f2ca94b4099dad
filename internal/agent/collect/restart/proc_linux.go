package restart

import (
	"bytes"
	"os"
	"syscall"
)

// reader reads small kernel files with bare system calls and one buffer: a
// machine has hundreds of processes, and os.File costs more than the reading.
type reader struct{ buf []byte }

const bufferSize = 64 << 10

// stale reports whether the maps file shows replaced code. A process that is
// gone or closed to us shows nothing.
func (r *reader) stale(path string) bool {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = syscall.Close(fd) }() // read only
	kept := 0                                // bytes of a line that is not complete yet
	for {
		n, err := syscall.Read(fd, r.space()[kept:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return kept > 0 && staleLine(r.buf[:kept])
		}
		data := r.buf[:kept+n]
		last := bytes.LastIndexByte(data, '\n')
		if staleLines(data[:max(last, 0)]) {
			return true
		}
		kept = copy(r.buf, data[last+1:])
		if kept == len(r.buf) {
			kept = 0 // no line of maps is that long
		}
	}
}

// staleLines searches whole lines; most processes have no mark at all, so that
// is looked for first.
func staleLines(data []byte) bool {
	if !bytes.Contains(data, []byte(deleted)) {
		return false
	}
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		if staleLine(line) {
			return true
		}
	}
	return false
}

// small reads a file of a few lines; nothing when the process is gone. The
// bytes are good until the next call.
func (r *reader) small(path string) []byte {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = syscall.Close(fd) }() // read only
	n := 0
	for n < len(r.space()) {
		k, err := syscall.Read(fd, r.buf[n:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || k <= 0 {
			break
		}
		n += k
	}
	return r.space()[:n]
}

// space is the one buffer.
func (r *reader) space() []byte {
	if r.buf == nil {
		r.buf = make([]byte, bufferSize)
	}
	return r.buf
}

// foreign reports whether the process lives in a container: in another PID
// namespace than ours, where its files are none of this machine's packages.
func foreign(proc, pid string) bool {
	own, err := os.Readlink(proc + "/self/ns/pid")
	if err != nil {
		return false
	}
	other, err := os.Readlink(proc + "/" + pid + "/ns/pid")
	return err == nil && other != own
}
