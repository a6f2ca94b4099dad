package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestReaderThatDoesNotRead: a peer that asks and reads nothing keeps no handler
// for ever; one that is only slow gets all of it.
func TestReaderThatDoesNotRead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const size = 32 << 20
	ended := make(chan error, 2)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, err := w.Write(make([]byte, size))
		ended <- err
	})}
	go func() { _ = srv.Serve(impatient{l, 300 * time.Millisecond}) }() // ends with the test
	t.Cleanup(func() { _ = srv.Close() })
	ask := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	ask()
	select {
	case err := <-ended:
		if err == nil {
			t.Fatal("the system took it all: the test shows nothing")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the handler waits for a peer that does not read")
	}
	c := ask()
	got := 0
	for buf := make([]byte, 1<<20); got < size; {
		n, err := io.ReadFull(c, buf)
		if got += n; err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond) // slow
	}
	if err := <-ended; err != nil || got < size {
		t.Errorf("a slow reader got %d bytes, %v", got, err)
	}
}
