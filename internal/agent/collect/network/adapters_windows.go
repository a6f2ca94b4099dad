package network

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"unsafe"

	sys "golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// adapters asks GetAdaptersAddresses, which tells lasting addresses from
// temporary ones; package net does not.
func adapters() ([]inventory.Interface, error) {
	const flags = sys.GAA_FLAG_SKIP_ANYCAST | sys.GAA_FLAG_SKIP_MULTICAST | sys.GAA_FLAG_SKIP_DNS_SERVER
	size := uint32(16 << 10) // what Microsoft's documents begin with
	for range 4 {            // it may grow between two calls
		buf := make([]byte, size)
		first := (*sys.IpAdapterAddresses)(unsafe.Pointer(&buf[0]))
		err := sys.GetAdaptersAddresses(sys.AF_UNSPEC, flags, 0, first, &size)
		switch {
		case err == nil:
			return interfaces(first), nil
		case errors.Is(err, sys.ERROR_NO_DATA):
			return nil, nil
		case !errors.Is(err, sys.ERROR_BUFFER_OVERFLOW):
			return nil, fault.Wrap(err, fault.Unavailable, "network: the interfaces are not known")
		}
	}
	return nil, fault.New(fault.Unavailable, "network: the interfaces change faster than they can be read")
}

func interfaces(a *sys.IpAdapterAddresses) (out []inventory.Interface) {
	for ; a != nil; a = a.Next {
		name := sys.UTF16PtrToString(a.FriendlyName)
		if a.IfType == sys.IF_TYPE_SOFTWARE_LOOPBACK || a.IfType == sys.IF_TYPE_TUNNEL || virtualSwitch(name) {
			continue
		}
		i := inventory.Interface{Name: name}
		if n := min(int(a.PhysicalAddressLength), len(a.PhysicalAddress)); n > 0 {
			i.MAC = net.HardwareAddr(a.PhysicalAddress[:n]).String()
		}
		if strings.Trim(i.MAC, "0:") == "" {
			i.MAC = ""
		}
		for u := a.FirstUnicastAddress; u != nil; u = u.Next {
			addr, ok := netip.AddrFromSlice(u.Address.IP())
			if !ok || addr.Unmap().IsLinkLocalUnicast() || u.SuffixOrigin == sys.IpSuffixOriginRandom {
				continue
			}
			i.Addresses = append(i.Addresses, netip.PrefixFrom(addr.Unmap(), int(u.OnLinkPrefixLength)).String())
		}
		out = append(out, i)
	}
	return out
}

// virtualSwitch names the adapters that Hyper-V and WSL make anew at each
// start, with another network each time.
func virtualSwitch(name string) bool {
	return strings.HasPrefix(name, "vEthernet (Default Switch") || strings.HasPrefix(name, "vEthernet (WSL")
}
