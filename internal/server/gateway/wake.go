package gateway

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/wire"
)

// wakes are the open wake channels, one for each endpoint; a new one replaces
// the old.
type wakes struct {
	mu     sync.RWMutex
	open   map[estate.EndpointID]*channel
	closed bool
}

// channel is one open stream: a slot for the next wake and a way to end it.
type channel struct {
	tenant estate.TenantID
	wake   chan int // seconds to spread over; holds one, more mean the same
	stop   chan struct{}
	once   sync.Once
}

func (c *channel) end() { c.once.Do(func() { close(c.stop) }) }

func (w *wakes) init() { w.open = map[estate.EndpointID]*channel{} }

func (w *wakes) add(p peer) (*channel, bool) {
	c := &channel{tenant: p.tenant, wake: make(chan int, 1), stop: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, false
	}
	if old := w.open[p.endpoint]; old != nil {
		old.end()
	}
	w.open[p.endpoint] = c
	return c, true
}

// remove forgets the channel unless a newer one took its place.
func (w *wakes) remove(id estate.EndpointID, c *channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[id] == c {
		delete(w.open, id)
	}
}

func (w *wakes) has(id estate.EndpointID) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.open[id] != nil
}

func (w *wakes) drop(id estate.EndpointID) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if c := w.open[id]; c != nil {
		c.end()
	}
}

func (w *wakes) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, c := range w.open {
		c.end()
	}
}

// Wake asks an endpoint to check in now. It returns at once; an endpoint
// without a channel here comes by itself after its interval.
func (g *Gateway) Wake(t estate.TenantID, id estate.EndpointID) {
	g.wakes.mu.RLock()
	c := g.wakes.open[id]
	g.wakes.mu.RUnlock()
	if c != nil && c.tenant == t {
		c.poke(0)
	}
}

// WakeAll asks every connected endpoint of the tenant ("": of all) to check in
// at a moment of its own within the span, so that they do not come at once.
func (g *Gateway) WakeAll(t estate.TenantID, over time.Duration) {
	g.wakes.mu.RLock()
	defer g.wakes.mu.RUnlock()
	for id, c := range g.wakes.open {
		if t == "" || c.tenant == t {
			c.poke(int(over.Seconds() * spread(id)))
		}
	}
}

// Connected counts the open wake channels.
func (g *Gateway) Connected() int {
	g.wakes.mu.RLock()
	defer g.wakes.mu.RUnlock()
	return len(g.wakes.open)
}

func (c *channel) poke(after int) {
	select {
	case c.wake <- after:
	default: // one waits already
	}
}

// wake holds the channel open until the agent leaves, a newer one comes, the
// endpoint is revoked or the server stops.
func (g *Gateway) wake(w http.ResponseWriter, r *http.Request, p peer) error {
	if _, err := g.standing(r, p); err != nil {
		return err
	}
	c, ok := g.wakes.add(p)
	if !ok {
		return fault.New(fault.Unavailable, "the server is stopping")
	}
	defer g.wakes.remove(p.endpoint, c)
	if g.isRevoked(p.endpoint) { // between the look-up and the entry
		return errRevoked
	}
	// What was to be told while no channel was open, after a restart of the
	// server or a network that was away, is told now.
	waiting, err := g.cfg.Orders.Orders(r.Context(), p.tenant, p.endpoint)
	if err != nil {
		return err
	}
	if _, asked := g.scans.Load(p.endpoint); asked || len(waiting) > 0 {
		c.poke(0)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	say := func(m wire.Wake) bool {
		line, err := json.Marshal(m)
		if err != nil {
			return false
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return false
		}
		return http.NewResponseController(w).Flush() == nil
	}
	alive := say(wire.Wake{Kind: "hello"})
	// Pings of many agents are spread by identity.
	gap := g.cfg.Ping*9/10 + time.Duration(float64(g.cfg.Ping)/5*spread(p.endpoint))
	ping := time.NewTimer(gap)
	defer ping.Stop()
	for alive {
		select {
		case <-r.Context().Done():
			return nil
		case <-c.stop:
			return nil
		case after := <-c.wake:
			alive = say(wire.Wake{Kind: "check", After: after})
		case <-ping.C:
			alive = say(wire.Wake{Kind: "ping"})
		}
		ping.Reset(gap)
	}
	return nil
}
