package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/server/gateway"
	"github.com/fettlehq/fettle/internal/wire"
)

// patience is for what must come; nothing takes so long but on a machine that
// stands still.
const patience = 5 * time.Minute

// lines is a log that can be counted.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) with(what string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, what) {
			n++
		}
	}
	return n
}

// silent opens a connection from an address and says nothing.
func (w *world) silent(from string) net.Conn {
	w.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(w.t.Context(), "tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// closed waits until the server has closed the connection.
func closed(c net.Conn) bool {
	b := make([]byte, 512)
	for {
		if _, err := c.Read(b); err != nil {
			timeout, ok := err.(net.Error) //nolint:errorlint // what net.Conn returns
			return !ok || !timeout.Timeout()
		}
	}
}

// TestTrustRow6OneAddress: an address without any certificate holds as many
// connections as it may and none more; others come in meanwhile, and so do any
// number of machines behind one address. The log says it once.
func TestTrustRow6OneAddress(t *testing.T) {
	var log lines
	const bound = 6
	w := newWorld(t, func(c *gateway.Config) {
		c.StrangersOfAddress, c.Log = bound, slog.New(slog.NewTextHandler(&log, nil))
	})
	var held []net.Conn
	for range bound {
		held = append(held, w.silent("127.0.3.1"))
	}
	for i := range 10 * bound {
		if !closed(w.silent("127.0.3.1")) {
			t.Fatalf("connection %d of one address stays open", bound+i+1)
		}
	}
	if n := log.with("too many connections"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	for i := range 4 * bound { // behind one address, each with a connection that stays
		a := w.admit("acme", estate.EndpointID(fmt.Sprint("behind", i)), w.token("acme", 1))
		a.checkIn(wire.CheckIn{})
	}
	body, _ := w.enrolRequest(w.token("acme", 1))
	if code, no := w.post(w.from("127.0.3.2"), "POST", wire.PathEnroll, body, nil); code != http.StatusOK {
		t.Errorf("another address: %d %+v", code, no)
	}
	for _, c := range held {
		c.Close()
	}
	body, _ = w.enrolRequest(w.token("acme", 1))
	for end := time.Now().Add(patience); ; {
		code, no := w.post(w.from("127.0.3.1"), "POST", wire.PathEnroll, body, nil)
		if code == http.StatusOK {
			break
		}
		if code != 0 || time.Now().After(end) { // 0: the server has not seen yet that the others left
			t.Fatalf("the same address when it has let go: %d %+v", code, no)
		}
	}
}

// TestTrustRow6ManyAddresses: handshakes that never end, from more addresses
// than there are places for, keep nobody out.
func TestTrustRow6ManyAddresses(t *testing.T) {
	var log lines
	const places = 24
	w := unserved(t, func(c *gateway.Config) {
		c.Strangers, c.Log = places, slog.New(slog.NewTextHandler(&log, nil))
	})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &counting{Listener: tcp}
	w.serve(l)
	flood := func() {
		for i := range 2 * places {
			c := w.silent(fmt.Sprintf("127.0.4.%d", i+1))
			_, _ = c.Write([]byte{0x16, 0x03, 0x01}) // how a handshake begins; it may be closed already
		}
	}
	for round := range 3 {
		flood()
		a := w.enrol("acme") // after the flood in the queue, so that nobody comes after it
		if flood(); round == 0 {
			a.checkIn(wire.CheckIn{})
		}
	}
	if n := log.with("from all addresses"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	if most := l.most(); most < places || most > places+2 { // one that is being judged, and the machine's
		t.Errorf("%d connections were open at once", most)
	}
}

// counting is a listener that knows how many of its connections are open.
type counting struct {
	net.Listener
	mu         sync.Mutex
	open, peak int
}

type countedConn struct {
	net.Conn
	end func()
}

func (c countedConn) Close() error { c.end(); return c.Conn.Close() }

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	l.peak = max(l.peak, l.open)
	return countedConn{c, sync.OnceFunc(func() { l.mu.Lock(); defer l.mu.Unlock(); l.open-- })}, nil
}

func (l *counting) most() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peak
}

// overHTTP1 asks over a connection of its own and keeps it.
func (a *agent) overHTTP1() (ask func() int, conn net.Conn) {
	a.w.t.Helper()
	cfg := pki.ClientConfig(a.cert, pki.NewTrust(a.w.ca.Certificate()))
	cfg.ServerName, cfg.NextProtos = "127.0.0.1", []string{"http/1.1"}
	c := tls.Client(a.w.silent("127.0.0.1"), cfg)
	back := bufio.NewReader(c)
	body := encode(a.w.t, wire.CheckIn{Protocol: wire.Protocol, Now: time.Now()})
	return func() int {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://"+a.w.addr+wire.PathCheckIn, bytes.NewReader(body))
		if err != nil {
			a.w.t.Fatal(err)
		}
		if err := req.Write(c); err != nil {
			return 0
		}
		resp, err := http.ReadResponse(back, req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return 0
		}
		return resp.StatusCode
	}, c
}

// TestTrustRow6OneMachine: an enrolled machine keeps a handful of connections,
// the newest, and takes none from others.
func TestTrustRow6OneMachine(t *testing.T) {
	var log lines
	const bound, many = 16, 50
	w := newWorld(t, func(c *gateway.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	hostile, honest := w.enrol("acme"), w.enrol("rival")
	askHonest, _ := honest.overHTTP1()
	if code := askHonest(); code != http.StatusOK {
		t.Fatalf("answered %d", code)
	}
	var asks []func() int
	var conns []net.Conn
	for i := range many {
		ask, c := hostile.overHTTP1()
		if code := ask(); code != http.StatusOK {
			t.Fatalf("connection %d is answered %d", i+1, code)
		}
		asks, conns = append(asks, ask), append(conns, c)
	}
	for i := range many - bound {
		if !closed(conns[i]) {
			t.Errorf("connection %d stays open", i+1)
		}
	}
	for i := many - bound; i < many; i++ {
		if code := asks[i](); code != http.StatusOK {
			t.Errorf("connection %d of the newest is answered %d", i+1, code)
		}
	}
	if code := askHonest(); code != http.StatusOK {
		t.Errorf("the honest one is answered %d over the connection that it has", code)
	}
	if n := log.with("its oldest is closed"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
}

// TestTrustRow6ForeignCertificate: who has a machine's certificate and not its
// key closes none of its connections.
func TestTrustRow6ForeignCertificate(t *testing.T) {
	w := newWorld(t)
	victim, other := w.enrol("acme"), w.enrol("acme")
	ask, _ := victim.overHTTP1()
	if code := ask(); code != http.StatusOK {
		t.Fatalf("answered %d", code)
	}
	stolen := &agent{w: w, cert: tls.Certificate{Certificate: victim.cert.Certificate, PrivateKey: other.cert.PrivateKey}}
	for range 40 {
		if try, _ := stolen.overHTTP1(); try() != 0 {
			t.Fatal("a certificate without its key is answered")
		}
	}
	if code := ask(); code != http.StatusOK {
		t.Errorf("its own connection is answered %d", code)
	}
}

// pipes is a listener without a network: time moves in a bubble while its
// connections wait.
type pipes struct {
	come chan net.Conn
	end  chan struct{}
	once sync.Once
}

type pipeConn struct{ net.Conn }

func (pipeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.come:
		return pipeConn{c}, nil
	case <-p.end:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.end) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 8781} }

// TestTrustRow6DrippingHandshake: a handshake that comes a byte a second is
// given up after ten seconds, and its place is free again.
func TestTrustRow6DrippingHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 3
		w := unserved(t, func(c *gateway.Config) { c.StrangersOfAddress = bound })
		l := &pipes{come: make(chan net.Conn), end: make(chan struct{})}
		w.serve(l)
		for round := range 3 {
			var all sync.WaitGroup
			for i := range bound + 1 {
				mine, its := net.Pipe()
				l.come <- its
				all.Go(func() {
					defer mine.Close()
					began := time.Now()
					// A record of TLS, as long as one may be, with a ClientHello.
					for b := range bytes.SplitSeq(append([]byte{0x16, 0x03, 0x01, 0x3f, 0xff, 0x01, 0x00, 0x3f, 0xfb}, make([]byte, 100)...), nil) {
						if _, err := mine.Write(b); err != nil {
							break
						}
						time.Sleep(time.Second)
					}
					lived := time.Since(began)
					if i < bound && (lived < 9*time.Second || lived > 12*time.Second) || i == bound && lived > time.Second {
						t.Errorf("round %d: connection %d lived for %v", round, i+1, lived)
					}
				})
			}
			all.Wait()
		}
	})
}
