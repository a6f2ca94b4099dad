// Package updates reads which updates of the system a Windows machine has:
// the packages of component based servicing, and the KB numbers under which
// Microsoft speaks of them.
package updates

import (
	"context"
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
	"github.com/fettlehq/fettle/internal/wmi"
)

// Collector adds packages of the kinds kb and cbs.
//
// Of the packages only those of updates are listed (Package_for_...): the
// thousands that a release is made of say nothing that its build does not.
// Rules may name any; the probe answers them from the registry.
func Collector() collect.Collector {
	return collect.Collector{Name: "updates", Collect: gather}
}

const (
	packagesKey = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages`
	systemRoot  = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	manifests   = `servicing\Packages`
)

// States of a package from which on it is there (CbsPackageState: installed
// and permanent).
const (
	stateInstalled = 0x70
	statePermanent = 0x80
)

// patience is how long Win32_QuickFixEngineering may take; busy machines need
// tens of seconds.
const patience = time.Minute

func gather(ctx context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	found := map[string]bool{}
	err := winreg.Sub(t.Registry(), packagesKey, winreg.View64, func(identity string, k winreg.Key) error {
		p, ok := component(identity, k)
		if !ok {
			return nil
		}
		s.Packages = append(s.Packages, p)
		if kb := article(t, identity); kb != "" {
			found[kb] = true
		}
		return nil
	})
	var asked error
	if t.Live() {
		asked = quickFixes(ctx, found)
	}
	for kb := range found {
		s.Packages = append(s.Packages, inventory.Package{Kind: "kb", Name: kb})
	}
	slices.SortFunc(s.Packages, inventory.ComparePackages)
	if err != nil {
		err = fault.Wrap(err, fault.CodeOf(err), "updates: the packages of Windows are not known")
	}
	return collect.Incomplete(err, asked)
}

// component reads one package key. Its identity is
// name~public key token~architecture~language~version.
func component(identity string, k winreg.Key) (inventory.Package, bool) {
	state, _ := winreg.Number(k, "CurrentState")
	parts := strings.Split(identity, "~")
	if len(parts) != 5 || !strings.HasPrefix(parts[0], "Package_for_") || state != stateInstalled && state != statePermanent {
		return inventory.Package{}, false
	}
	arch := parts[2]
	if arch == "x86" {
		arch = "386"
	}
	return inventory.Package{Kind: "cbs", Name: identity, Arch: arch, Version: parts[4]}, true
}

var isArticle = regexp.MustCompile(`^KB[0-9]{5,8}$`)

// article is the KB of a package: part of its name (Package_for_KB5034127), or
// what its manifest says (Package_for_RollupFix).
func article(t *collect.Tree, identity string) string {
	name, _, _ := strings.Cut(identity, "~")
	if kb := strings.TrimPrefix(name, "Package_for_"); isArticle.MatchString(kb) {
		return kb
	}
	folder := winreg.TextAt(t.Registry(), systemRoot, "SystemRoot") + `\` + manifests
	f, err := t.OpenWithin(folder, identity+".mum")
	if err != nil {
		return "" // the package counts all the same
	}
	defer func() { _ = f.Close() }() // read only
	return manifestArticle(f)
}

// maxManifest bounds how much of a manifest is read: what is looked for stands
// in its first lines.
const maxManifest = 64 << 10

// manifestArticle reads the identifier of the package element of a package
// manifest (.mum), "" when there is none that is a KB.
func manifestArticle(r io.Reader) string {
	d := xml.NewDecoder(io.LimitReader(r, maxManifest))
	for {
		token, err := d.Token()
		if err != nil {
			return ""
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "package" {
			continue
		}
		for _, a := range start.Attr {
			if kb := strings.ToUpper(a.Value); a.Name.Local == "identifier" && isArticle.MatchString(kb) {
				return kb
			}
		}
		return ""
	}
}

// quickFixes adds the KBs that WMI lists: those of packages without a
// manifest among them.
func quickFixes(ctx context.Context, found map[string]bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows, err := wmi.Query(ctx, wmi.CIMv2, "SELECT HotFixID FROM Win32_QuickFixEngineering", "HotFixID")
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "updates: Windows' own list of its updates is not known")
	}
	for _, r := range rows {
		if kb := strings.ToUpper(strings.TrimSpace(r["HotFixID"])); isArticle.MatchString(kb) {
			found[kb] = true
		}
	}
	return nil
}
