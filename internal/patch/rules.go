package patch

import (
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
)

// Rules returns the detection rules of the patch: its own when it has them,
// else those that its package items imply. A package patch is applicable when
// any of its packages is installed, and installed when none of its installed
// packages is older than the item.
func (p Patch) Rules() (applicable, installed detect.Rule) {
	if p.Applicable != nil && p.Installed != nil {
		return *p.Applicable, *p.Installed
	}
	never, always := false, true
	applicable, installed = detect.Rule{Always: &never}, detect.Rule{Always: &always}
	if len(p.Items) == 0 {
		return applicable, installed
	}
	var present, older []detect.Rule
	for _, it := range p.Items {
		test := detect.Package{Kind: it.Kind, Name: it.Name, Arch: p.effectiveArch(it.Arch)}
		present = append(present, detect.Rule{Package: &test})
		old := test
		old.Op, old.Version = detect.LT, it.Version
		older = append(older, detect.Rule{Package: &old})
	}
	return detect.Rule{Any: present}, detect.Rule{Not: &detect.Rule{Any: older}}
}

// effectiveArch is the architecture under which a machine counts the item:
// "all" and "noarch" count as the native one, which ends the platform's name.
func (p Patch) effectiveArch(arch string) string {
	if arch == "all" || arch == "noarch" {
		return p.Platform[strings.LastIndexByte(p.Platform, '-')+1:]
	}
	return arch
}
