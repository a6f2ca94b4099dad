package winapps

import (
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

// userData is where the Windows Installer keeps what it has installed, by the
// user for whom and by packed product code.
const userData = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Installer\UserData`

// installer adds the patches of the Windows Installer's products, and those of
// its products that have lost their Uninstall key: the Windows Installer
// counts them as installed all the same.
func (g *gatherer) installer() error {
	listed := map[string]bool{}
	for _, p := range g.into.Packages {
		if p.Kind == "arp" {
			listed[p.Name] = true
		}
	}
	err := winreg.Sub(g.registry, userData, winreg.View64, func(sid string, user winreg.Key) error {
		products, err := user.Open("Products")
		if err != nil {
			return nil //nolint:nilerr // components alone
		}
		defer func() { _ = products.Close() }() // read only
		scope := ""
		if sid != localSystem {
			scope = g.scope(sid)
		}
		return winreg.Below(products, func(name string, k winreg.Key) error {
			code, ok := unpacked(name)
			if !ok {
				return nil
			}
			if !listed[code] {
				g.unlisted(code, scope, k)
			}
			return g.patches(code, scope, k)
		})
	})
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "winapps: the Windows Installer's patches are not known")
	}
	return nil
}

// unlisted adds a product without an Uninstall key.
func (g *gatherer) unlisted(code, scope string, k winreg.Key) {
	properties, err := k.Open("InstallProperties")
	if err != nil {
		return // advertised, not installed
	}
	defer func() { _ = properties.Close() }() // read only
	g.into.Packages = append(g.into.Packages, inventory.Package{
		Kind: "arp", Name: code, Version: text(properties, "DisplayVersion"), Title: text(properties, "DisplayName"),
		Publisher: text(properties, "Publisher"), Scope: scope, UpgradeCode: g.codes[code],
	})
}

// applied is MSIPATCHSTATE_APPLIED of msi.h; superseded and obsoleted patches
// do no longer count.
const applied = 1

// patches adds the patches of one product.
func (g *gatherer) patches(product, scope string, k winreg.Key) error {
	all, err := k.Open("Patches")
	if err != nil {
		return nil //nolint:nilerr // it has none
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
