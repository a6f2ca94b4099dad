package patch

import "github.com/fettlehq/fettle/internal/detect"

// Present returns the rule that shows exactly this patch on a machine, which a
// rollback asks for: it counts as installed and, where it brings packages, one
// of them is there in the very version. A newer version does not count.
func (p Patch) Present() detect.Rule {
	_, installed := p.Rules()
	if len(p.Items) == 0 {
		return installed
	}
	var exact []detect.Rule
	for _, it := range p.Items {
		exact = append(exact, detect.Rule{Package: &detect.Package{
			Kind: it.Kind, Name: it.Name, Arch: p.effectiveArch(it.Arch), Op: detect.EQ, Version: it.Version,
		}})
	}
	return detect.Rule{All: []detect.Rule{installed, {Any: exact}}}
}

// There returns the rule that shows some version of what the patch brings: any
// of its packages. A patch without packages has no such test; it always holds.
func (p Patch) There() detect.Rule {
	if len(p.Items) == 0 {
		always := true
		return detect.Rule{Always: &always}
	}
	var some []detect.Rule
	for _, it := range p.Items {
		some = append(some, detect.Rule{Package: &detect.Package{Kind: it.Kind, Name: it.Name, Arch: p.effectiveArch(it.Arch)}})
	}
	return detect.Rule{Any: some}
}
