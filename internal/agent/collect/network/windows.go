package network

import (
	"context"
	"slices"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Windows fills inventory.Network of the live Windows machine.
func Windows() collect.Collector {
	return collect.Collector{Name: "network", Collect: windows}
}

func windows(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	if !t.Live() {
		return nil
	}
	all, err := adapters()
	if err != nil {
		return err
	}
	for _, i := range all {
		slices.Sort(i.Addresses)
		if i.MAC != "" || len(i.Addresses) > 0 {
			s.Network.Interfaces = append(s.Network.Interfaces, i)
		}
	}
	slices.SortFunc(s.Network.Interfaces, func(a, b inventory.Interface) int {
		return slices.Compare([]string{a.Name, a.MAC}, []string{b.Name, b.MAC})
	})
	return nil
}
