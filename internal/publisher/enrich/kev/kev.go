// Package kev reads CISA's catalog of Known Exploited Vulnerabilities
// (https://www.cisa.gov/known-exploited-vulnerabilities-catalog, JSON form).
package kev

import (
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/enrich"
)

// DefaultURL is where CISA publishes the catalog.
const DefaultURL = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"

// maxFeed bounds the feed in bytes; it had 1.4 MB in 2026.
const maxFeed = 256 << 20

var (
	cveID = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,}$`)
	day   = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
)

type entry struct {
	CVE        string `json:"cveID"`
	Added      string `json:"dateAdded"`
	Due        string `json:"dueDate"`
	Ransomware string `json:"knownRansomwareCampaignUse"`
}

// Apply is the enrich.Feed: it marks the vulnerabilities that the catalog
// lists. It returns fault.Invalid for what is not the catalog, for one with no
// entries, and for one whose number of entries is not the count that it names,
// because half a catalog would hide exploited CVEs.
func Apply(r io.Reader, to enrich.Vulnerabilities) (int, error) {
	var feed struct {
		Version         string  `json:"catalogVersion"`
		Count           int     `json:"count"`
		Vulnerabilities []entry `json:"vulnerabilities"`
	}
	dec := json.NewDecoder(io.LimitReader(r, maxFeed))
	if err := dec.Decode(&feed); err != nil {
		return 0, fault.Wrap(err, fault.Invalid, "kev: this is not CISA's catalog in JSON")
	}
	if len(feed.Vulnerabilities) == 0 || len(feed.Vulnerabilities) != feed.Count {
		return 0, fault.New(fault.Invalid, "kev: the catalog has %d entries and says that it has %d", len(feed.Vulnerabilities), feed.Count)
	}
	for _, e := range feed.Vulnerabilities {
		if !cveID.MatchString(e.CVE) || !day.MatchString(e.Added) {
			return 0, fault.New(fault.Invalid, "kev: an entry has no CVE number or no date")
		}
		v := to[e.CVE]
		if v == nil {
			continue
		}
		v.KEV = &patch.KEV{Added: e.Added, Ransomware: strings.EqualFold(e.Ransomware, "Known")}
		if day.MatchString(e.Due) {
			v.KEV.Due = e.Due
		}
	}
	return len(feed.Vulnerabilities), nil
}
