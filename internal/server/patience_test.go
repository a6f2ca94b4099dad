package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose peers are in this process, so that all of it goes by
// one clock.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// TestReaderThatDoesNotRead: a peer that asks and reads nothing keeps no handler
// for ever; one that is only slow gets all of it.
func TestReaderThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		ended := make(chan error, 2)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			_, err := w.Write(make([]byte, size))
			ended <- err
		})}
		l := make(pipes)
		go func() { _ = srv.Serve(impatient{l, 5 * time.Second}) }() // ends with the test
		defer func() {
			close(l)
			_ = srv.Close()
		}()
		ask := func() net.Conn {
			t.Helper()
			c, theirs := net.Pipe()
			l <- theirs
			t.Cleanup(func() { _ = c.Close() })
			if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			return c
		}
		ask()
		began := time.Now()
		if err := <-ended; err == nil {
			t.Fatal("nobody has read, and all was written")
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the handler waits %s for a peer that does not read", took)
		}
		c := ask()
		began = time.Now()
		got := 0
		for buf := make([]byte, 32<<10); got < size; {
			n, err := io.ReadFull(c, buf)
			if got += n; err != nil {
				break
			}
			time.Sleep(time.Second) // slow
		}
		go func() { _, _ = io.Copy(io.Discard, c) }() // what was the head's length too much
		if err := <-ended; err != nil || got < size || time.Since(began) < 20*time.Second {
			t.Errorf("a slow reader got %d bytes in %s, %v", got, time.Since(began), err)
		}
	})
}
