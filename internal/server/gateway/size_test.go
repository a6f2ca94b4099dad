package gateway_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

// counted counts the bytes on the wire: TLS records, HTTP/2 frames, headers.
type counted struct {
	net.Conn
	sent, received *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, err
}

// settled brings the agent into the state of every day: its inventory is known.
func settled(t testing.TB, a *agent, packages int) wire.CheckIn {
	t.Helper()
	all, bare := split(t, snapshot(packages, "k"))
	m := wire.CheckIn{
		Protocol: 1, Root: inventory.Root(all), Catalog: 42, AgentVersion: "1.2.3",
		BootID: "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", Scanned: time.Now(), Now: time.Now(),
	}
	withHashes := m
	withHashes.Sections = bare
	a.checkIn(withHashes)
	a.mustSend("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: m.Root, Sections: all})), nil)
	return m
}

// An unchanged check-in costs less than 1 KB each way on the wire, everything
// counted; the TLS handshake of a new connection comes on top and is reported.
func TestUnchangedCheckInSize(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	m := settled(t, a, 900)
	var sent, received atomic.Int64
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: pki.ClientConfig(a.cert, pki.NewTrust(w.ca.Certificate()))}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return counted{c, &sent, &received}, err
	}
	defer tr.CloseIdleConnections()
	a.http = &http.Client{Transport: tr}
	a.checkIn(m)
	t.Logf("first check-in with handshake: %d bytes sent, %d received", sent.Load(), received.Load())
	for i := range 3 {
		s, r := sent.Load(), received.Load()
		a.checkIn(m)
		s, r = sent.Load()-s, received.Load()-r
		t.Logf("unchanged check-in: %d bytes sent, %d received", s, r)
		if s >= 1024 || r >= 1024 {
			t.Errorf("check-in %d takes %d and %d bytes", i, s, r)
		}
	}
}

// BenchmarkUnchangedCheckIn is the whole way: client, TLS 1.3, HTTP/2, strict
// JSON, identity from SQLite, group commit. Client and server share the CPU.
func BenchmarkUnchangedCheckIn(b *testing.B) {
	w := newWorld(b)
	const parallel = 32
	agents := make(chan *agent, parallel*runtime.GOMAXPROCS(0))
	token := w.token("acme", cap(agents))
	var body []byte
	for i := range cap(agents) {
		a := w.admit("acme", estate.EndpointID(fmt.Sprint("e", i)), token)
		body = encode(b, settled(b, a, 900))
		agents <- a
	}
	b.SetParallelism(parallel)
	b.RunParallel(func(pb *testing.PB) {
		a := <-agents
		c := &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: true, TLSClientConfig: pki.ClientConfig(a.cert, pki.NewTrust(w.ca.Certificate())),
		}}
		for pb.Next() {
			if code, no := w.post(c, "POST", wire.PathCheckIn, body, nil); code != 200 {
				b.Errorf("%d %+v", code, no)
				return
			}
		}
	})
}

// BenchmarkHandshake is what a new connection of an agent costs.
func BenchmarkHandshake(b *testing.B) {
	w := newWorld(b)
	a := w.enrol("acme")
	cfg := pki.ClientConfig(a.cert, pki.NewTrust(w.ca.Certificate()))
	cfg.ClientSessionCache = nil
	cfg.ServerName = "127.0.0.1"
	for b.Loop() {
		c, err := tls.Dial("tcp", w.addr, cfg)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
