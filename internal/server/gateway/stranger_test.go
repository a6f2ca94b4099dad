package gateway_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// TestTrustRow10EnrolmentGuesses: a wrong token is counted for the audit log
// and leaves no entry of its own; a good one leaves an entry and no count.
func TestTrustRow10EnrolmentGuesses(t *testing.T) {
	w := newWorld(t)
	guess, _ := w.enrolRequest("fe1-guess")
	for i := range 3 {
		if code, _ := w.post(w.from(fmt.Sprint("127.0.5.", i+1)), "POST", wire.PathEnroll, guess, nil); code != http.StatusUnauthorized {
			t.Fatalf("answered %d", code)
		}
	}
	w.enrol("acme")
	w.mu.Lock()
	defer w.mu.Unlock()
	want := []string{
		"endpoint.enrol.failed enrolment token 127.0.5.1", "endpoint.enrol.failed enrolment token 127.0.5.2", "endpoint.enrol.failed enrolment token 127.0.5.3",
	}
	if diff := cmp.Diff(want, w.guesses); diff != "" {
		t.Error(diff)
	}
	if len(w.audit) != 1 {
		t.Errorf("the audit log has %q", w.audit)
	}
}
