package door_test

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/door"
)

// patience is for what must come.
const patience = 5 * time.Minute

// house serves behind a door: the header Owner says who asks.
type house struct {
	t    *testing.T
	addr string

	mu  sync.Mutex
	log bytes.Buffer
}

func (h *house) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(b)
}

func (h *house) said(what string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Count(h.log.String(), what)
}

func open(t *testing.T, b door.Bounds) *house {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, addr: l.Addr().String()}
	log := slog.New(slog.NewTextHandler(h, nil))
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Owner") == "the one who breaks it" {
			panic("broken")
		}
		if who := r.Header.Get("Owner"); who != "" {
			door.Belongs(r.Context(), who)
		}
	})}
	door.Attend(srv, log)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(door.New(l, b, log, time.Now)) // ends with the test
	}()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
	return h
}

// peer is one connection.
type peer struct {
	net.Conn
	in *bufio.Reader
}

func (h *house) enter(from string) peer {
	h.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(h.t.Context(), "tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		h.t.Fatal(err)
	}
	return peer{c, bufio.NewReader(c)}
}

// served asks and reports whether an answer came.
func (p peer) served(owner string) bool {
	if _, err := fmt.Fprintf(p, "GET / HTTP/1.1\r\nHost: x\r\nOwner: %s\r\n\r\n", owner); err != nil {
		return false
	}
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}

// TestTrustRow6Strangers: strangers of one address have their share, and those
// of many addresses keep nobody out; who is known loses nothing to them.
func TestTrustRow6Strangers(t *testing.T) {
	const ofAddress, ofAll = 4, 12
	h := open(t, door.Bounds{OfAddress: ofAddress, OfAll: ofAll, OfOwner: 2})
	known := h.enter("127.0.7.200")
	if !known.served("ada") {
		t.Fatal("the first is not served")
	}
	for round := range 3 {
		for i := range 3 * ofAll {
			h.enter(fmt.Sprintf("127.0.7.%d", i+1))
		}
		if !h.enter("127.0.7.100").served("bob") { // the last that came may only go for another
			t.Errorf("round %d: strangers from many addresses keep another out", round)
		}
		if !known.served("ada") {
			t.Fatalf("round %d: strangers end the connection of one who is known", round)
		}
	}
	if n := h.said("from all addresses together"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}

	h = open(t, door.Bounds{OfAddress: ofAddress, OfAll: ofAll, OfOwner: 2})
	for range ofAddress {
		if !h.enter("127.0.7.1").served("") {
			t.Fatal("a stranger within the share of his address is not served")
		}
	}
	for range 3 * ofAddress {
		if h.enter("127.0.7.1").served("ada") {
			t.Fatal("an address has more than its share")
		}
	}
	for range 2 {
		if !h.enter("127.0.7.2").served("") {
			t.Fatal("another address is not served")
		}
	}
	if n := h.said("an address has too many connections"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
}

// TestOwnersKeepTheNewest: who is known has so many connections, the newest,
// and others keep theirs.
func TestOwnersKeepTheNewest(t *testing.T) {
	const ofOwner, many = 3, 9
	h := open(t, door.Bounds{OfAddress: 1, OfOwner: ofOwner})
	other := h.enter("127.0.8.1")
	if !other.served("bob") {
		t.Fatal("not served")
	}
	var all []peer
	for range many {
		p := h.enter("127.0.8.1")
		if !p.served("ada") || !p.served("eve") { // the first owner stays
			t.Fatal("not served")
		}
		all = append(all, p)
	}
	for i, p := range all {
		if got, want := p.served("ada"), i >= many-ofOwner; got != want {
			t.Errorf("connection %d of %d is served: %v", i+1, many, got)
		}
	}
	if !other.served("bob") {
		t.Error("another one's connection was closed")
	}
	if n := h.said("its oldest is closed"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
}

// TestComplaints: what peers do wrong fills no log, a handler that panics stands
// there.
func TestComplaints(t *testing.T) {
	h := open(t, door.Bounds{OfOwner: 1})
	if h.enter("127.0.9.1").served("the one who breaks it") {
		t.Error("answered")
	}
	if h.said("level=ERROR") != 1 || h.said("broken") == 0 {
		t.Errorf("the log has %q", h.log.String())
	}
	var srv http.Server
	door.Attend(&srv, slog.New(slog.NewTextHandler(h, nil)))
	srv.ErrorLog.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
	if h.said("handshake") != 0 {
		t.Errorf("the log has %q", h.log.String())
	}
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64", "2001:db8:1:2::9": "2001:db8:1:2::/64", "[fe80::1%eth0]:80": "fe80::/64",
		"@": "@", "": "", "host:80": "host",
	} {
		if got := door.Network(remote); got != want {
			t.Errorf("Network(%q) = %q, want %q", remote, got, want)
		}
	}
}

// TestSeldom: the same is noted again after a while, and others at once.
func TestSeldom(t *testing.T) {
	var s door.Seldom
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for i, step := range []struct {
		what  string
		after time.Duration
		want  bool
	}{{"a", 0, true}, {"a", time.Minute - 1, false}, {"b", time.Minute - 1, true}, {"a", time.Minute, true}} {
		if got := s.Within(step.what, at.Add(step.after), time.Minute); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}
