package debian

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// trackerCVE is one CVE of one source package in the tracker's JSON.
type trackerCVE struct {
	Description string          `json:"description"`
	Releases    trackerReleases `json:"releases"`
}

// trackerReleases is an object of releases, or an empty list for none.
type trackerReleases map[string]trackerRelease

// UnmarshalJSON implements json.Unmarshaler.
func (r *trackerReleases) UnmarshalJSON(data []byte) error {
	if string(data) == "[]" {
		return nil
	}
	return json.Unmarshal(data, (*map[string]trackerRelease)(r))
}

type trackerRelease struct {
	Status       string `json:"status"`
	FixedVersion string `json:"fixed_version"`
	Urgency      string `json:"urgency"`
}

// ParseTracker reads the security tracker's JSON (60 MB in one object of
// source packages), one package at a time. Ids that are no CVE numbers
// (TEMP-...) are left out: they are renamed later. What is no such JSON is
// fault.Invalid.
func ParseTracker(r io.Reader) (crawl.Output, error) {
	r, err := crawl.RefuseHTML(r)
	if err != nil {
		return crawl.Output{}, err
	}
	t := tracker{vulns: map[string]*patch.Vulnerability{}}
	dec := json.NewDecoder(r)
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return crawl.Output{}, fault.Wrap(err, fault.Invalid, "debian: the security tracker's answer is not its JSON")
	}
	for dec.More() {
		tok, err := dec.Token()
		source, ok := tok.(string)
		var cves map[string]trackerCVE
		if err == nil && ok {
			err = dec.Decode(&cves)
		}
		if err != nil || !ok {
			return crawl.Output{}, fault.Wrap(err, fault.Invalid, "debian: the security tracker's JSON is malformed near source package %q", clip(source))
		}
		t.add(source, cves)
	}
	if _, err := dec.Token(); err != nil {
		return crawl.Output{}, fault.Wrap(err, fault.Invalid, "debian: the security tracker's JSON is cut off")
	}
	return t.output()
}

type tracker struct {
	out   crawl.Output
	vulns map[string]*patch.Vulnerability
}

func (t *tracker) add(source string, cves map[string]trackerCVE) {
	for id, c := range cves {
		if !cveID.MatchString(id) {
			continue
		}
		v := t.vulns[id]
		if v == nil {
			v = &patch.Vulnerability{ID: id, Severity: patch.Unknown}
			t.vulns[id] = v
		}
		if v.Description == "" {
			v.Description = c.Description
		}
		for release, r := range c.Releases {
			severity := urgency(r.Urgency)
			if severity != patch.Unknown && (v.Severity == patch.Unknown || severity.Rank() > v.Severity.Rank()) {
				v.Severity = severity
			}
			if r.FixedVersion == "" || r.FixedVersion == "0" || vercmp.Valid(vercmp.DPKG, r.FixedVersion) != nil {
				continue // open, or never affected
			}
			t.out.Fixes = append(t.out.Fixes, crawl.Fix{
				CVE: id, Vendor: "debian", Product: source, Release: release, FixedIn: r.FixedVersion, Severity: severity,
			})
		}
	}
}

func (t *tracker) output() (crawl.Output, error) {
	if len(t.vulns) == 0 {
		return crawl.Output{}, fault.New(fault.Invalid, "debian: the security tracker's JSON holds no CVE")
	}
	for _, v := range t.vulns {
		t.out.Vulnerabilities = append(t.out.Vulnerabilities, *v)
	}
	slices.SortFunc(t.out.Vulnerabilities, func(a, b patch.Vulnerability) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(t.out.Fixes, func(a, b crawl.Fix) int {
		return strings.Compare(a.CVE+" "+a.Product+" "+a.Release, b.CVE+" "+b.Product+" "+b.Release)
	})
	return t.out, nil
}

// urgency maps the tracker's words. "**" marks that the word came from NVD;
// "unimportant" means no effect on Debian's packages as built; "not yet
// assigned" and "end-of-life" say nothing.
func urgency(s string) patch.Severity {
	switch strings.TrimRight(s, "*") {
	case "high":
		return patch.Important
	case "medium":
		return patch.Moderate
	case "low", "unimportant":
		return patch.Low
	}
	return patch.Unknown
}
