package server

import (
	"net"
	"time"
)

// readerPatience is how long a peer of the admin port may take none of what is
// written to it. Handlers that stream have deadlines of their own; the others
// would wait for ever for a peer that asks and never reads.
const readerPatience = 30 * time.Second

// impatient is a listener whose connections give up a peer that reads nothing.
type impatient struct {
	net.Listener
	patience time.Duration
}

// Accept waits for the next peer.
func (l impatient) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return impatientConn{c, l.patience}, nil
}

type impatientConn struct {
	net.Conn
	patience time.Duration
}

// Write fails when the peer takes nothing for the whole time.
func (c impatientConn) Write(b []byte) (int, error) {
	const piece = 64 << 10 // so that a slow peer has the time for each
	done := 0
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
			return done, err
		}
		n, err := c.Conn.Write(b[done:min(len(b), done+piece)])
		if done += n; err != nil || done == len(b) {
			return done, err
		}
	}
}
