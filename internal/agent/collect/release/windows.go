package release

import (
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

// Windows fills inventory.OS of a Windows machine, its architecture included.
func Windows() collect.Collector {
	return collect.Collector{Name: "release", Essential: true, Collect: windows}
}

const (
	currentVersion = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	productOptions = `HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions`
	environment    = `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment`
	computerName   = `HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName`
	tcpip          = `HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters`
)

// firstWindows11 is the build from which on ProductName, which still says
// Windows 10, is wrong on clients.
const firstWindows11 = 22000

func windows(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	k, err := t.Registry().Open(currentVersion, winreg.Native)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "release: can't learn which Windows this is")
	}
	defer func() { _ = k.Close() }() // read only
	o := &s.OS
	o.Family = "windows"
	build := or(winreg.Text(k, "CurrentBuildNumber"), winreg.Text(k, "CurrentBuild"))
	o.Build = version(k) + "." + build
	isServer := server(t, k)
	o.Edition = winreg.Text(k, "EditionID")
	o.Codename = or(winreg.Text(k, "DisplayVersion"), winreg.Text(k, "ReleaseId"))
	o.ID, o.Version = "windows", build
	o.Name = winreg.Text(k, "ProductName")
	if r, known := inventory.WindowsOf(o.Build, isServer); known {
		o.ID, o.Version = r.ID, r.Version
		o.Name = or(o.Name, r.Name)
	}
	if n, err := strconv.Atoi(build); err == nil && n >= firstWindows11 && !isServer {
		o.Name = strings.Replace(o.Name, "Windows 10", "Windows 11", 1)
	}
	if revision, ok := winreg.Number(k, "UBR"); ok {
		o.Build += "." + strconv.FormatUint(revision, 10)
	}
	o.Arch = architecture(t)
	o.Hostname = windowsHostname(t)
	if build == "" || o.Arch == "" {
		return fault.New(fault.Invalid, "release: the registry names no build or no processor of this Windows")
	}
	return nil
}

// version is major and minor. CurrentVersion stays at 6.3 from Windows 10 on,
// where numbers of their own came.
func version(k winreg.Key) string {
	major, ok := winreg.Number(k, "CurrentMajorVersionNumber")
	minor, _ := winreg.Number(k, "CurrentMinorVersionNumber")
	if !ok {
		return winreg.Text(k, "CurrentVersion")
	}
	return strconv.FormatUint(major, 10) + "." + strconv.FormatUint(minor, 10)
}

// server asks InstallationType first: multi-session Windows 10 is a client
// whose ProductType says ServerNT.
func server(t *collect.Tree, k winreg.Key) bool {
	if installed := winreg.Text(k, "InstallationType"); installed != "" {
		return strings.HasPrefix(installed, "Server")
	}
	product := winreg.TextAt(t.Registry(), productOptions, "ProductType")
	return product != "" && product != "WinNT"
}

// architecture is the machine's own in Go's names, whatever this program is
// built for.
func architecture(t *collect.Tree) string {
	if t.Live() {
		if arch := nativeArchitecture(); arch != "" {
			return arch
		}
	}
	switch winreg.TextAt(t.Registry(), environment, "PROCESSOR_ARCHITECTURE") {
	case "AMD64":
		return "amd64"
	case "ARM64":
		return "arm64"
	case "x86":
		return "386"
	}
	return ""
}

func windowsHostname(t *collect.Tree) string {
	if t.Live() {
		if h, err := os.Hostname(); err == nil {
			return h
		}
	}
	return or(winreg.TextAt(t.Registry(), tcpip, "Hostname"), winreg.TextAt(t.Registry(), computerName, "ComputerName"))
}
