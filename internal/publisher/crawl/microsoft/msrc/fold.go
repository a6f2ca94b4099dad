package msrc

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// fold gathers a document's parts into a Month.
type fold struct {
	title    string
	tracking xmlTracking
	products map[string]namedProduct
	cves     []CVE
	fixes    map[Pair]*Fix
	issues   map[string][]string // KB -> addresses
	counts   Counts
}

type (
	namedProduct struct{ name, family string }
)

// Pair names a KB and a product, by its id.
type Pair struct{ KB, Product string }

func newFold() *fold {
	return &fold{
		products: map[string]namedProduct{}, fixes: map[Pair]*Fix{}, issues: map[string][]string{},
		counts: Counts{Remediations: map[string]int{}},
	}
}

// product enters a name. The product tree comes twice (by family, and plain):
// the one with a family stays.
func (f *fold) product(id, name, family string) error {
	old, known := f.products[id]
	if !known {
		f.counts.Products++
	}
	if len(f.products) >= maxEach {
		return fault.New(fault.Invalid, "microsoft: the document has too many products")
	}
	if family == "" {
		family = old.family
	}
	f.products[id] = namedProduct{strings.TrimSpace(name), family}
	return nil
}

// azureLinux reports that a product is a package of Azure Linux or its
// forerunner CBL-Mariner.
func (f *fold) azureLinux(id string) bool {
	p := f.products[id]
	lower := strings.ToLower(p.name)
	for _, prefix := range []string{"azl3 ", "cbl2 ", "cm1 ", "azure linux", "cbl mariner", "cbl-mariner", "mariner"} {
		if strings.HasPrefix(lower, prefix) {
			return true
		}
	}
	return p.family == "Mariner" || strings.HasSuffix(lower, " on azure linux 3.0") || strings.Contains(lower, " on cbl mariner ")
}

func (f *fold) onlyAzureLinux(v xmlVulnerability) bool {
	some := false
	for _, s := range v.Statuses {
		for _, id := range s.Products {
			if !f.azureLinux(id) {
				return false
			}
			some = true
		}
	}
	return some
}

