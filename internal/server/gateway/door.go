package gateway

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
)

// Bounds of connections that stand at once. A stranger is one over which no
// machine has asked for something with its certificate yet, be it in the
// handshake or after it.
const (
	strangersOfAddress = 1024 // by default; a site behind one address has each machine but for a moment among them
	strangersOfAll     = 4096
	maxConnections     = 16 // of one endpoint; an agent has one or two, and its children as many
	sayFullEvery       = time.Hour
)

// door is a listener that bounds who comes in. It closes what is too much
// before a byte is read, so that a handshake costs nothing then.
//
// An address that has its share gets no further stranger in. When strangers
// from many addresses fill all places, one of them goes, whichever, so that
// whoever comes has the better chance of a handshake the less time it takes
// (sshd does so too, MaxStartups in sshd_config(5)). Of an endpoint the oldest
// goes: a machine whose network broke down is not kept out by what it left.
type door struct {
	net.Listener
	ofAddress, ofAll int // ofAddress below 0: no bound
	log              *slog.Logger
	now              func() time.Time
	said             onceInAWhile

	mu        sync.Mutex
	strangers []*guest
	from      map[string]int // strangers by network
	machines  map[estate.EndpointID][]*guest
}

// guest is one connection that came in.
type guest struct {
	net.Conn
	door *door
	from string

	// Guarded by door.mu.
	at       int               // place among the strangers, -1 when it is none
	endpoint estate.EndpointID // whose it is; "" for a stranger
}

// door returns the listener behind its bounds.
func (g *Gateway) door(l net.Listener) *door {
	return &door{
		Listener: l, ofAddress: g.cfg.StrangersOfAddress, ofAll: g.cfg.Strangers, log: g.cfg.Log, now: g.cfg.Now,
		from: map[string]int{}, machines: map[estate.EndpointID][]*guest{},
	}
}

// Accept waits for the next peer that may come in.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if in := d.admit(c); in != nil {
			return in, nil
		}
		_ = c.Close() // it was told nothing and has said nothing
	}
}

// admit gives the peer a place among the strangers, nil when its address has
// its share.
func (d *door) admit(c net.Conn) *guest {
	in := &guest{Conn: c, door: d, from: network(c.RemoteAddr().String())}
	d.mu.Lock()
	if d.ofAddress >= 0 && d.from[in.from] >= d.ofAddress {
		d.mu.Unlock()
		if d.said.within("address "+in.from, d.now(), sayFullEvery) {
			d.log.Warn("an address has too many connections without a machine's certificate: more are closed; connections_per_address sets how many it may have", "address", in.from, "bound", d.ofAddress)
		}
		return nil
	}
	var out *guest
	if n := len(d.strangers); n >= d.ofAll {
		out = d.strangers[rand.IntN(n)] //nolint:gosec // nothing is won by knowing which
		d.forget(out)
	}
	in.at = len(d.strangers)
	d.strangers = append(d.strangers, in)
	d.from[in.from]++
	d.mu.Unlock()
	if out != nil {
		if d.said.within("all", d.now(), sayFullEvery) {
			d.log.Warn("too many connections without a machine's certificate, from all addresses together: for each new one another is closed", "bound", d.ofAll)
		}
		_ = out.Conn.Close() // its handler learns of it
	}
	return in
}

// forget takes the guest off the lists. The caller holds the lock.
func (d *door) forget(g *guest) {
	if g.at >= 0 {
		last := len(d.strangers) - 1
		d.strangers[g.at] = d.strangers[last]
		d.strangers[g.at].at = g.at
		d.strangers[last] = nil
		d.strangers = d.strangers[:last]
		g.at = -1
		if d.from[g.from]--; d.from[g.from] == 0 {
			delete(d.from, g.from)
		}
	}
	if g.endpoint == "" {
		return
	}
	rest := make([]*guest, 0, maxConnections)
	for _, other := range d.machines[g.endpoint] {
		if other != g {
			rest = append(rest, other)
		}
	}
	if d.machines[g.endpoint] = rest; len(rest) == 0 {
		delete(d.machines, g.endpoint)
	}
	g.endpoint = ""
}

// Close implements net.Conn; it may be called again.
func (g *guest) Close() error {
	g.door.mu.Lock()
	g.door.forget(g)
	g.door.mu.Unlock()
	return g.Conn.Close()
}

// belongs makes the connection that of a machine, which has proven with its key
// whose it is. Not before: crypto/tls calls VerifyConnection when it has seen
// the certificate alone, which others may have too.
func (g *guest) belongs(id estate.EndpointID) {
	d := g.door
	d.mu.Lock()
	if g.at < 0 { // it is the machine's already, or was closed
		d.mu.Unlock()
		return
	}
	d.forget(g)
	g.endpoint = id
	var out *guest
	if all := d.machines[id]; len(all) >= maxConnections {
		out = all[0]
		d.forget(out)
	}
	d.machines[id] = append(d.machines[id], g)
	d.mu.Unlock()
	if out != nil {
		if d.said.within("endpoint "+string(id), d.now(), sayFullEvery) {
			d.log.Warn("a machine has too many connections: for each new one its oldest is closed", "endpoint", id, "bound", maxConnections)
		}
		_ = out.Conn.Close() // its handler learns of it
	}
}

type guestKey struct{}

// known is http.Server's ConnContext: requests know over which connection they came.
func known(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, guestKey{}, c)
}

// guestOf returns the connection of a request, nil when it came through no door.
func guestOf(ctx context.Context) *guest {
	g, _ := ctx.Value(guestKey{}).(*guest)
	return g
}

// network is what counts as one address: whoever has one of IPv6 has the 2^64
// of its network (RFC 4291, section 2.5.4). remote may have a port.
func network(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	p, _ := ip.Prefix(64) // never fails for IPv6
	return p.String()
}
