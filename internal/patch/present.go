package patch

import (
	"slices"

	"github.com/fettlehq/fettle/internal/detect"
)

// Listed reports whether machines list something that the patch brings: a
// package or a product. Items of the kind "file" are installers' files, which
// no machine lists; what such a patch brings is told by its rules alone.
func (p Patch) Listed() bool { return slices.ContainsFunc(p.Items, Item.listed) }

func (it Item) listed() bool { return it.Kind != "file" }

// Present returns the rule that shows exactly this patch on a machine, which a
// rollback asks for: it counts as installed and, where it brings packages, one
// of them is there in the very version. A newer version does not count, unless
// machines list nothing of the patch (see Listed) and its rule counts it.
func (p Patch) Present() detect.Rule {
	_, installed := p.Rules()
	if !p.Listed() {
		return installed
	}
	var exact []detect.Rule
	for _, it := range p.Items {
		if !it.listed() {
			continue
		}
		exact = append(exact, detect.Rule{Package: &detect.Package{
			Kind: it.Kind, Name: it.Name, Arch: p.effectiveArch(it.Arch), Op: detect.EQ, Version: it.Version,
		}})
	}
	return detect.Rule{All: []detect.Rule{installed, {Any: exact}}}
}

// There returns the rule that shows some version of what the patch brings: any
// of its packages. A patch without packages has no such test; it always holds.
func (p Patch) There() detect.Rule {
	if !p.Listed() {
		always := true
		return detect.Rule{Always: &always}
	}
	var some []detect.Rule
	for _, it := range p.Items {
		if !it.listed() {
			continue
		}
		some = append(some, detect.Rule{Package: &detect.Package{Kind: it.Kind, Name: it.Name, Arch: p.effectiveArch(it.Arch)}})
	}
	return detect.Rule{Any: some}
}
