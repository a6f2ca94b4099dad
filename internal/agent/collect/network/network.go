// Package network reads how the machine can be reached and woken: its
// interfaces, their MAC addresses and their lasting addresses.
package network

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Collector fills inventory.Network.
func Collector() collect.Collector {
	return collect.Collector{Name: "network", Collect: gather}
}

func gather(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	names, err := t.Names("sys/class/net")
	if err != nil {
		return err
	}
	addrs := six(t)
	if t.Live() {
		four(addrs)
	}
	for _, n := range names {
		if passing(n) || !t.Exists("sys/class/net/"+n+"/address") {
			continue
		}
		i := inventory.Interface{Name: n, MAC: t.Line("sys/class/net/" + n + "/address"), Addresses: addrs[n]}
		if strings.Trim(i.MAC, "0:") == "" {
			i.MAC = ""
		}
		slices.Sort(i.Addresses)
		if i.MAC != "" || len(i.Addresses) > 0 {
			s.Network.Interfaces = append(s.Network.Interfaces, i)
		}
	}
	return nil
}

// passing names interfaces that come and go with containers, or lead nowhere:
// they would make every report a change.
func passing(name string) bool {
	for _, p := range []string{"lo", "veth", "cali", "lxc", "tap", "vnet", "ifb", "dummy"} {
		if rest, ok := strings.CutPrefix(name, p); ok && (p != "lo" || rest == "") {
			return true
		}
	}
	return false
}

// The columns and flags of /proc/net/if_inet6 (Linux include/uapi/linux/if_addr.h).
const (
	sixColumns  = 6
	scopeLink   = 0x20
	flagTempory = 0x01
)

// six reads IPv6 addresses without link-local and temporary (RFC 8981) ones,
// which change by the day and reach nobody.
func six(t *collect.Tree) map[string][]string {
	out := map[string][]string{}
	data, err := t.ReadFile("proc/net/if_inet6", 1<<20)
	if err != nil {
		return out // no IPv6
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) != sixColumns {
			continue
		}
		raw, errRaw := hex.DecodeString(f[0])
		bits, errBits := strconv.ParseUint(f[2], 16, 8)
		scope, errScope := strconv.ParseUint(f[3], 16, 16)
		flags, errFlags := strconv.ParseUint(f[4], 16, 32)
		addr, ok := netip.AddrFromSlice(raw)
		if errRaw != nil || errBits != nil || errScope != nil || errFlags != nil || !ok || scope == scopeLink || flags&flagTempory != 0 {
			continue
		}
		out[f[5]] = append(out[f[5]], netip.PrefixFrom(addr, int(bits)).String())
	}
	return out
}

// four adds IPv4 addresses; only the kernel of the live machine knows them.
func four(out map[string][]string) {
	all, err := net.Interfaces()
	if err != nil {
		return // the machine still has its other facts
	}
	for _, i := range all {
		if passing(i.Name) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLinkLocalUnicast() {
				out[i.Name] = append(out[i.Name], n.String())
			}
		}
	}
}