func (f *fold) vulnerability(v xmlVulnerability) error {
	f.counts.Vulnerabilities++
	if f.counts.Vulnerabilities > maxEach {
		return fault.New(fault.Invalid, "microsoft: the document has too many vulnerabilities")
	}
	linux := f.onlyAzureLinux(v)
	index := -1
	if linux {
		f.counts.AzureLinux++
	} else {
		index = len(f.cves)
		f.cves = append(f.cves, cveOf(v))
	}
	severities := severitiesOf(v)
	for _, r := range v.Remediations {
		f.counts.Remediations[r.Type]++
		switch kb := KB(r.Description); {
		case r.Type == "Known Issue":
			f.knownIssue(r, kb)
		case r.Type != "Vendor Fix":
		case linux || r.SubType == "CBL-Mariner" || f.allAzureLinux(r.Products):
			f.counts.LinuxFixes++
		case kb == "":
			f.counts.OtherFixes++
		default:
			f.counts.KBFixes++
			if err := f.remediation(r, kb, index, severities); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fold) allAzureLinux(ids []string) bool {
	return len(ids) > 0 && !slices.ContainsFunc(ids, func(id string) bool { return !f.azureLinux(id) })
}

// knownIssue notes where a KB's known issues are listed. The KB stands in the
// description, or in the sub type of older documents.
func (f *fold) knownIssue(r xmlRemediation, kb string) {
	kb = cmp.Or(kb, KB(r.SubType))
	if kb == "" || r.URL == "" {
		return
	}
	if all := f.issues[kb]; !slices.Contains(all, r.URL) && len(all) < 8 {
		f.issues[kb] = append(all, r.URL)
	}
}

// remediation folds a vendor fix into those of its KB and products.
func (f *fold) remediation(r xmlRemediation, kb string, cve int, severities map[string]patch.Severity) error {
	for _, id := range r.Products {
		k := Pair{kb, id}
		fix := f.fixes[k]
		if fix == nil {
			if len(f.fixes) >= maxEach {
				return fault.New(fault.Invalid, "microsoft: the document has too many fixes")
			}
			p := f.products[id]
			fix = &Fix{KB: kb, ProductID: id, Product: cmp.Or(p.name, "unknown product "+id), Family: p.family}
			f.fixes[k] = fix
		}
		if IsHotpatch(r.SubType) { // some copies call it a plain security update
			fix.SubType = r.SubType
		}
		if first(&fix.SubType, r.SubType) || first(&fix.Build, strings.TrimSpace(r.FixedBuild)) {
			f.counts.Contradictions++
		}
		fix.Restart = cmp.Or(fix.Restart, r.Restart)
		fix.URL = cmp.Or(fix.URL, r.URL)
		for _, old := range KBs(r.Supercedence) {
			if old != kb && !slices.Contains(fix.Supersedes, old) {
				fix.Supersedes = append(fix.Supersedes, old)
			}
		}
		fix.Severity = Worse(fix.Severity, severities[id])
		if n := len(fix.CVEs); n == 0 || fix.CVEs[n-1] != cve {
			fix.CVEs = append(fix.CVEs, cve)
		}
	}
	return nil
}

// IsHotpatch reports whether a fix's type is that of a hotpatch.
func IsHotpatch(subType string) bool { return strings.Contains(strings.ToLower(subType), "hotpatch") }

// first sets a field that is empty, and reports a word that differs from it.
func first(field *string, word string) bool {
	if *field == "" {
		*field = word
	}
	return word != "" && word != *field
}

// month closes the fold: everything in a fixed order, so that the same
// document always gives the same bytes.
func (f *fold) month() (Month, error) {
	m := Month{ID: strings.TrimSpace(f.tracking.ID), Title: f.title, CVEs: f.cves, Counts: f.counts}
	if m.ID == "" {
		return Month{}, fault.New(fault.Invalid, "microsoft: the CVRF document has no id")
	}
	if n := len(f.tracking.Revisions); n > 0 {
		m.Version = strings.TrimSpace(f.tracking.Revisions[n-1].Number)
	}
	var err error
	if m.Initial, err = moment(f.tracking.Initial); err != nil {
		return Month{}, err
	}
	if m.Current, err = moment(f.tracking.Current); err != nil {
		return Month{}, err
	}
	for _, fix := range f.fixes {
		fix.KnownIssues = f.issues[fix.KB]
		slices.Sort(fix.KnownIssues)
		slices.Sort(fix.Supersedes)
		slices.Sort(fix.CVEs)
		fix.CVEs = slices.Compact(fix.CVEs)
		m.Fixes = append(m.Fixes, *fix)
	}
	slices.SortFunc(m.Fixes, func(a, b Fix) int {
		return cmp.Or(strings.Compare(a.KB, b.KB), strings.Compare(a.ProductID, b.ProductID))
	})
	return m, nil
}

// cveOf is what counts of a vulnerability, over all its products.
func cveOf(v xmlVulnerability) CVE {
	c := CVE{ID: strings.TrimSpace(v.CVE), Title: strings.TrimSpace(v.Title)}
	for _, n := range v.Notes {
		if n.Type == "Description" {
			c.Description = plain(n.Text)
			break
		}
	}
	for _, t := range v.Threats {
		switch t.Type {
		case "Severity":
			c.Severity = Worse(c.Severity, severity(t.Description))
		case "Impact":
			if c.Impact == "" {
				c.Impact = strings.TrimSpace(t.Description)
			}
		case "Exploit Status":
			c.Exploited = c.Exploited || said(t.Description, "Exploited")
			c.Disclosed = c.Disclosed || said(t.Description, "Publicly Disclosed")
		}
	}
	for _, s := range v.Scores {
		if s.Base > c.CVSS && s.Base <= 10 {
			c.CVSS, c.Vector = s.Base, strings.TrimSpace(s.Vector)
		}
	}
	return c
}

// severitiesOf gives the severity by product.
func severitiesOf(v xmlVulnerability) map[string]patch.Severity {
	out := map[string]patch.Severity{}
	for _, t := range v.Threats {
		if t.Type != "Severity" {
			continue
		}
		for _, id := range t.Products {
			out[id] = Worse(out[id], severity(t.Description))
		}
	}
	return out
}

// said reads "Publicly Disclosed:No;Exploited:Yes;Latest Software Release:...".
func said(status, what string) bool {
	for part := range strings.SplitSeq(status, ";") {
		key, value, _ := strings.Cut(part, ":")
		if strings.EqualFold(strings.TrimSpace(key), what) {
			return strings.EqualFold(strings.TrimSpace(value), "Yes")
		}
	}
	return false
}

// severity is "" when nothing is said.
func severity(word string) patch.Severity {
	if s := patch.ParseSeverity(word); s != patch.Unknown {
		return s
	}
	return ""
}

// Worse is the higher of two severities.
func Worse(a, b patch.Severity) patch.Severity {
	if b.Rank() > a.Rank() {
		return b
	}
	return a
}

// plain takes markup out of a note and bounds it.
func plain(s string) string {
	const most = 1500
	var b strings.Builder
	inside := false
	for _, r := range s {
		switch {
		case r == '<':
			inside = true
		case r == '>' && inside:
			inside = false
			b.WriteByte(' ')
		case !inside:
			b.WriteRune(r)
		}
		if b.Len() > 4*most {
			break
		}
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
