package server

import (
	"net"
	"os"
)

// ownNames are what this machine can be called: addresses that other machines
// may reach first, then the host name, then loopback.
func ownNames() []string {
	var names []string
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addrs {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
				names = append(names, ip.IP.String())
			}
		}
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	return append(names, "127.0.0.1", "::1", "localhost")
}
