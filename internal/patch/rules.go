package patch

import (
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
)

// Rules returns the detection rules of the patch: its own when it has them,
// else those that its package items imply. A package patch is applicable when
// any of its packages is installed, and installed when none of its installed
// packages is older than the item. For products of Windows, which an installer
// may have removed, one of them must be there besides. A patch that has only
// one of the two rules wants it to hold as well as what its items imply.
func (p Patch) Rules() (applicable, installed detect.Rule) {
	if p.Applicable != nil && p.Installed != nil {
		return *p.Applicable, *p.Installed
	}
	applicable, installed = p.itemRules()
	if p.Applicable != nil {
		applicable = detect.Rule{All: []detect.Rule{*p.Applicable, applicable}}
	}
	if p.Installed != nil {
		installed = detect.Rule{All: []detect.Rule{*p.Installed, installed}}
	}
	return applicable, installed
}

// itemRules are the rules that the items imply.
func (p Patch) itemRules() (applicable, installed detect.Rule) {
	never, always := false, true
	applicable, installed = detect.Rule{Always: &never}, detect.Rule{Always: &always}
	if len(p.Items) == 0 {
		return applicable, installed
	}
	var present, older, level []detect.Rule
	for _, it := range p.Items {
		test := detect.Package{Kind: it.Kind, Name: it.Name, Arch: p.effectiveArch(it.Arch)}
		present = append(present, detect.Rule{Package: &test})
		old := test
		old.Op, old.Version = detect.LT, it.Version
		older = append(older, detect.Rule{Package: &old})
		if isProduct(it.Kind) {
			there := old
			there.Op = detect.GE
			level = append(level, detect.Rule{Package: &there})
		}
	}
	installed = detect.Rule{Not: &detect.Rule{Any: older}}
	if len(level) > 0 {
		installed = detect.Rule{All: []detect.Rule{{Any: level}, installed}}
	}
	return detect.Rule{Any: present}, installed
}

// isProduct reports the kinds that name products of Windows: Uninstall key,
// upgrade code, display name with publisher, product code, package family.
func isProduct(kind string) bool {
	return kind == "arp" || kind == "upgrade" || kind == "app" || kind == "msi" || kind == "appx"
}

// effectiveArch is the architecture under which a machine counts the item:
// "all" and "noarch" count as the native one, which ends the platform's name.
func (p Patch) effectiveArch(arch string) string {
	if arch == "all" || arch == "noarch" {
		return p.Platform[strings.LastIndexByte(p.Platform, '-')+1:]
	}
	return arch
}
