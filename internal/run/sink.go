package run

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
)

const maxLine = 64 << 10

// sink takes one output of a command: it keeps the first and the last half of what fits its limit and cuts lines.
type sink struct {
	mu     *sync.Mutex
	stream Stream
	limit  int
	onLine func(Stream, string)
	to     io.Writer
	stop   context.CancelCauseFunc

	head, tail []byte
	left       int // bytes left out between head and tail
	line       []byte
	overlong   bool // the rest of the current line is dropped
}

// Write implements io.Writer. It never fails on account of the cap, as that would end the command.
func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onLine != nil {
		s.lines(p)
	}
	if s.to == nil {
		s.keep(p)
		return len(p), nil
	}
	n, err := s.to.Write(p)
	if err != nil {
		s.stop(&sinkError{err})
	}
	return n, err
}

func (s *sink) keep(p []byte) {
	half := s.limit / 2
	if room := half - len(s.head); room > 0 {
		n := min(room, len(p))
		s.head = append(s.head, p[:n]...)
		p = p[n:]
	}
	s.tail = append(s.tail, p...)
	if over := len(s.tail) - (s.limit - half); over > half { // trim rarely, so that each byte moves about once
		s.left += over
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
}

func (s *sink) lines(p []byte) {
	for {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		if !s.overlong {
			s.line = append(s.line, part[:min(len(part), maxLine-len(s.line))]...)
			s.overlong = len(s.line) == maxLine
		}
		if i < 0 {
			return
		}
		s.endLine()
		p = p[i+1:]
	}
}

func (s *sink) endLine() {
	s.onLine(s.stream, string(bytes.TrimSuffix(s.line, []byte{'\r'})))
	s.line, s.overlong = s.line[:0], false
}

// finish reports a last line without a line break and returns what was captured.
func (s *sink) finish() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onLine != nil && len(s.line) > 0 {
		s.endLine()
	}
	if over := len(s.tail) - (s.limit - s.limit/2); over > 0 {
		s.left += over
		s.tail = s.tail[over:]
	}
	if s.left == 0 {
		return append(s.head, s.tail...)
	}
	return bytes.Join([][]byte{s.head, fmt.Appendf(nil, "\n[... %d bytes left out ...]\n", s.left), s.tail}, nil)
}
