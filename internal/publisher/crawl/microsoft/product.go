package microsoft

import (
	"regexp"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/inventory"
)

// Class says what a product name of Microsoft's documents stands for.
type Class int

// The classes of products.
const (
	// Foreign is anything that is not a release of Windows or a part of one:
	// Office, SQL Server, apps, cloud services.
	Foreign Class = iota
	// Whole is a release of Windows itself.
	Whole
	// Component is a part that is serviced by itself on a release: Internet
	// Explorer, .NET Framework, Flash Player, Defender.
	Component
	// Device is a Windows that no endpoint of ours runs: Mobile, HoloLens.
	Device
	// Strange is named like a Windows but not known: the table needs it.
	Strange
)

// Product is what a product name means.
type Product struct {
	Class     Class
	Component string // "Internet Explorer 11"; empty unless Class is Component
	Release   inventory.WindowsRelease
	Arch      string // amd64, 386, arm64, arm, ia64
	// ServicePack is the level that the name asks for; 0 means none named.
	ServicePack int
	// Core says that it is the Server Core installation of the release, which
	// is the same platform.
	Core bool
}

// Platform is the catalog slice of the product; empty when it has none.
func (p Product) Platform() string {
	if p.Class != Whole && p.Class != Component {
		return ""
	}
	return p.Release.Platform(p.Arch)
}

// releaseNames maps the names of the documents, in lower case and without
// architecture, service pack and "(Server Core installation)", to releases.
var releaseNames = map[string]releaseKey{
	"microsoft windows xp":                      {"windows", "xp"},
	"microsoft windows xp professional":         {"windows", "xp"},
	"microsoft windows xp x64 edition":          {"windows", "xp-x64"},
	"microsoft windows xp professional edition": {"windows", "xp"},
	"microsoft windows server 2003":             {"windows-server", "2003"},
	"windows vista":                             {"windows", "vista"},
	"windows server 2008":                       {"windows-server", "2008"},
	"windows 7":                                 {"windows", "7"},
	"windows server 2008 r2":                    {"windows-server", "2008-r2"},
	"windows 8":                                 {"windows", "8"},
	"windows server 2012":                       {"windows-server", "2012"},
	"windows 8.1":                               {"windows", "8.1"},
	"windows rt 8.1":                            {"windows", "8.1"},
	"windows server 2012 r2":                    {"windows-server", "2012-r2"},
	"windows 10":                                {"windows-10", "1507"},
	"windows 11":                                {"windows-11", "21h2"},
	"windows server 2016":                       {"windows-server", "2016"},
	"windows server 2019":                       {"windows-server", "2019"},
	"windows server 2022":                       {"windows-server", "2022"},
	"windows server 2022, 23h2 edition":         {"windows-server", "23h2"},
	"windows server 2025":                       {"windows-server", "2025"},
}

type releaseKey struct{ id, version string }

// versioned are the names with a version of their own in them.
var versioned = regexp.MustCompile(`^(windows 10|windows 11|windows server),? version ([0-9]{4}|[0-9]{2}h[12])$`)

var (
	servicePack = regexp.MustCompile(` service pack ([1-4])\b`)
	coreInstall = regexp.MustCompile(` *\(server core installation\)`)
	archPhrases = []struct{ phrase, arch string }{
		{" for x64-based systems", "amd64"},
		{" for 32-bit systems", "386"},
		{" for arm64-based systems", "arm64"},
		{" for itanium-based systems", "ia64"},
		{" x64 edition", "amd64"},
	}
)

// extendedFor names the only editions that are still serviced after the rest
// of a release: the Long-Term Servicing Channel. The dates are the last Patch
// Tuesday of Enterprise and Education
// (https://learn.microsoft.com/lifecycle/products/).
var extendedFor = map[releaseKey]time.Time{
	{"windows-10", "1507"}: time.Date(2017, 5, 9, 0, 0, 0, 0, time.UTC),
	{"windows-10", "1607"}: time.Date(2019, 4, 9, 0, 0, 0, 0, time.UTC),
	{"windows-10", "1809"}: time.Date(2021, 5, 11, 0, 0, 0, 0, time.UTC),
	{"windows-10", "21h2"}: time.Date(2024, 6, 11, 0, 0, 0, 0, time.UTC),
}

// longTerm are the EditionIDs of the Long-Term Servicing Channel.
var longTerm = []string{"EnterpriseS", "EnterpriseSN", "IoTEnterpriseS", "IoTEnterpriseSK"}

