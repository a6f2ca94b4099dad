package catalog

import (
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/inventory"
)

// The default priorities of apt_preferences(5), "APT's Default Priority
// Assignments".
const (
	priorityInstalled = 100 // the version that is installed, as such
	priorityBackports = 100 // NotAutomatic and ButAutomaticUpgrades
	priorityManual    = 1   // NotAutomatic
	priorityNormal    = 500
	priorityTarget    = 990 // APT::Default-Release
	priorityDowngrade = 1000
)

// installedArchive stands for dpkg's status file, which apt treats as one
// more source, named "now".
var installedArchive = &Archive{Suite: "now"}

// policy answers which priority a version has on one machine. The zero value
// is a machine without preferences.
type policy struct {
	native   string
	general  []pin // "Package: *", Default-Release first
	specific []pin
	priority map[*Archive]int // memo of archives' priorities
}

// pin is one record of apt_preferences(5), ready to match.
type pin struct {
	packages []packagePattern
	kind     string // version, release, origin
	version  pattern
	fields   []field
	origin   string
	originRe pattern
	prio     int
}

type packagePattern struct {
	source bool
	exact  string
	glob   pattern // used when exact is empty
	arch   string  // "" means native for exact names, any for patterns
}

// field is one condition on a Release file: "a=bookworm".
type field struct {
	name byte // v o a n l c b, or r for "archive or codename"
	want pattern
}

// newPolicy prepares the machine's preferences. As in apt, Default-Release
// comes before the general pins, and in both lists the first match rules.
func newPolicy(p inventory.Policy, native string) *policy {
	out := &policy{native: native, priority: map[*Archive]int{}}
	if p.DefaultRelease != "" {
		out.general = append(out.general, pin{kind: "release", fields: releaseFields(p.DefaultRelease), prio: priorityTarget})
	}
	for _, in := range p.Pins {
		c := pin{kind: in.Type, prio: in.Priority}
		switch in.Type {
		case "version":
			c.version = versionPattern(in.Value)
		case "release":
			c.fields = releaseFields(in.Value)
		case "origin":
			c.origin = strings.Trim(in.Value, `"`)
			c.originRe = newPattern(c.origin)
		}
		if len(in.Packages) == 1 && in.Packages[0] == "*" {
			out.general = append(out.general, c)
			continue
		}
		for _, name := range in.Packages {
			c.packages = append(c.packages, newPackagePattern(name))
		}
		out.specific = append(out.specific, c)
	}
	return out
}

// plain reports that the machine has no preferences at all.
func (p *policy) plain() bool { return len(p.general) == 0 && len(p.specific) == 0 }

// of is the priority of a version that stands in the archives.
func (p *policy) of(pkg inventory.Package, arch, version string, in []*Archive) int {
	for _, c := range p.specific {
		if c.names(pkg, arch, p.native) && c.holds(version, arch, in) {
			return c.prio
		}
	}
	best := 0
	for i, a := range in {
		if n := p.archive(a); i == 0 || n > best {
			best = n
		}
	}
	if len(in) == 0 { // from a catalog without archives
		return priorityNormal
	}
	return best
}

// archive is the priority of an archive as such.
func (p *policy) archive(a *Archive) int {
	if n, ok := p.priority[a]; ok {
		return n
	}
	n := defaultPriority(a)
	for _, c := range p.general {
		if c.kind != "version" && c.holds("", "", []*Archive{a}) {
			n = c.prio
			break
		}
	}
	if p.priority != nil {
		p.priority[a] = n
	}
	return n
}

func defaultPriority(a *Archive) int {
	switch {
	case a == installedArchive:
		return priorityInstalled
	case a.NotAutomatic && a.ButAutomaticUpgrades:
		return priorityBackports
	case a.NotAutomatic:
		return priorityManual
	}
	return priorityNormal
}

// names reports whether a specific pin names the package.
func (c pin) names(pkg inventory.Package, arch, native string) bool {
	for _, n := range c.packages {
		name := pkg.Name
		if n.source && pkg.Source != "" {
			name = pkg.Source
		}
		want := n.arch
		if want == "native" || (want == "" && n.exact != "") {
			want = native
		}
		if want != "" && want != "any" && want != arch {
			continue
		}
		if n.exact == name || (n.exact == "" && n.glob.match(name)) {
			return true
		}
	}
	return false
}

// holds reports whether the pin's condition holds for a version in the
// archives; one of them is enough.
func (c pin) holds(version, arch string, in []*Archive) bool {
	if c.kind == "version" {
		return c.version.match(version)
	}
	for _, a := range in {
		if c.kind == "origin" && a.matchesOrigin(c) || c.kind == "release" && a.matchesRelease(c.fields, arch) {
			return true
		}
	}
	return false
}

func (a *Archive) matchesOrigin(c pin) bool {
	if c.origin == "" { // local archives: an empty site, but not the status file
		return a.Site == "" && a != installedArchive
	}
	return a.Site != "" && c.originRe.match(a.Site)
}

func (a *Archive) matchesRelease(fields []field, arch string) bool {
	for _, f := range fields {
		ok := false
		switch f.name {
		case 'v':
			ok = f.want.match(a.Version)
		case 'o':
			ok = f.want.match(a.Origin)
		case 'a':
			ok = f.want.match(a.Suite)
		case 'n':
			ok = f.want.match(a.Codename)
		case 'r':
			ok = f.want.match(a.Suite) || f.want.match(a.Codename)
		case 'l':
			ok = f.want.match(a.Label)
		case 'c':
			ok = a.hasIndex(func(i Index) bool { return f.want.match(i.Component) })
		case 'b':
			ok = arch == "" || f.want.match(arch)
		}
		if !ok {
			return false
		}
	}
	return len(fields) > 0
}

// hasIndex reports whether one of the archive's indexes fits. An item does not
// say from which component it comes, so a component pin counts for the whole
// archive when one of its components fits.
func (a *Archive) hasIndex(fits func(Index) bool) bool {
	return slices.ContainsFunc(a.Indexes, fits)
}

// releaseFields reads the value of "Pin: release" and of Default-Release:
// "a=bookworm, l=Debian", or one word that names archive, codename or, when it
// begins with a digit, the version. "*" fits everything.
func releaseFields(value string) []field {
	value = strings.TrimSpace(value)
	if value == "*" {
		return []field{{name: 'r', want: newPattern("*")}}
	}
	if value != "" && !strings.Contains(value, "=") {
		if value[0] >= '0' && value[0] <= '9' {
			return []field{{name: 'v', want: versionPattern(value)}}
		}
		return []field{{name: 'r', want: newPattern(value)}}
	}
	var out []field
	for part := range strings.SplitSeq(value, ",") {
		name, want, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || len(name) != 1 {
			continue
		}
		f := field{name: name[0] | 0x20, want: newPattern(want)}
		if f.name == 'v' {
			f.want = versionPattern(want)
		}
		out = append(out, f)
	}
	return out
}

func newPackagePattern(name string) packagePattern {
	var out packagePattern
	name, out.source = strings.CutPrefix(name, "src:")
	if i := strings.LastIndexByte(name, ':'); i > 0 && name[len(name)-1] != '/' {
		name, out.arch = name[:i], name[i+1:]
	}
	if isRegexp(name) || strings.ContainsAny(name, "*?[") {
		out.glob = newPattern(name)
		return out
	}
	out.exact = name
	return out
}
