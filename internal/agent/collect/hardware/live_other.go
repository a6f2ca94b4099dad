//go:build !windows

package hardware

import "github.com/fettlehq/fettle/internal/inventory"

func windowsLive(*inventory.Hardware) error { return nil }
