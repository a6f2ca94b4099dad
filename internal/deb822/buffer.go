package deb822

import (
	"bytes"
	"fmt"
	"io"

	"github.com/fettlehq/fettle/internal/fault"
)

// readLine returns the next line without its line break, in bytes from r.start.
func (r *Reader) readLine() (lo, hi int, ok bool) {
	seen := 0 // bytes of this line already searched
	for {
		if i := bytes.IndexByte(r.buf[r.pos+seen:r.end], '\n'); i >= 0 {
			seen += i
			r.line++
			if seen > r.opt.MaxLine {
				return 0, 0, r.fail("longer than %d bytes", r.opt.MaxLine)
			}
			lo = r.pos - r.start
			r.pos += seen + 1
			return lo, lo + seen, r.within(lo + seen)
		}
		seen = r.end - r.pos
		if seen > r.opt.MaxLine {
			r.line++
			return 0, 0, r.fail("longer than %d bytes", r.opt.MaxLine)
		}
		if r.eof {
			break
		}
		if !r.fill() {
			return 0, 0, false
		}
	}
	if seen == 0 {
		r.err = io.EOF
		return 0, 0, false
	}
	r.line++
	lo = r.pos - r.start
	r.pos = r.end
	return lo, lo + seen, r.within(lo + seen)
}

func (r *Reader) within(size int) bool {
	if size > r.opt.MaxStanza {
		return r.fail("stanza longer than %d bytes", r.opt.MaxStanza)
	}
	return true
}

// fill reads more input behind the stanza that is being read, moving and growing the buffer as needed.
func (r *Reader) fill() bool {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.pos -= r.start
		r.end -= r.start
		r.start = 0
	}
	if r.end == len(r.buf) {
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		switch {
		case err == io.EOF:
			r.eof = true
			return true
		case err != nil:
			r.err = fmt.Errorf("deb822: read after line %d: %w", r.line, err)
			return false
		case n > 0:
			return true
		}
	}
	r.err = io.ErrNoProgress
	return false
}

func (r *Reader) fail(format string, args ...any) bool {
	r.err = fault.New(fault.Invalid, "deb822: line %d: %s", r.line, fmt.Sprintf(format, args...))
	return false
}
