// Package winapps reads which products a Windows machine has: the Uninstall
// keys of the machine in both views and those of every user, and what the
// Windows Installer knows of its products and their patches.
package winapps

import (
	"context"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
)

// Collector adds packages of the kinds arp and msp. What single users' hives
// do not tell is a problem, not the end of the scan.
func Collector() collect.Collector {
	return collect.Collector{Name: "winapps", Essential: true, Collect: gather}
}

const (
	uninstall   = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`
	uninstall32 = `SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall`
)

func gather(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	g := &gatherer{registry: t.Registry(), into: s, own: map[string]map[string]string{}}
	if err := g.machine(); err != nil {
		return err
	}
	problems := append(g.users(t), g.installer())
	slices.SortFunc(s.Packages, inventory.ComparePackages)
	return collect.Incomplete(problems...)
}

type gatherer struct {
	registry winreg.Registry
	into     *inventory.Snapshot
	codes    map[string]string            // product code to upgrade code, of products for all users
	own      map[string]map[string]string // the same by the security identifier of a user
	scopes   map[string]string            // security identifier to the account's name
}

// machine reads the Uninstall keys that count for all users.
func (g *gatherer) machine() error {
	var err error
	if g.codes, err = upgradeCodes(g.registry); err != nil {
		return err
	}
	views := []struct{ view, arch string }{{winreg.View64, g.into.OS.Arch}, {winreg.View32, "386"}}
	switch g.into.OS.Arch {
	case "386":
		views = views[1:]
	case "arm64":
		views[0].arch = "" // programs for arm64 and for amd64 share the view
	}
	for _, v := range views {
		k, err := g.registry.Open(`HKLM\`+uninstall, v.view)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		err = g.products(k, v.arch, "", g.codes)
		_ = k.Close() // read only
		if err != nil {
			return err
		}
	}
	return nil
}

// maxOwn bounds what is listed of one user: each may write about himself what
// he likes, and must not keep the machine from being heard of.
const maxOwn = 2000

// products adds the products below an Uninstall key.
func (g *gatherer) products(k winreg.Key, arch, scope string, codes map[string]string) error {
	count := 0
	return winreg.Below(k, func(name string, k winreg.Key) error {
		p, listed := product(name, k)
		if !listed {
			return nil
		}
		if count++; scope != "" && count > maxOwn {
			return fault.New(fault.Exhausted, "winapps: there are more than %d, and only these are listed", maxOwn)
		}
		p.Arch, p.Scope, p.UpgradeCode = arch, scope, codes[p.Name]
		g.into.Packages = append(g.into.Packages, p)
		return nil
	})
}

// product reads one Uninstall key as Windows' own list of programs does: one
// without a name is none, components of the system and updates of other
// products are left out. Those of the Windows Installer stay in, because
// rules name them.
func product(name string, k winreg.Key) (inventory.Package, bool) {
	p := inventory.Package{
		Kind: "arp", Name: name, Version: text(k, "DisplayVersion"), Title: text(k, "DisplayName"), Publisher: text(k, "Publisher"),
	}
	installer, _ := winreg.Number(k, "WindowsInstaller")
	component, _ := winreg.Number(k, "SystemComponent")
	if isGUID(name) {
		p.Name = strings.ToUpper(name)
	}
	switch {
	case installer == 1 && isGUID(name):
		return p, true
	case p.Title == "", component == 1, text(k, "ParentKeyName") != "":
		return p, false
	}
	return p, true
}

// maxText bounds a text that a program has written about itself, in bytes.
const maxText = 512

// text is a text without blanks around it, cut to its bound.
func text(k winreg.Key, name string) string {
	s := strings.TrimSpace(winreg.Text(k, name))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// upgradeCodes maps product codes to the upgrade codes of their family, which
// the Windows Installer keeps the other way round.
func upgradeCodes(r winreg.Registry) (map[string]string, error) {
	codes := map[string]string{}
	err := winreg.Sub(r, `HKLM\SOFTWARE\Classes\Installer\UpgradeCodes`, winreg.View64, func(family string, k winreg.Key) error {
		return members(codes, family, k)
	})
	return codes, err
}

// members enters the products of one family.
func members(codes map[string]string, family string, k winreg.Key) error {
	upgrade, ok := unpacked(family)
	if !ok {
		return nil
	}
	names, err := k.Values()
	if err != nil {
		return err
	}
	for _, name := range names {
		if product, ok := unpacked(name); ok {
			codes[product] = upgrade
		}
	}
	return nil
}
