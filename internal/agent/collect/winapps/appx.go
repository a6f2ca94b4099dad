package winapps

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/vercmp"
	"github.com/fettlehq/fettle/internal/winreg"
)

// Packaged adds packages of the kind appx: those that Windows' app deployment
// installs (AppX, MSIX). It is no part of what an installation is judged by,
// since these update themselves at any time.
//
// A package counts for the whole machine when it is provisioned for everybody,
// else for each user who has it. Left out are the parts of Windows itself,
// bundles, and packages of resources (languages, resolutions), which come with
// the package that they belong to.
func Packaged() collect.Collector {
	return collect.Collector{Name: "appx", Collect: packaged}
}

// Where Windows keeps its packages: all that lie on the machine, those that
// each new user gets, and those of one user, in the hive of his classes. What
// is removed from the machine may stay in a user's list, so both must have it.
const (
	repository   = `Local Settings\Software\Microsoft\Windows\CurrentVersion\AppModel\Repository\Packages`
	onMachine    = `HKLM\SOFTWARE\Classes\Local Settings\Software\Microsoft\Windows\CurrentVersion\AppModel\PackageRepository\Packages`
	forEverybody = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Appx\AppxAllUserStore\Applications`
	classesHive  = `AppData/Local/Microsoft/Windows/UsrClass.dat`
)

// maxPackaged bounds the packages of a machine that are looked at.
const maxPackaged = 5000

func packaged(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	g := &gatherer{registry: t.Registry(), into: s}
	folders, err := g.profiles()
	if err != nil {
		return err
	}
	g.scopes = scopes(folders)
	a := &appx{gatherer: g, windows: winreg.TextAt(g.registry, `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "SystemRoot")}
	if err := a.machine(); err != nil || len(a.here) == 0 {
		return err
	}
	users, problems := a.users(t, folders)
	s.Packages = append(s.Packages, a.rows(users)...)
	slices.SortFunc(s.Packages, inventory.ComparePackages)
	return collect.Incomplete(problems...)
}

// appx gathers packages by their full names in lower case.
type appx struct {
	*gatherer
	windows     string
	here        map[string]inventory.Package
	provisioned map[string]bool // families, as in Package.Name
}

// machine reads which packages lie on the machine and which are everybody's.
func (a *appx) machine() error {
	a.here, a.provisioned = map[string]inventory.Package{}, map[string]bool{}
	err := winreg.Sub(a.registry, onMachine, winreg.View64, func(full string, k winreg.Key) error {
		p, ok := packageOf(full)
		if !ok || a.ofWindows(winreg.Text(k, "Path")) {
			return nil
		}
		if len(a.here) >= maxPackaged {
			return fault.New(fault.Exhausted, "winapps: the machine has more than %d packages of apps", maxPackaged)
		}
		a.here[strings.ToLower(full)] = p
		return nil
	})
	if err != nil {
		return err
	}
	k, err := a.registry.Open(forEverybody, winreg.View64)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = k.Close() }() // read only
	names, err := k.Keys()
	for _, full := range names {
		if n, ok := parseName(full); ok { // bundles too
			a.provisioned[strings.ToLower(n.family())] = true
		}
	}
	return err
}

