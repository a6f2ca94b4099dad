package winget

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// Version is one version of a package, joined from its files, with the
// defaults entered into each installer.
type Version struct {
	Identifier string      `json:"id"`
	Version    string      `json:"version"`
	Name       string      `json:"name,omitempty"`
	Publisher  string      `json:"publisher,omitempty"`
	Notes      string      `json:"notes,omitempty"` // address of the release notes
	Homepage   string      `json:"homepage,omitempty"`
	Installers []Installer `json:"installers"`
}

type versionKey struct{ id, version string }

// Join makes versions of files, sorted by package and version. Versions without
// an installer file are rejected by name.
func Join(docs []Document) ([]Version, []crawl.Rejection) {
	byKey := map[versionKey]*Version{}
	var order []versionKey
	for _, d := range docs {
		k := versionKey{strings.ToLower(d.Identifier), d.Version}
		v := byKey[k]
		if v == nil {
			v = &Version{Identifier: d.Identifier, Version: d.Version}
			byKey[k] = v
			order = append(order, k)
		}
		v.enter(d)
	}
	var out []Version
	var rejected []crawl.Rejection
	for _, k := range order {
		if v := byKey[k]; len(v.Installers) > 0 {
			out = append(out, *v)
		} else {
			rejected = append(rejected, crawl.Rejection{What: v.Identifier + " " + v.Version, Reason: "no file of this version names an installer"})
		}
	}
	slices.SortFunc(out, compareVersions)
	return out, rejected
}

func compareVersions(a, b Version) int {
	return cmp.Or(strings.Compare(strings.ToLower(a.Identifier), strings.ToLower(b.Identifier)),
		vercmp.WindowsQuad(a.Version, b.Version), strings.Compare(a.Version, b.Version))
}

// enter adds what one file says.
func (v *Version) enter(d Document) {
	if d.Type == "defaultlocale" || d.Type == "singleton" || d.Type == "merged" || v.Name == "" && d.Type == "locale" {
		v.Name, v.Publisher = cmp.Or(d.Name, v.Name), cmp.Or(d.Publisher, v.Publisher)
		v.Notes, v.Homepage = cmp.Or(d.ReleaseNotes, v.Notes), cmp.Or(d.Homepage, v.Homepage)
	}
	for _, in := range d.Installers {
		v.Installers = append(v.Installers, in.over(d.Defaults))
	}
}

// over fills in what an installer leaves to the defaults: keys of the root
// count for each installer that does not set them itself.
func (in Installer) over(def Installer) Installer {
	for _, f := range []struct{ own, other *string }{
		{&in.Locale, &def.Locale},
		{&in.Type, &def.Type},
		{&in.Nested, &def.Nested},
		{&in.Scope, &def.Scope},
		{&in.Architecture, &def.Architecture},
		{&in.URL, &def.URL},
		{&in.SHA256, &def.SHA256},
		{&in.MinimumOS, &def.MinimumOS},
		{&in.Upgrade, &def.Upgrade},
		{&in.ProductCode, &def.ProductCode},
		{&in.Family, &def.Family},
		{&in.Elevation, &def.Elevation},
		{&in.Released, &def.Released},
		{&in.Switches.Silent, &def.Switches.Silent},
		{&in.Switches.Progress, &def.Switches.Progress},
		{&in.Switches.Custom, &def.Switches.Custom},
		{&in.Switches.Upgrade, &def.Switches.Upgrade},
	} {
		*f.own = cmp.Or(*f.own, *f.other)
	}
	in.Modes, in.Success, in.Returns = or(in.Modes, def.Modes), or(in.Success, def.Success), or(in.Returns, def.Returns)
	in.Entries, in.NotOn = or(in.Entries, def.Entries), or(in.NotOn, def.NotOn)
	d := &in.Dependencies
	d.Features, d.Libraries = or(d.Features, def.Dependencies.Features), or(d.Libraries, def.Dependencies.Libraries)
	d.Packages, d.External = or(d.Packages, def.Dependencies.Packages), or(d.External, def.Dependencies.External)
	in.SHA256 = strings.ToLower(in.SHA256)
	in.Type, in.Scope, in.Architecture = strings.ToLower(in.Type), strings.ToLower(in.Scope), strings.ToLower(in.Architecture)
	return in
}

func or[T any](a, b []T) []T {
	if len(a) > 0 {
		return a
	}
	return b
}
