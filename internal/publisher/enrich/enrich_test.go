package enrich_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/enrich"
)

func fixes(pairs ...string) []patch.CVEFix {
	var out []patch.CVEFix
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, patch.CVEFix{ID: pairs[i], FixedIn: pairs[i+1]})
	}
	return out
}

func TestCollect(t *testing.T) {
	patches := []patch.Patch{{CVEs: fixes("CVE-1", "1")}, {CVEs: fixes("CVE-1", "1", "CVE-2", "2")}}
	got := enrich.Collect(patches, []patch.Vulnerability{
		{ID: "CVE-1", Severity: patch.Low, Description: "first"}, {ID: "CVE-1", Severity: patch.Moderate, Description: "second"}, {ID: "CVE-3"},
	})
	want := enrich.Vulnerabilities{"CVE-1": {ID: "CVE-1", Severity: patch.Moderate, Description: "first"}, "CVE-2": {ID: "CVE-2", Severity: patch.Unknown}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRate(t *testing.T) {
	for _, c := range []struct {
		score        float64
		vendor, want patch.Severity
	}{
		{0, patch.Unknown, patch.Unknown},
		{0, "", patch.Unknown},
		{3.9, patch.Unknown, patch.Low},
		{4, patch.Unknown, patch.Moderate},
		{7, patch.Unknown, patch.Important},
		{9, patch.Unknown, patch.Critical},
		{9.8, patch.Low, patch.Low},
	} {
		v := &patch.Vulnerability{Severity: c.vendor, CVSS: c.score}
		enrich.Rate(enrich.Vulnerabilities{"x": v})
		if v.Severity != c.want {
			t.Errorf("score %v, vendor %q: %s, want %s", c.score, c.vendor, v.Severity, c.want)
		}
	}
}

func TestSeverities(t *testing.T) {
	all := enrich.Vulnerabilities{
		"low": {Severity: patch.Low}, "moderate": {Severity: patch.Moderate}, "critical": {Severity: patch.Critical}, "unknown": {Severity: patch.Unknown},
		"exploited": {Severity: patch.Low, KEV: &patch.KEV{}}, "ransomware": {Severity: patch.Unknown, KEV: &patch.KEV{Ransomware: true}},
		"likely": {Severity: patch.Unknown, EPSS: 0.5}, "unlikely": {Severity: patch.Unknown, EPSS: 0.49}, "both": {Severity: patch.Critical, KEV: &patch.KEV{}},
	}
	for _, c := range []struct {
		cves []patch.CVEFix
		want patch.Severity
	}{
		{nil, patch.Unknown},
		{fixes("low", "2"), patch.Low},
		{fixes("low", "2", "unknown", "2"), patch.Low},
		{fixes("unknown", "2"), patch.Unknown},
		{fixes("moderate", "2", "low", "2"), patch.Moderate},
		{fixes("critical", "1", "low", "2"), patch.Low}, // the oldest version has that fix
		{fixes("critical", "1.5", "low", "2"), patch.Critical},
		{fixes("exploited", "2"), patch.Important},
		{fixes("ransomware", "2"), patch.Critical},
		{fixes("likely", "2"), patch.Important},
		{fixes("unlikely", "2"), patch.Unknown},
		{fixes("both", "2"), patch.Critical},
		{fixes("nobody knows it", "2"), patch.Unknown},
	} {
		patches := []patch.Patch{{Product: "tool", Version: "2", CVEs: c.cves}, {Product: "tool", Version: "1"}}
		enrich.Severities(patches, all)
		if patches[0].Severity != c.want || patches[1].Severity != patch.Unknown {
			t.Errorf("%v: %s, want %s", c.cves, patches[0].Severity, c.want)
		}
	}
}
