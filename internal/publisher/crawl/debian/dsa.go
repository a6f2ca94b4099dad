package debian

import (
	"bufio"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// The lines of the tracker's data/DSA/list:
//
//	[29 Mar 2023] DSA-5380-1 xorg-server - security update
//		{CVE-2023-1393}
//		[bullseye] - xorg-server 2:1.20.11-1+deb11u6
//		NOTE: free text
var (
	dsaHead = regexp.MustCompile(`^\[([0-9]{1,2} [A-Z][a-z]{2} [0-9]{4})\] ((?:DSA|DLA|DTSA)-[0-9]+(?:-[0-9]+)?)\s+(.*)$`)
	dsaFix  = regexp.MustCompile(`^\[([a-z][a-z0-9-]*)\] - (\S+) (\S+)`)
	cveID   = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,}$`)
)

// ParseDSA reads the list of Debian's security advisories as the security
// tracker keeps it. Lines that it does not know are notes and left out; text
// without a single advisory is fault.Invalid.
func ParseDSA(r io.Reader) (crawl.Output, error) {
	r, err := crawl.RefuseHTML(r)
	if err != nil {
		return crawl.Output{}, err
	}
	var out crawl.Output
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \r")
		if m := dsaHead.FindStringSubmatch(line); m != nil {
			out.Advisories = append(out.Advisories, newDSA(m))
			continue
		}
		if body := strings.TrimLeft(line, " \t"); body != line && len(out.Advisories) > 0 {
			dsaBody(&out.Advisories[len(out.Advisories)-1], body)
		}
	}
	if err := lines.Err(); err != nil {
		return crawl.Output{}, fault.Wrap(err, fault.Invalid, "debian: the DSA list can't be read")
	}
	if len(out.Advisories) == 0 {
		return crawl.Output{}, fault.New(fault.Invalid, "debian: the DSA list holds no advisory")
	}
	out.Advisories = uniqueAdvisories(out.Advisories)
	return out, nil
}

func newDSA(m []string) patch.Advisory {
	a := patch.Advisory{ID: m[2], Vendor: "debian", Title: m[2] + " " + m[3], Severity: patch.Unknown}
	if t, err := time.Parse("2 Jan 2006", m[1]); err == nil {
		a.Published = t
	}
	if n, ok := strings.CutPrefix(m[2], "DSA-"); ok {
		a.References = []string{"https://www.debian.org/security/dsa-" + strings.ToLower(n)}
	}
	return a
}

func dsaBody(a *patch.Advisory, body string) {
	if inner, ok := strings.CutPrefix(body, "{"); ok {
		for id := range strings.FieldsSeq(strings.TrimSuffix(inner, "}")) {
			if cveID.MatchString(id) {
				a.CVEs = append(a.CVEs, id)
			}
		}
		return
	}
	m := dsaFix.FindStringSubmatch(body)
	if m != nil && vercmp.Valid(vercmp.DPKG, m[3]) == nil && m[3][0] != '<' {
		a.Fixes = append(a.Fixes, patch.Fix{Product: m[2], Release: m[1], Version: m[3]})
	}
}

// uniqueAdvisories keeps the first of several entries of one id.
func uniqueAdvisories(in []patch.Advisory) []patch.Advisory {
	seen := map[string]bool{}
	out := in[:0]
	for _, a := range in {
		if !seen[a.ID] {
			seen[a.ID] = true
			out = append(out, a)
		}
	}
	return out
}