// shared are releases that differ by an enablement package alone: one package
// serves them, and the revision of the build is the same.
var shared = [][]string{
	{"10.0.18362", "10.0.18363"},
	{"10.0.19041", "10.0.19042", "10.0.19043", "10.0.19044", "10.0.19045"},
	{"10.0.22621", "10.0.22631"},
	{"10.0.26100", "10.0.26200"},
}

// ParseProduct reads a product name of the documents.
func ParseProduct(name string) Product {
	lower := strings.Join(strings.Fields(strings.ToLower(name)), " ")
	if component, base, ok := cutOn(lower); ok {
		p := parseRelease(base)
		if p.Class == Whole {
			p.Class, p.Component = Component, original(name, len(component))
		}
		return p
	}
	return parseRelease(lower)
}

// original is the beginning of a name as written.
func original(name string, n int) string {
	joined := strings.Join(strings.Fields(name), " ")
	if n > len(joined) { // lower case can have another length outside ASCII
		return joined
	}
	return joined[:n]
}

// cutOn splits "internet explorer 11 on windows 7 ...".
func cutOn(lower string) (component, base string, ok bool) {
	i := strings.LastIndex(lower, " on windows ")
	if j := strings.LastIndex(lower, " on microsoft windows "); j >= 0 {
		i = j
	}
	if i < 0 {
		return "", "", false
	}
	if strings.HasSuffix(lower[:i], " when installed") { // Silverlight: any Windows
		return "", "", false
	}
	return lower[:i], lower[i+len(" on "):], true
}

func parseRelease(name string) Product {
	p := Product{}
	rest := name
	if m := servicePack.FindStringSubmatch(rest); m != nil {
		p.ServicePack = int(m[1][0] - '0')
		rest = servicePack.ReplaceAllString(rest, "")
	}
	if coreInstall.MatchString(rest) {
		p.Core = true
		rest = coreInstall.ReplaceAllString(rest, "")
	}
	if strings.HasPrefix(rest, "microsoft windows xp") && strings.Contains(rest, "x64 edition") {
		rest, p.Arch = "microsoft windows xp x64 edition", "amd64"
	}
	for _, a := range archPhrases {
		if p.Arch == "" && strings.Contains(rest, a.phrase) {
			p.Arch = a.arch
			rest = strings.Replace(rest, a.phrase, "", 1)
		}
	}
	rest = strings.TrimSpace(rest)
	key, known := releaseNames[rest]
	if m := versioned.FindStringSubmatch(rest); m != nil {
		key, known = releaseKey{strings.ReplaceAll(m[1], " ", "-"), m[2]}, true
	}
	if r, ok := releaseOf(key); known && ok {
		p.Class, p.Release = Whole, r
		if p.Arch == "" {
			p.Arch = impliedArch(rest, r)
		}
		return p
	}
	return Product{Class: classOf(rest)}
}

// impliedArch is the architecture of names that give none: old clients were
// 32-bit where not said otherwise, servers since 2012 are 64-bit alone.
func impliedArch(name string, r inventory.WindowsRelease) string {
	switch {
	case strings.Contains(name, " rt "):
		return "arm"
	case r.Server && r.Version != "2003" && r.Version != "2008":
		return "amd64"
	}
	return "386"
}

// classOf is the class of a name without a release.
func classOf(name string) Class {
	switch {
	case strings.HasSuffix(name, " hololens"), strings.HasSuffix(name, " mobile"), strings.HasPrefix(name, "windows phone"):
		return Device
	case strings.HasPrefix(name, "windows 1"), strings.HasPrefix(name, "windows server"), strings.HasPrefix(name, "windows rt"),
		strings.HasPrefix(name, "microsoft windows"):
		return Strange
	}
	return Foreign
}

func releaseOf(k releaseKey) (inventory.WindowsRelease, bool) {
	for _, r := range inventory.WindowsReleases() {
		if r.ID == k.id && r.Version == k.version {
			return r, true
		}
	}
	return inventory.WindowsRelease{}, false
}

// ParsePlatform reads a catalog slice's name back; its class is Foreign when it
// is none of Windows.
func ParsePlatform(platform string) Product {
	i := strings.LastIndexByte(platform, '-')
	if i < 0 {
		return Product{}
	}
	for _, r := range inventory.WindowsReleases() {
		if r.ID+"-"+r.Version == platform[:i] {
			return Product{Class: Whole, Release: r, Arch: platform[i+1:]}
		}
	}
	return Product{}
}
