package microsoft

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/msrc"
)

// Vendor is the vendor's name in patches and advisories.
const Vendor = "microsoft"

// Build turns folded months and the supersedence list, which may be empty,
// into patches, advisories and vulnerabilities. The same input always gives
// the same output, whatever its order.
func Build(months []msrc.Month, list List) (crawl.Output, Tally) {
	g := collect(months)
	out := crawl.Output{Vulnerabilities: vulnerabilities(months)}
	bulletins := map[string][]*entry{}
	for _, platform := range sortedKeys(g.entries) {
		l := newLine(platform, g.entries[platform], list.Edges[platform])
		g.tally.Edges += l.graph.edges
		g.tally.Circular += l.graph.circular
		packs := list.packs(platform)
		for _, e := range l.all() {
			g.tally.Kinds[e.kind.String()]++
			bulletins[e.kb] = append(bulletins[e.kb], e)
			out.Patches = append(out.Patches, l.patch(e))
		}
		out.Patches = append(out.Patches, packs...)
		g.tally.Kinds["service_pack"] += len(packs)
	}
	for _, platform := range list.platforms() {
		if _, done := g.entries[platform]; !done {
			packs := list.packs(platform)
			out.Patches = append(out.Patches, packs...)
			g.tally.Kinds["service_pack"] += len(packs)
		}
	}
	for kb, e := range g.foreign {
		bulletins[kb] = append(bulletins[kb], e)
	}
	for _, kb := range sortedKeys(bulletins) {
		out.Advisories = append(out.Advisories, advisory(kb, bulletins[kb]))
	}
	for _, name := range sortedKeys(g.tally.Strange) {
		out.Rejected = append(out.Rejected, crawl.Rejection{What: name, Reason: "this Windows is not known to this program: its KBs are advisories alone"})
	}
	return out, g.tally
}

// id names a KB on its platform.
func id(platform, kb string) patch.ID {
	i := strings.LastIndexByte(platform, '-')
	return patch.ID(platform[:i] + ":" + platform[i+1:] + ":KB" + kb)
}

// patch makes the patch of an entry.
func (l *line) patch(e *entry) patch.Patch {
	p := patch.Patch{
		ID: id(l.platform, e.kb), Vendor: Vendor, Platform: l.platform, Product: "KB" + e.kb,
		Version: cmp.Or(e.build, e.released.Format("2006.01.02")), Title: e.title(),
		Classification: patch.Update, Severity: cmp.Or(e.severity, patch.Unknown), Released: e.released,
		Advisories: []string{"KB" + e.kb},
		Install:    patch.Manifest{Kind: "msu", ExitCodes: exitCodes(), Reboot: reboot(e.restart)},
	}
	for _, c := range sortedKeys(e.cves) {
		if strings.HasPrefix(c, "CVE-") {
			p.CVEs = append(p.CVEs, patch.CVEFix{ID: c, FixedIn: p.Version})
		}
	}
	if len(p.CVEs) > 0 {
		p.Classification = patch.Security
	}
	p.Applicable, p.Installed = l.rules(e)
	for _, old := range l.graph.direct(e.kb, func(kb string) bool { return l.entries[kb] != nil }) {
		p.Supersedes = append(p.Supersedes, id(l.platform, old))
	}
	if kb := l.requires(e); kb != "" && kb != e.kb {
		p.Requires = []patch.ID{id(l.platform, kb)}
	}
	return p
}

// title is what people read: "2024-01 cumulative update for Windows 10 1809
// (KB5034127)".
func (e *entry) title() string {
	what := map[kind]string{
		cumulative: "cumulative update", rollup: "monthly rollup", onlyMonth: "security-only update", browser: "cumulative update of Internet Explorer",
		stack: "servicing stack update", hotpatch: "hotpatch",
	}[e.kind]
	if what == "" {
		what = strings.ToLower(cmp.Or(e.subType, "update"))
		if !e.whole {
			what += " of " + e.product.Component
		}
	}
	text := e.released.Format("2006-01") + " " + what + " for " + e.product.Release.Name + " (KB" + e.kb + ")"
	if e.extended {
		text += ", needs Extended Security Updates"
	}
	return text
}

func reboot(restart string) patch.Reboot {
	switch strings.ToLower(restart) {
	case "yes":
		return patch.RebootAlways
	case "no":
		return patch.RebootNever
	}
	return patch.RebootMaybe
}

