package endpoint

import (
	"io"
	"net"
	"sync"
	"testing"
)

// line passes connections on to the gateway byte by byte and can be cut. What
// it passes is TLS: it can break off, and nothing else.
type line struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	open  map[net.Conn]bool
	limit int64 // bytes that each connection may bring to the machines; 0: all
	cuts  int
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{listener: listener, target: target, open: map[net.Conn]bool{}}
	t.Cleanup(func() {
		_ = listener.Close()
		l.sever()
	})
	go l.serve()
	return l
}

func (l *line) addr() string { return l.listener.Addr().String() }

func (l *line) serve() {
	for {
		from, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.pass(from)
	}
}

func (l *line) pass(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", l.target)
	if err != nil {
		return // the server is down: so is the line
	}
	defer to.Close()
	l.mu.Lock()
	limit := l.limit
	l.open[from] = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.open, from)
		l.mu.Unlock()
	}()
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	if limit == 0 {
		_, _ = io.Copy(from, to)
		return
	}
	if n, _ := io.CopyN(from, to, limit); n == limit {
		l.mu.Lock()
		l.cuts++
		l.mu.Unlock()
	}
}

// bound cuts every connection from now on after so many bytes towards the
// machines; 0 lets all through again. Connections that are open end.
func (l *line) bound(limit int64) {
	l.mu.Lock()
	l.limit = limit
	l.mu.Unlock()
	l.sever()
}

// sever ends every open connection.
func (l *line) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Close()
	}
}

// cutOff is how many connections met the bound.
func (l *line) cutOff() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts
}