// ofWindows reports a package that lies in Windows' own folder: it is serviced
// with Windows.
func (a *appx) ofWindows(path string) bool {
	root := a.windows + `\`
	return a.windows != "" && len(path) > len(root) && strings.EqualFold(path[:len(root)], root)
}

// users lists by scope what each user has of the machine's packages.
func (a *appx) users(t *collect.Tree, folders map[string]string) (map[string][]inventory.Package, []error) {
	users := map[string][]inventory.Package{}
	var problems []error
	loaded, err := a.loaded()
	if err != nil {
		return users, []error{err}
	}
	take := func(sid string, err error) {
		if err != nil {
			problems = append(problems, fault.Wrap(err, fault.CodeOf(err), "winapps: the packages of apps of %s are not known", a.account(sid)))
		}
	}
	for _, sid := range loaded {
		classes, err := a.registry.Open(`HKU\`+sid+`_Classes`, winreg.Native)
		if err == nil {
			err = a.has(classes, a.scope(sid), users)
			_ = classes.Close() // read only
		}
		if !fault.Is(err, fault.NotFound) { // services have none
			take(sid, err)
		}
		delete(folders, canonical(sid))
	}
	for _, sid := range slices.Sorted(maps.Keys(folders)) {
		take(sid, within(t, folders[sid], classesHive, func(k winreg.Key) error { return a.has(k, a.scope(sid), users) }))
	}
	return users, problems
}

// has adds what a user's classes name and the machine has.
func (a *appx) has(classes winreg.Key, scope string, users map[string][]inventory.Package) error {
	list, err := classes.Open(repository)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = list.Close() }() // read only
	names, err := list.Keys()
	if err != nil {
		return err
	}
	for _, full := range names {
		p, ok := a.here[strings.ToLower(full)]
		if !ok {
			continue
		}
		if k, err := list.Open(full); err == nil {
			p.Title = displayName(k, p.Title)
			_ = k.Close() // read only
		}
		users[scope] = append(users[scope], p)
	}
	return nil
}

// displayName is the package's name for people, unless it stands in a table of
// texts within the package.
func displayName(k winreg.Key, otherwise string) string {
	name := text(k, "DisplayName")
	if name == "" || strings.HasPrefix(name, "@") || strings.HasPrefix(strings.ToLower(name), "ms-resource:") {
		return otherwise
	}
	return name
}

// rows are the rows of the inventory: the newest of what is everybody's, and
// what single users have beside it or instead of it. What is everybody's is not
// called what one user has written about it.
func (a *appx) rows(users map[string][]inventory.Package) (out []inventory.Package) {
	var common []inventory.Package
	for _, p := range a.here {
		if a.provisioned[strings.ToLower(p.Name)] {
			common = append(common, p)
		}
	}
	everybody := newestOf(common)
	for _, p := range everybody {
		out = append(out, p)
	}
	for scope, list := range users {
		for key, p := range newestOf(list) {
			if have, ok := everybody[key]; ok && have.Version == p.Version {
				continue
			}
			p.Scope = scope
			out = append(out, p)
		}
	}
	return out
}

type familyArch struct{ family, arch string }

// newestOf keeps the newest of each family and architecture: older ones stay
// on a machine until nothing uses them.
func newestOf(all []inventory.Package) map[familyArch]inventory.Package {
	out := map[familyArch]inventory.Package{}
	for _, p := range all {
		key := familyArch{p.Name, p.Arch}
		if have, ok := out[key]; !ok || vercmp.WindowsQuad(p.Version, have.Version) > 0 {
			out[key] = p
		}
	}
	return out
}

// packageName is a package's full name, taken apart ("Package identity" in
// Microsoft's documents): Name_Version_Architecture_Resource_PublisherID.
type packageName struct{ name, version, arch, resource, publisher string }

func parseName(full string) (n packageName, ok bool) {
	part := strings.Split(full, "_")
	if len(full) > maxText || len(part) != 5 || part[0] == "" || len(part[4]) != 13 {
		return n, false
	}
	n = packageName{part[0], part[1], part[2], part[3], part[4]}
	return n, vercmp.Valid(vercmp.Windows, n.version) == nil
}

func (n packageName) family() string { return n.name + "_" + n.publisher }

// packageOf is the row of a package that holds programs or a framework.
func packageOf(full string) (inventory.Package, bool) {
	n, ok := parseName(full)
	arch, known := map[string]string{"x64": "amd64", "x86": "386", "arm64": "arm64", "arm": "arm", "neutral": ""}[strings.ToLower(n.arch)]
	main := n.resource == "" || strings.EqualFold(n.resource, "neutral")
	if !ok || !known || !main {
		return inventory.Package{}, false
	}
	return inventory.Package{Kind: inventory.KindPackaged, Name: n.family(), Version: n.version, Arch: arch, Title: n.name}, true
}
