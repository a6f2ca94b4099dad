package msrc

import (
	"time"

	"github.com/fettlehq/fettle/internal/patch"
)

// Month is one CVRF document, folded: everything that patches are made of, and
// nothing else. Its JSON form is what Fetch keeps.
type Month struct {
	ID      string `json:"id"` // 2026-Feb
	Title   string `json:"title"`
	Version string `json:"revision"` // number of the newest revision
	// Initial and Current are when it was first and last published.
	Initial time.Time `json:"initial"`
	Current time.Time `json:"current"`
	CVEs    []CVE     `json:"cves,omitempty"`
	Fixes   []Fix     `json:"fixes,omitempty"`
	Counts  Counts    `json:"counts"`
}

// CVE is what a document says of one vulnerability.
type CVE struct {
	ID          string         `json:"id"`
	Title       string         `json:"title,omitempty"`
	Description string         `json:"description,omitempty"`
	Severity    patch.Severity `json:"severity,omitempty"` // worst of its products
	Impact      string         `json:"impact,omitempty"`
	CVSS        float64        `json:"cvss,omitempty"` // highest base score
	Vector      string         `json:"vector,omitempty"`
	Exploited   bool           `json:"exploited,omitempty"`
	Disclosed   bool           `json:"disclosed,omitempty"`
}

// Fix is one KB for one product: what a document repeats under every CVE.
type Fix struct {
	KB        string `json:"kb"` // digits alone
	ProductID string `json:"pid"`
	Product   string `json:"product"`
	// Family is the branch of the product tree, such as Windows or ESU.
	Family     string   `json:"family,omitempty"`
	SubType    string   `json:"type,omitempty"`
	Restart    string   `json:"restart,omitempty"` // Yes, No, Maybe or empty
	Build      string   `json:"build,omitempty"`   // as written
	URL        string   `json:"url,omitempty"`
	Supersedes []string `json:"supersedes,omitempty"` // KBs, digits alone
	// CVEs are indexes into the month's CVEs.
	CVEs     []int          `json:"cves,omitempty"`
	Severity patch.Severity `json:"severity,omitempty"` // worst of the CVEs in this product
	// KnownIssues are addresses of the pages that list them.
	KnownIssues []string `json:"known_issues,omitempty"`
}

// Counts says what a document held and where it went: nothing is dropped
// without being counted here.
type Counts struct {
	Bytes           int64 `json:"bytes"`
	Products        int   `json:"products"`
	Vulnerabilities int   `json:"vulnerabilities"`
	// AzureLinux are vulnerabilities of Azure Linux and CBL-Mariner packages
	// alone: they are left out, as that vendor's own feed has them.
	AzureLinux int `json:"azure_linux,omitempty"`
	// Remediations counts by type: Vendor Fix, Known Issue and so on.
	Remediations map[string]int `json:"remediations,omitempty"`
	// KBFixes are the vendor fixes that name a KB, LinuxFixes those for Azure
	// Linux, OtherFixes the rest (release notes, Click to Run, source code).
	KBFixes    int `json:"kb_fixes,omitempty"`
	LinuxFixes int `json:"linux_fixes,omitempty"`
	OtherFixes int `json:"other_fixes,omitempty"`
	// Contradictions are folded fixes whose copies differ in type or build
	// under different CVEs; the first word stays.
	Contradictions int `json:"contradictions,omitempty"`
}

// Add sums counts up.
func (c *Counts) Add(d Counts) {
	c.Bytes += d.Bytes
	c.Products += d.Products
	c.Vulnerabilities += d.Vulnerabilities
	c.AzureLinux += d.AzureLinux
	c.KBFixes += d.KBFixes
	c.LinuxFixes += d.LinuxFixes
	c.OtherFixes += d.OtherFixes
	c.Contradictions += d.Contradictions
	if c.Remediations == nil {
		c.Remediations = map[string]int{}
	}
	for k, n := range d.Remediations {
		c.Remediations[k] += n
	}
}

// Newer reports that m is a later state of the same document than b.
func (m Month) Newer(b Month) bool {
	if !m.Current.Equal(b.Current) {
		return m.Current.After(b.Current)
	}
	return m.Version > b.Version && len(m.Version) >= len(b.Version)
}
