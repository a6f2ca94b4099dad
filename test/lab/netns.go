package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Listen opens a listener of this process inside the server's namespace, so
// that an http.Server of a test can serve machines; addr is such as
// ServerAddr + ":8080".
func (f *Fleet) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var l net.Listener
	err := f.inside(func() error {
		var err error
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", addr)
		return err
	})
	return l, err
}

// HTTPClient returns a client of this process whose connections begin inside
// the server's namespace. Addresses must be numeric.
func (f *Fleet) HTTPClient() *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		var conn net.Conn
		err := f.inside(func() error {
			var err error
			conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}}
}

// inside runs do on a thread that stands in the server's namespace. A socket
// belongs to the namespace in which it was made, for good.
func (f *Fleet) inside(do func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the runtime ends the thread with the goroutine, so no
		// other goroutine can find itself in the wrong network.
		runtime.LockOSThread()
		done <- func() error {
			ns, err := os.Open("/run/netns/" + f.serverNS())
			if err != nil {
				return fmt.Errorf("lab: server namespace: %w", err)
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("lab: enter server namespace: %w", err)
			}
			return do()
		}()
	}()
	return <-done
}

// Serve answers HTTP inside the server's namespace until the fleet is closed;
// addr is such as ServerAddr + ":8080". It returns the URL for machines.
func (f *Fleet) Serve(ctx context.Context, addr string, h http.Handler) (string, error) {
	l, err := f.Listen(ctx, addr)
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	f.mu.Lock()
	f.closers = append(f.closers, srv)
	f.mu.Unlock()
	go func() { _ = srv.Serve(l) }() // ends with ErrServerClosed by Close
	return "http://" + l.Addr().String(), nil
}

// Forward lets machines reach one address of this host: connections to addr in
// the server's namespace, such as ServerAddr + ":8443", are passed on byte by
// byte to target, such as "127.0.0.1:8443", until the fleet is closed. It is
// the only way out of a fleet, and only to where the test says.
func (f *Fleet) Forward(ctx context.Context, addr, target string) error {
	l, err := f.Listen(ctx, addr)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.closers = append(f.closers, l)
	f.mu.Unlock()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return // closed
			}
			go pass(in, target)
		}
	}()
	return nil
}

// pass connects two streams until both directions have ended.
func pass(in net.Conn, target string) {
	defer in.Close()
	out, err := new(net.Dialer).DialContext(context.Background(), "tcp", target)
	if err != nil {
		return // the machine sees the connection close, as of a server that is down
	}
	defer out.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyHalf(out, in)
	}()
	copyHalf(in, out)
	<-done
}

// copyHalf copies one direction and tells the receiver that no more comes.
func copyHalf(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(*net.TCPConn); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	_ = to.Close() // a broken direction breaks both
	_ = from.Close()
}
