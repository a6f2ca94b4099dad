package door

import (
	"net"
	"net/netip"
)

// Network is what counts as one address: whoever has one of IPv6 has the 2^64
// of its network (RFC 4291, section 2.5.4). remote may have a port.
func Network(remote string) string {
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
