package hardware

import (
	"context"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

// Windows fills inventory.Hardware of a Windows machine: the processor from
// the registry, and on the live machine the maker, model and serial number
// from the firmware's tables, memory and disks from the kernel. WMI tells the
// same and takes seconds.
func Windows() collect.Collector {
	return collect.Collector{Name: "hardware", Collect: windows}
}

const (
	biosKey       = `HKLM\HARDWARE\DESCRIPTION\System\BIOS`
	processorsKey = `HKLM\HARDWARE\DESCRIPTION\System\CentralProcessor`
)

func windows(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	reg, h := t.Registry(), &s.Hardware
	h.Vendor, h.Model = winreg.TextAt(reg, biosKey, "SystemManufacturer"), winreg.TextAt(reg, biosKey, "SystemProductName")
	h.Firmware = winreg.TextAt(reg, biosKey, "BIOSVersion")
	h.CPU = strings.TrimSpace(winreg.TextAt(reg, processorsKey+`\0`, "ProcessorNameString"))
	var err error
	if h.Cores, err = processors(reg); err == nil && t.Live() {
		err = windowsLive(h)
	}
	h.Virtual = virtualByName(h.Vendor, h.Model)
	return err
}

// processors counts the keys, one for each logical processor.
func processors(reg winreg.Registry) (n int, err error) {
	err = winreg.Sub(reg, processorsKey, winreg.Native, func(string, winreg.Key) error { n++; return nil })
	return n, err
}
