// Package enrich adds risk to vulnerabilities: whether CISA lists a CVE as
// exploited (kev), how probable FIRST holds its exploitation (epss) and its
// CVSS score (cvss). From that it gives each patch the severity of the worst
// that it fixes.
//
// The vendor's own word on severity counts first; where the vendor says
// nothing the CVSS score decides, and where there is none either, the severity
// stays unknown and is never shown as low. Known exploitation raises a patch's
// severity, a vulnerability's own severity stays the vendor's.
package enrich

import (
	"io"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// Vulnerabilities are those that the catalog names, by CVE id.
type Vulnerabilities map[string]*patch.Vulnerability

// Feed adds one feed's knowledge to the vulnerabilities that it names and
// returns how many entries the feed has in all. It refuses what is not its
// format. With nil it only checks and counts.
type Feed func(r io.Reader, to Vulnerabilities) (entries int, err error)

// Collect gathers the vulnerabilities that the patches and advisories name,
// with what the vendors' trackers know of them.
func Collect(patches []patch.Patch, known []patch.Vulnerability) Vulnerabilities {
	out := Vulnerabilities{}
	for _, p := range patches {
		for _, c := range p.CVEs {
			if out[c.ID] == nil {
				out[c.ID] = &patch.Vulnerability{ID: c.ID, Severity: patch.Unknown}
			}
		}
	}
	for _, k := range known {
		if v := out[k.ID]; v != nil {
			merge(v, k)
		}
	}
	return out
}

// merge adds what another source knows to v; what v has stays.
func merge(v *patch.Vulnerability, k patch.Vulnerability) {
	if v.Description == "" {
		v.Description = k.Description
	}
	v.Exploited, v.Disclosed = v.Exploited || k.Exploited, v.Disclosed || k.Disclosed
	if v.Impact == "" {
		v.Impact = k.Impact
	}
	if k.Severity != "" && k.Severity != patch.Unknown && (v.Severity == patch.Unknown || k.Severity.Rank() > v.Severity.Rank()) {
		v.Severity = k.Severity
	}
	if v.CVSSVector == "" && k.CVSS > 0 {
		v.CVSS, v.CVSSVector = k.CVSS, k.CVSSVector
	}
}

// Rate fills in the severity of vulnerabilities whose vendor gives none from
// their CVSS score, after the qualitative scale of the CVSS v3.1 and v4.0
// specifications.
func Rate(all Vulnerabilities) {
	for _, v := range all {
		if v.Severity == "" {
			v.Severity = patch.Unknown
		}
		if v.Severity == patch.Unknown && v.CVSS > 0 {
			v.Severity = ofScore(v.CVSS)
		}
	}
}

func ofScore(score float64) patch.Severity {
	switch {
	case score >= 9:
		return patch.Critical
	case score >= 7:
		return patch.Important
	case score >= 4:
		return patch.Moderate
	}
	return patch.Low
}

// likely is the EPSS probability from which on a CVE counts at least as
// important, because one in two such CVEs is exploited within 30 days.
const likely = 0.5

// raised is a vulnerability's severity with exploitation taken into account.
func raised(v *patch.Vulnerability) patch.Severity {
	switch {
	case v.KEV != nil && v.KEV.Ransomware:
		return patch.Critical
	case v.KEV != nil || v.EPSS >= likely:
		if v.Severity != patch.Critical {
			return patch.Important
		}
	}
	return v.Severity
}

// Sort returns the vulnerabilities in the order of their ids.
func (all Vulnerabilities) Sort() []patch.Vulnerability {
	out := make([]patch.Vulnerability, 0, len(all))
	for _, v := range all {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b patch.Vulnerability) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Severities gives each patch the severity of the worst CVE that it fixes
// beyond the oldest version of its source package at hand. That oldest version
// is what a machine without updates has; what even that has fixed says nothing
// about the urgency of a newer one.
func Severities(patches []patch.Patch, all Vulnerabilities) {
	type line struct{ platform, vendor, product string }
	oldest := map[line]string{}
	for _, p := range patches {
		k := line{p.Platform, p.Vendor, p.Product}
		if v, ok := oldest[k]; !ok || vercmp.Dpkg(p.Version, v) < 0 {
			oldest[k] = p.Version
		}
	}
	for i := range patches {
		p := &patches[i]
		base := oldest[line{p.Platform, p.Vendor, p.Product}]
		p.Severity = patch.Unknown
		known := false
		for _, c := range p.CVEs {
			v := all[c.ID]
			if v == nil || (base != p.Version && vercmp.Dpkg(c.FixedIn, base) <= 0) {
				continue
			}
			s := raised(v)
			if s != patch.Unknown && (!known || s.Rank() > p.Severity.Rank()) {
				p.Severity, known = s, true
			}
		}
	}
}
