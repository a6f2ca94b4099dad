package gateway_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

// TestTrustRow6OwnShare: one agent has a handful of requests under way, however
// many it sends; the others are answered.
func TestTrustRow6OwnShare(t *testing.T) {
	w := newWorld(t)
	hostile, honest := w.enrol("acme"), w.enrol("rival")
	var busy, most atomic.Int32
	free := make(chan struct{})
	w.hold = func(ctx context.Context, id estate.EndpointID) { // as a database that is asked too much
		if id != hostile.id {
			return
		}
		if n := busy.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer busy.Add(-1)
		select {
		case <-free:
		case <-ctx.Done():
		}
	}
	const many = 60
	codes := make(chan int, many)
	var over []*agent // more connections than these would be closed
	for range 6 {
		over = append(over, &agent{w: w, id: hostile.id, tenant: hostile.tenant, cert: hostile.cert, http: w.client(pki.ClientConfig(hostile.cert, pki.NewTrust(w.ca.Certificate())))})
	}
	for i := range many {
		c := over[i%len(over)]
		go func() {
			code, _ := c.send("POST", wire.PathCheckIn, wire.CheckIn{Protocol: wire.Protocol}, nil)
			codes <- code
		}()
	}
	refused := 0
	for refused < many-16 { // the rest is under way
		if code := <-codes; code != http.StatusServiceUnavailable {
			t.Fatalf("answered %d", code)
		}
		refused++
	}
	honest.checkIn(wire.CheckIn{})
	close(free)
	good := 0
	for range many - refused {
		if <-codes == http.StatusOK {
			good++
		}
	}
	if n := most.Load(); n > 16 || good == 0 {
		t.Errorf("%d requests of one agent were under way, %d were answered well", n, good)
	}
	hostile.checkIn(wire.CheckIn{}) // and it goes on
}
