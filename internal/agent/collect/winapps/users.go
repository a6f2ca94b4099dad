package winapps

import (
	"maps"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/winreg"
)

const (
	profileList      = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList`
	userUpgradeCodes = `Software\Microsoft\Installer\UpgradeCodes`
	hiveFile         = "NTUSER.DAT"
)

// users adds what single users have: from the hives that are loaded, and from
// the files of those whose owner is not signed in.
func (g *gatherer) users(t *collect.Tree) (problems []error) {
	folders, err := g.profiles()
	if err != nil {
		return []error{err}
	}
	g.scopes = scopes(folders)
	loaded, err := g.loaded()
	if err != nil {
		return []error{err}
	}
	for _, sid := range loaded {
		if err := g.signedIn(sid); err != nil {
			problems = append(problems, fault.Wrap(err, fault.CodeOf(err), "winapps: the products of %s alone are not known", g.account(sid)))
		}
		delete(folders, canonical(sid))
	}
	for _, sid := range slices.Sorted(maps.Keys(folders)) {
		if err := g.away(t, sid, folders[sid]); err != nil {
			problems = append(problems, fault.Wrap(err, fault.CodeOf(err), "winapps: the products of %s alone are not known", g.account(sid)))
		}
	}
	return problems
}

// profiles maps the security identifiers of all who ever signed in to their folders.
func (g *gatherer) profiles() (map[string]string, error) {
	folders := map[string]string{}
	windows := winreg.TextAt(g.registry, `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "SystemRoot")
	drive, _, _ := strings.Cut(windows, `\`)
	err := winreg.Sub(g.registry, profileList, winreg.View64, func(sid string, k winreg.Key) error {
		folder := winreg.Text(k, "ProfileImagePath")
		for name, value := range map[string]string{"%systemroot%": windows, "%windir%": windows, "%systemdrive%": drive} {
			if len(folder) >= len(name) && strings.EqualFold(folder[:len(name)], name) {
				folder = value + folder[len(name):]
			}
		}
		// Windows parks the profile of a failed sign-in under such a name.
		if folder != "" && strings.HasPrefix(sid, "S-1-") && !strings.HasSuffix(sid, ".bak") {
			folders[sid] = folder
		}
		return nil
	})
	return folders, err
}

// loaded lists the hives below HKEY_USERS that are users'.
func (g *gatherer) loaded() ([]string, error) {
	k, err := g.registry.Open("HKU", winreg.Native)
	if err != nil {
		return nil, err
	}
	defer func() { _ = k.Close() }() // read only
	names, err := k.Keys()
	if err != nil {
		return nil, err
	}
	var out []string
	system := false
	for _, name := range names {
		switch {
		case strings.HasSuffix(strings.ToLower(name), "_classes"):
			continue
		case canonical(name) == localSystem: // Windows shows its hive under two names
			if system {
				continue
			}
			system = true
		}
		out = append(out, name)
	}
	return out, nil
}

const localSystem = "S-1-5-18"

// canonical is the security identifier that a hive's name stands for.
func canonical(hive string) string {
	if strings.EqualFold(hive, ".DEFAULT") {
		return localSystem
	}
	return hive
}

// signedIn reads a loaded hive.
func (g *gatherer) signedIn(sid string) error {
	k, err := g.registry.Open(`HKU\`+sid, winreg.Native)
	if fault.Is(err, fault.NotFound) { // signed out meanwhile; the next scan reads the file
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = k.Close() }() // read only
	return g.hive(k, sid)
}

// away reads the hive file of a user who is not signed in. It is read as it
// lies there: loading it would keep its owner from signing in meanwhile.
func (g *gatherer) away(t *collect.Tree, sid, folder string) error {
	return within(t, folder, hiveFile, func(k winreg.Key) error { return g.hive(k, sid) })
}

// hive adds the products of a user's hive.
func (g *gatherer) hive(k winreg.Key, sid string) error {
	codes := map[string]string{}
	g.own[canonical(sid)] = codes
	if families, err := k.Open(userUpgradeCodes); err == nil {
		err = winreg.Below(families, func(name string, k winreg.Key) error { return members(codes, name, k) })
		_ = families.Close() // read only
		if err != nil {
			return err
		}
	}
	for _, p := range []struct{ path, arch string }{{uninstall, ""}, {uninstall32, "386"}} {
		list, err := k.Open(p.path)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		err = g.products(list, p.arch, g.scope(sid), codes)
		_ = list.Close() // read only
		if err != nil {
			return err
		}
	}
	return nil
}

// scopes names each user's scope by the folder of the profile: the account's
// name without asking a domain controller, which may be far away. Two of one
// name are told apart by their identifiers.
func scopes(folders map[string]string) map[string]string {
	count := map[string]int{}
	base := func(folder string) string { return strings.ToLower(folder[strings.LastIndexByte(folder, '\\')+1:]) }
	for _, f := range folders {
		count[base(f)]++
	}
	out := map[string]string{}
	for sid, f := range folders {
		name := f[strings.LastIndexByte(f, '\\')+1:]
		if count[base(f)] > 1 || name == "" {
			name = sid
		}
		out[sid] = name
	}
	out[localSystem], out["S-1-5-19"], out["S-1-5-20"] = "SYSTEM", "LOCAL SERVICE", "NETWORK SERVICE"
	return out
}

func (g *gatherer) account(hive string) string {
	sid := canonical(hive)
	if name := g.scopes[sid]; name != "" {
		return name
	}
	return sid
}

func (g *gatherer) scope(hive string) string { return "user:" + g.account(hive) }
