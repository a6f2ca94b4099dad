package inventory

import (
	"slices"
	"strconv"
	"strings"
)

// WindowsRelease is one release of Windows: what one catalog slice serves.
// Service packs and editions belong to their release.
type WindowsRelease struct {
	// ID and Version are what a machine of the release has in OS: they make
	// its platform, such as "windows-11-23h2-amd64".
	ID, Version string
	// Name is for people.
	Name string
	// Builds are the builds of the release as "major.minor.build", the
	// lowest first; several where service packs raised the number.
	Builds []string
	// Server says that it is a server release: clients and servers share
	// build numbers.
	Server bool
}

// Platform is the catalog slice of the release on an architecture.
func (r WindowsRelease) Platform(arch string) string {
	return OS{ID: r.ID, Version: r.Version}.PlatformFor(arch)
}

// WindowsReleases lists the releases, oldest first. The builds are Microsoft's
// (https://learn.microsoft.com/windows/release-health/release-information).
func WindowsReleases() []WindowsRelease {
	client := func(id, version, name string, builds ...string) WindowsRelease {
		return WindowsRelease{ID: id, Version: version, Name: name, Builds: builds}
	}
	server := func(version, name string, builds ...string) WindowsRelease {
		return WindowsRelease{ID: "windows-server", Version: version, Name: name, Builds: builds, Server: true}
	}
	out := []WindowsRelease{
		client("windows", "xp", "Windows XP", "5.1.2600"),
		client("windows", "xp-x64", "Windows XP x64 Edition", "5.2.3790"),
		server("2003", "Windows Server 2003", "5.2.3790"),
		client("windows", "vista", "Windows Vista", "6.0.6000", "6.0.6001", "6.0.6002", "6.0.6003"),
		server("2008", "Windows Server 2008", "6.0.6001", "6.0.6002", "6.0.6003"),
		client("windows", "7", "Windows 7", "6.1.7600", "6.1.7601"),
		server("2008-r2", "Windows Server 2008 R2", "6.1.7600", "6.1.7601"),
		client("windows", "8", "Windows 8", "6.2.9200"),
		server("2012", "Windows Server 2012", "6.2.9200"),
		client("windows", "8.1", "Windows 8.1", "6.3.9600"),
		server("2012-r2", "Windows Server 2012 R2", "6.3.9600"),
	}
	for _, r := range []struct{ version, build string }{
		{"1507", "10240"},
		{"1511", "10586"},
		{"1607", "14393"},
		{"1703", "15063"},
		{"1709", "16299"},
		{"1803", "17134"},
		{"1809", "17763"},
		{"1903", "18362"},
		{"1909", "18363"},
		{"2004", "19041"},
		{"20h2", "19042"},
		{"21h1", "19043"},
		{"21h2", "19044"},
		{"22h2", "19045"},
	} {
		out = append(out, client("windows-10", r.version, "Windows 10 "+strings.ToUpper(r.version), "10.0."+r.build))
	}
	for _, r := range []struct{ version, build string }{
		{"21h2", "22000"},
		{"22h2", "22621"},
		{"23h2", "22631"},
		{"24h2", "26100"},
		{"25h2", "26200"},
		{"26h1", "28000"},
	} {
		out = append(out, client("windows-11", r.version, "Windows 11 "+strings.ToUpper(r.version), "10.0."+r.build))
	}
	for _, r := range []struct{ version, build string }{
		{"2016", "14393"},
		{"1709", "16299"},
		{"1803", "17134"},
		{"2019", "17763"},
		{"1903", "18362"},
		{"1909", "18363"},
		{"2004", "19041"},
		{"20h2", "19042"},
		{"2022", "20348"},
		{"23h2", "25398"},
		{"2025", "26100"},
	} {
		out = append(out, server(r.version, "Windows Server "+strings.ToUpper(r.version), "10.0."+r.build))
	}
	return out
}

// WindowsOf finds the release of a machine by its build, such as
// "10.0.17763.8389" or "6.1.7601", and whether it is a server. It is false for
// a build that no release has (a preview, or one newer than this program).
func WindowsOf(build string, server bool) (WindowsRelease, bool) {
	parts := strings.Split(build, ".")
	if len(parts) < 3 {
		return WindowsRelease{}, false
	}
	for _, p := range parts[:3] {
		if _, err := strconv.ParseUint(p, 10, 32); err != nil {
			return WindowsRelease{}, false
		}
	}
	base := strings.Join(parts[:3], ".")
	for _, r := range WindowsReleases() {
		if r.Server != server {
			continue
		}
		if slices.Contains(r.Builds, base) {
			return r, true
		}
	}
	return WindowsRelease{}, false
}