// exitCodes are those of wusa.exe, which hands on the Windows Update Agent's
// results (https://learn.microsoft.com/windows/win32/wua_sdk/wua-success-and-error-codes-).
func exitCodes() map[int]patch.ExitMeaning {
	return map[int]patch.ExitMeaning{
		1618:        patch.ExitBusy,
		1641:        patch.ExitRebootBegun,
		3010:        patch.ExitRebootDue,
		0x240005:    patch.ExitRebootDue, // WU_S_REBOOT_REQUIRED
		0x240006:    patch.ExitNotNeeded, // WU_S_ALREADY_INSTALLED
		-2145124329: patch.ExitNotNeeded, // WU_E_NOT_APPLICABLE, 0x80240017
	}
}

// advisory is a KB's bulletin over all products.
func advisory(kb string, of []*entry) patch.Advisory {
	a := patch.Advisory{ID: "KB" + kb, Vendor: Vendor, Severity: patch.Unknown}
	var subType, restart string
	cves, refs := map[string]bool{}, map[string]bool{"https://support.microsoft.com/help/" + kb: true}
	var issues []string
	ruled := false
	for _, e := range of {
		if a.Published.IsZero() || e.released.Before(a.Published) {
			a.Published = e.released
		}
		if e.released.After(a.Updated) {
			a.Updated = e.released
		}
		if e.severity != "" && (a.Severity == patch.Unknown || e.severity.Rank() > a.Severity.Rank()) {
			a.Severity = e.severity
		}
		subType, restart = cmp.Or(subType, e.subType), cmp.Or(restart, e.restart)
		for c := range e.cves {
			cves[c] = true
		}
		if e.url != "" {
			refs[e.url] = true
		}
		issues = append(issues, e.issues...)
		for _, name := range e.names {
			a.Fixes = append(a.Fixes, patch.Fix{Product: name, Release: e.platform, Version: e.build})
		}
		ruled = ruled || e.kind != other && e.kind != hotpatch
	}
	a.CVEs, a.References = sortedKeys(cves), sortedKeys(refs)
	a.Title = cmp.Or(subType, "Update") + " KB" + kb
	a.Description = describe(restart, issues, ruled)
	slices.SortFunc(a.Fixes, func(x, y patch.Fix) int {
		return cmp.Or(strings.Compare(x.Product, y.Product), strings.Compare(x.Release, y.Release), strings.Compare(x.Version, y.Version))
	})
	return a
}

func describe(restart string, issues []string, ruled bool) string {
	var parts []string
	switch strings.ToLower(restart) {
	case "yes":
		parts = append(parts, "It needs a restart.")
	case "no":
		parts = append(parts, "It needs no restart.")
	case "maybe":
		parts = append(parts, "It may need a restart.")
	}
	slices.Sort(issues)
	if issues = slices.Compact(issues); len(issues) > 0 {
		parts = append(parts, "Known issues: "+strings.Join(issues, ", "))
	}
	if !ruled {
		parts = append(parts, "The documents do not say how to detect it, so it is listed for reading and not found missing.")
	}
	return strings.Join(parts, " ")
}

// vulnerabilities joins the CVEs of all months; the newest document's words
// stay, risks add up.
func vulnerabilities(months []msrc.Month) []patch.Vulnerability {
	months = slices.Clone(months)
	slices.SortFunc(months, func(a, b msrc.Month) int {
		return cmp.Or(a.Current.Compare(b.Current), strings.Compare(a.ID, b.ID))
	})
	all := map[string]patch.Vulnerability{}
	for _, m := range months {
		for _, c := range m.CVEs {
			if !strings.HasPrefix(c.ID, "CVE-") {
				continue
			}
			v := all[c.ID]
			v.ID = c.ID
			v.Description = cmp.Or(c.Title, v.Description)
			v.Severity = cmp.Or(c.Severity, v.Severity)
			if c.CVSS > 0 {
				v.CVSS, v.CVSSVector = c.CVSS, c.Vector
			}
			v.Exploited = v.Exploited || c.Exploited
			v.Disclosed = v.Disclosed || c.Disclosed
			v.Impact = cmp.Or(c.Impact, v.Impact)
			all[c.ID] = v
		}
	}
	out := make([]patch.Vulnerability, 0, len(all))
	for _, cve := range sortedKeys(all) {
		out = append(out, all[cve])
	}
	return out
}
