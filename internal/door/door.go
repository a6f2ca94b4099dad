// Package door bounds the connections that a listener lets in: of one address
// and in all while nobody has proven over them who he is, and of one owner
// after that. No peer keeps others out, whatever it opens.
package door

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Bounds of strangers' connections that stand at once, when none are given. A
// stranger is one over which nobody has proven who he is, be it in the handshake
// or after it.
const (
	strangersOfAddress = 1024 // a site behind one address has each machine but for a moment among them
	strangersOfAll     = 4096
	sayFullEvery       = time.Hour
)

// Bounds say how many connections may stand at once.
type Bounds struct {
	// OfAddress is for strangers of one address (0: 1,024, below 0: no bound),
	// OfAll for those of all addresses together (0: 4,096).
	OfAddress, OfAll int
	// OfOwner is for one who has proven who he is.
	OfOwner int
}

// Door is a listener that bounds who comes in. It closes what is too much
// before a byte is read, so that a handshake costs nothing then.
//
// An address that has its share gets no further stranger in. When strangers
// from many addresses fill all places, one of them goes, whichever, so that
// whoever comes has the better chance of a handshake the less time it takes
// (sshd does so too, MaxStartups in sshd_config(5)). Of an owner the oldest
// goes: a machine whose network broke down is not kept out by what it left.
type Door struct {
	net.Listener
	bounds Bounds
	log    *slog.Logger
	now    func() time.Time
	said   Seldom

	mu        sync.Mutex
	strangers []*guest
	from      map[string]int // strangers by network
	owners    map[string][]*guest
}

// guest is one connection that came in.
type guest struct {
	net.Conn
	door *Door
	from string

	// Guarded by door.mu.
	at    int    // place among the strangers, -1 when it is none
	owner string // whose it is; "" for a stranger
}

// New puts the listener behind its bounds. The server that accepts from it needs
// Attend.
func New(l net.Listener, b Bounds, log *slog.Logger, now func() time.Time) *Door {
	if b.OfAddress == 0 {
		b.OfAddress = strangersOfAddress
	}
	if b.OfAll <= 0 {
		b.OfAll = strangersOfAll
	}
	return &Door{Listener: l, bounds: b, log: log, now: now, from: map[string]int{}, owners: map[string][]*guest{}}
}

// Accept waits for the next peer that may come in.
func (d *Door) Accept() (net.Conn, error) {
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
func (d *Door) admit(c net.Conn) *guest {
	in := &guest{Conn: c, door: d, from: Network(c.RemoteAddr().String())}
	d.mu.Lock()
	if d.bounds.OfAddress >= 0 && d.from[in.from] >= d.bounds.OfAddress {
		d.mu.Unlock()
		if d.said.Within("address "+in.from, d.now(), sayFullEvery) {
			d.log.Warn("an address has too many connections over which nobody has proven who he is: more are closed; connections_per_address sets how many it may have", "address", in.from, "bound", d.bounds.OfAddress)
		}
		return nil
	}
	var out *guest
	if n := len(d.strangers); n >= d.bounds.OfAll {
		out = d.strangers[rand.IntN(n)] //nolint:gosec // nothing is won by knowing which
		d.forget(out)
	}
	in.at = len(d.strangers)
	d.strangers = append(d.strangers, in)
	d.from[in.from]++
	d.mu.Unlock()
	if out != nil {
		if d.said.Within("all", d.now(), sayFullEvery) {
			d.log.Warn("too many connections over which nobody has proven who he is, from all addresses together: for each new one another is closed", "bound", d.bounds.OfAll)
		}
		_ = out.Conn.Close() // its handler learns of it
	}
	return in
}

// forget takes the guest off the lists. The caller holds the lock.
func (d *Door) forget(g *guest) {
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
	if g.owner == "" {
		return
	}
	rest := make([]*guest, 0, len(d.owners[g.owner]))
	for _, other := range d.owners[g.owner] {
		if other != g {
			rest = append(rest, other)
		}
	}
	if d.owners[g.owner] = rest; len(rest) == 0 {
		delete(d.owners, g.owner)
	}
	g.owner = ""
}

// Close implements net.Conn; it may be called again.
func (g *guest) Close() error {
	g.door.mu.Lock()
	g.door.forget(g)
	g.door.mu.Unlock()
	return g.Conn.Close()
}

// belongs makes a stranger's connection that of its owner.
func (g *guest) belongs(owner string) {
	d := g.door
	d.mu.Lock()
	if g.at < 0 { // it is somebody's already, or was closed
		d.mu.Unlock()
		return
	}
	d.forget(g)
	g.owner = owner
	var out *guest
	if all := d.owners[owner]; len(all) >= d.bounds.OfOwner {
		out = all[0]
		d.forget(out)
	}
	d.owners[owner] = append(d.owners[owner], g)
	d.mu.Unlock()
	if out != nil {
		if d.said.Within("owner "+owner, d.now(), sayFullEvery) {
			d.log.Warn("one owner has too many connections: for each new one its oldest is closed", "owner", owner, "bound", d.bounds.OfOwner)
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

// Belongs says whose the connection is over which a request came: not before he
// has proven it, of a certificate with its key (crypto/tls calls
// VerifyConnection when it has seen the certificate alone, which others may have
// too). The first owner stays; without a door nothing happens.
func Belongs(ctx context.Context, owner string) {
	if g, ok := ctx.Value(guestKey{}).(*guest); ok {
		g.belongs(owner)
	}
}
