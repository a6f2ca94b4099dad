package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
)

// FreeAddr is an address on loopback that nobody listens on at this moment, for
// a server that is told where to listen, and again after its restart. Its port
// is none that the kernel gives away by itself (ip_local_port_range, 32768 and
// more): not to a connection of any program, nor to a listener on port 0.
func FreeAddr(ctx context.Context) (string, error) {
	var (
		lc  net.ListenConfig
		err error
	)
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		l, errListen := lc.Listen(ctx, "tcp", addr)
		if errListen == nil {
			return addr, l.Close()
		}
		err = errListen
	}
	return "", fmt.Errorf("lab: no free port: %w", err)
}
