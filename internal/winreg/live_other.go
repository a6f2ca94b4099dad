//go:build !windows

package winreg

import "github.com/fettlehq/fettle/internal/fault"

// Live is the registry of this machine: it has none, so each key gives fault.Unsupported.
func Live() Registry { return none{} }

type none struct{}

func (none) Open(string, string) (Key, error) {
	return nil, fault.New(fault.Unsupported, "winreg: this machine has no registry")
}
