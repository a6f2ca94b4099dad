package microsoft

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
)

const (
	currentVersion = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	packValue      = "CSDVersion" // "Service Pack 3"
)

// packs are the service packs of a platform, each once.
func (l List) packs(platform string) []patch.Patch {
	var out []patch.Patch
	seen := map[string]bool{}
	for _, k := range l.Packs {
		base := ParseProduct(k.Product)
		if base.Platform() != platform || seen[k.Name] {
			continue
		}
		seen[k.Name] = true
		out = append(out, k.patch(base))
	}
	for i := range out { // edges to packs of the same platform only
		out[i].Supersedes = slices.DeleteFunc(out[i].Supersedes, func(p patch.ID) bool {
			return !slices.ContainsFunc(out, func(q patch.Patch) bool { return q.ID == p })
		})
	}
	return out
}

// platforms are those that have service packs.
func (l List) platforms() []string {
	found := map[string]bool{}
	for _, k := range l.Packs {
		if p := ParseProduct(k.Product).Platform(); p != "" {
			found[p] = true
		}
	}
	return sortedKeys(found)
}

func (k Pack) patch(base Product) patch.Patch {
	at, err := time.Parse("20060102", k.Date)
	if err != nil {
		at = time.Time{}
	}
	platform := base.Platform()
	p := patch.Patch{
		ID: packID(platform, k.Name), Vendor: Vendor, Platform: platform, Product: product(k.Name), Version: at.Format("2006.01.02"),
		Title: k.Title, Classification: patch.ServicePack, Severity: patch.Unknown, Released: at,
		Install: patch.Manifest{Kind: "exe", Reboot: patch.RebootAlways},
	}
	for _, old := range k.Supersedes {
		p.Supersedes = append(p.Supersedes, packID(platform, old))
	}
	name, _, _ := strings.Cut(k.Title, " (KB")
	target := ParseProduct(name)
	switch {
	case target.Class == Whole && (target.Release.ID != base.Release.ID || target.Release.Version != base.Release.Version):
		p.Classification = patch.Feature // another release: no rule, people decide
	case target.ServicePack > 0:
		p.Applicable, p.Installed = packRules(base, target.ServicePack)
	case msrc.KB(k.Name) != "":
		level := osBuild(detect.GE, level(base.Release, base.ServicePack))
		have := anyOf(hotfixes([]string{msrc.KB(k.Name)}))
		p.Applicable, p.Installed = &level, &have
	}
	return p
}

// product is the name of a pack: "KB976932", or the list's word where Microsoft
// gave it no number of its own.
func product(name string) string {
	if kb := msrc.KB(name); kb != "" {
		return "KB" + kb
	}
	return name
}

func packID(platform, name string) patch.ID {
	i := strings.LastIndexByte(platform, '-')
	return patch.ID(platform[:i] + ":" + platform[i+1:] + ":" + product(name))
}

// level is the build of a release at a service pack. Server 2008 began with
// the code of Service Pack 1.
func level(r inventory.WindowsRelease, pack int) string {
	if r.Server && r.Version == "2008" {
		pack--
	}
	return r.Builds[min(max(pack, 0), len(r.Builds)-1)]
}

// packRules judge a service pack by the build, and for XP and Server 2003,
// whose build it does not raise, by the registry.
func packRules(base Product, n int) (applicable, installed *detect.Rule) {
	r := base.Release
	if len(r.Builds) > 1 {
		a, i := osBuild(detect.GE, level(r, base.ServicePack)), osBuild(detect.GE, level(r, n))
		return &a, &i
	}
	const highest = 4
	var reached []detect.Rule
	for k := n; k <= highest; k++ {
		reached = append(reached, packIs(k))
	}
	a := detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Op: detect.GE, Build: r.Builds[0]}}
	if base.ServicePack > 0 {
		var from []detect.Rule
		for k := base.ServicePack; k <= highest; k++ {
			from = append(from, packIs(k))
		}
		a = detect.Rule{All: []detect.Rule{a, {Any: from}}}
	}
	return &a, &detect.Rule{Any: reached}
}

func packIs(n int) detect.Rule {
	return detect.Rule{RegistryValue: &detect.RegistryValue{
		Key: currentVersion, Name: packValue, Type: "sz", Op: detect.EQ, Data: "Service Pack " + strconv.Itoa(n),
	}}
}
