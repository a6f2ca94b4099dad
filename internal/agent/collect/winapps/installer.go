package winapps

import (
	"maps"
	"slices"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

// userData is where the Windows Installer keeps what it has installed, by the
// user for whom and by packed product code.
const userData = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Installer\UserData`

// installer adds the patches of the Windows Installer's products, and those of
// its products that have lost their Uninstall key: the Windows Installer
// counts them as installed all the same. Its books also decide whose a product
// is, for an Uninstall key of the machine may stand for one user's (under Wine
// they all do).
func (g *gatherer) installer() error {
	owners := map[string][]string{} // product code to security identifiers
	lost := map[string][]inventory.Package{}
	err := winreg.Sub(g.registry, userData, winreg.View64, func(sid string, user winreg.Key) error {
		products, err := user.Open("Products")
		if err != nil {
			return nil // components alone
		}
		defer func() { _ = products.Close() }() // read only
		return winreg.Below(products, func(name string, k winreg.Key) error {
			code, ok := unpacked(name)
			if !ok {
				return nil
			}
			if p, installed := g.registered(code, sid, k); installed {
				owners[code] = append(owners[code], sid)
				lost[code] = append(lost[code], p)
			}
			return g.patches(code, g.owner(sid), k)
		})
	})
	for i := range g.into.Packages {
		p := &g.into.Packages[i]
		if p.Kind != "arp" {
			continue
		}
		delete(lost, p.Name)
		if of := owners[p.Name]; p.Scope == "" && len(of) > 0 && !slices.Contains(of, localSystem) {
			p.Scope, p.UpgradeCode = g.owner(of[0]), g.own[of[0]][p.Name]
		}
	}
	for _, code := range slices.Sorted(maps.Keys(lost)) {
		g.into.Packages = append(g.into.Packages, lost[code]...)
	}
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "winapps: the Windows Installer's patches are not known")
	}
	return nil
}

// owner is the scope of what stands under a security identifier in the
// Windows Installer's books: the machine's stands under the system's own.
func (g *gatherer) owner(sid string) string {
	if sid == localSystem {
		return ""
	}
	return g.scope(sid)
}

// registered reads a product of the Windows Installer's books; one that is
// advertised alone is not installed.
func (g *gatherer) registered(code, sid string, k winreg.Key) (inventory.Package, bool) {
	properties, err := k.Open("InstallProperties")
	if err != nil {
		return inventory.Package{}, false
	}
	defer func() { _ = properties.Close() }() // read only
	codes := g.codes
	if sid != localSystem {
		codes = g.own[sid]
	}
	return inventory.Package{
		Kind: "arp", Name: code, Version: text(properties, "DisplayVersion"), Title: text(properties, "DisplayName"),
		Publisher: text(properties, "Publisher"), Scope: g.owner(sid), UpgradeCode: codes[code],
	}, true
}

// applied is MSIPATCHSTATE_APPLIED of msi.h; superseded and obsoleted patches
// do no longer count.
const applied = 1

// patches adds the patches of one product.
func (g *gatherer) patches(product, scope string, k winreg.Key) error {
	all, err := k.Open("Patches")
	if err != nil {
		return nil // it has none
	}
	defer func() { _ = all.Close() }() // read only
	return winreg.Below(all, func(name string, k winreg.Key) error {
		code, ok := unpacked(name)
		if state, told := winreg.Number(k, "State"); !ok || told && state != applied {
			return nil
		}
		g.into.Packages = append(g.into.Packages, inventory.Package{
			Kind: "msp", Name: code, Title: text(k, "DisplayName"), Source: product, Scope: scope,
		})
		return nil
	})
}
