package gateway_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

// from is a stranger at an address of its own.
func (w *world) from(ip string) *http.Client {
	w.t.Helper()
	cfg, err := pki.PinnedClientConfig(w.ca.Fingerprint(), "127.0.0.1")
	if err != nil {
		w.t.Fatal(err)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return d.DialContext(ctx, network, addr)
	}}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// TestTrustRow5StrangersBlockNobody: guesses from many addresses at once do not
// keep those from enrolling who have a token.
func TestTrustRow5StrangersBlockNobody(t *testing.T) {
	w := newWorld(t)
	good, _ := w.enrolRequest(w.token("acme", 1))
	guess, _ := w.enrolRequest("fe1-guess")
	var all sync.WaitGroup
	for i := range 60 {
		c := w.from(fmt.Sprintf("127.0.1.%d", i+1))
		all.Go(func() {
			for range 8 {
				w.post(c, "POST", wire.PathEnroll, guess, nil)
			}
		})
	}
	all.Wait()
	if code, no := w.post(w.from("127.0.2.1"), "POST", wire.PathEnroll, good, nil); code != 200 {
		t.Errorf("a good token after guesses of others: %d %+v", code, no)
	}
}
