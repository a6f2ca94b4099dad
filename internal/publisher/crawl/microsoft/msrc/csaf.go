package msrc

import (
	"cmp"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// maxAdvisory bounds a CSAF document in bytes: one vulnerability each.
const maxAdvisory = 64 << 20

type (
	csaf struct {
		Document struct {
			Category string `json:"category"`
			Version  string `json:"csaf_version"`
			Title    string `json:"title"`
			Severity struct {
				Text string `json:"text"`
			} `json:"aggregate_severity"`
			Tracking struct {
				ID      string `json:"id"`
				Version string `json:"version"`
				Initial string `json:"initial_release_date"`
				Current string `json:"current_release_date"`
			} `json:"tracking"`
		} `json:"document"`
		Tree struct {
			Branches      []csafBranch `json:"branches"`
			Relationships []struct {
				Full struct {
					ID   string `json:"product_id"`
					Name string `json:"name"`
				} `json:"full_product_name"`
			} `json:"relationships"`
		} `json:"product_tree"`
		Vulnerabilities []csafVulnerability `json:"vulnerabilities"`
	}
	csafBranch struct {
		Category string `json:"category"`
		Name     string `json:"name"`
		Product  *struct {
			ID   string `json:"product_id"`
			Name string `json:"name"`
		} `json:"product"`
		Branches []csafBranch `json:"branches"`
	}
	csafVulnerability struct {
		CVE    string `json:"cve"`
		Title  string `json:"title"`
		Status struct {
			Fixed    []string `json:"fixed"`
			Affected []string `json:"known_affected"`
		} `json:"product_status"`
		Notes []struct {
			Category string `json:"category"`
			Text     string `json:"text"`
		} `json:"notes"`
		Remediations []struct {
			Category string   `json:"category"`
			Details  string   `json:"details"`
			URL      string   `json:"url"`
			Products []string `json:"product_ids"`
			Restart  struct {
				Category string `json:"category"`
			} `json:"restart_required"`
		} `json:"remediations"`
		Scores []struct {
			V3 struct {
				Base   float64 `json:"baseScore"`
				Vector string  `json:"vectorString"`
			} `json:"cvss_v3"`
		} `json:"scores"`
		Threats []struct {
			Category string `json:"category"`
			Details  string `json:"details"`
		} `json:"threats"`
	}
)

var (
	kbInURL = regexp.MustCompile(`(?i)(?:[?&]q=KB|/help/|/kb/)(\d{6,8})\b`)
	range1  = regexp.MustCompile(` <.*$`)
)

// ParseCSAF reads a CSAF 2.0 advisory or VEX document of Microsoft's and folds
// it as ParseCVRF does: a Month of its own with one vulnerability. It refuses
// (Invalid) what is no such document.
func ParseCSAF(r io.Reader) (Month, error) {
	counted := &counter{r: io.LimitReader(r, maxAdvisory)}
	var x csaf
	if err := json.NewDecoder(counted).Decode(&x); err != nil {
		return Month{}, fault.Wrap(err, fault.Invalid, "msrc: the CSAF document is no JSON")
	}
	if x.Document.Version != "2.0" || x.Document.Tracking.ID == "" || len(x.Vulnerabilities) == 0 {
		return Month{}, fault.New(fault.Invalid, "msrc: it is no CSAF 2.0 document with a vulnerability")
	}
	f := newFold()
	for _, b := range x.Tree.Branches {
		if err := f.branch(b, "", 0); err != nil {
			return Month{}, err
		}
	}
	for _, r := range x.Tree.Relationships {
		if err := f.product(r.Full.ID, r.Full.Name[strings.LastIndex(r.Full.Name, "<")+1:], "Mariner"); err != nil {
			return Month{}, err
		}
	}
	for _, v := range x.Vulnerabilities {
		if err := f.vulnerability(v.asCVRF(severity(x.Document.Severity.Text))); err != nil {
			return Month{}, err
		}
	}
	t := x.Document.Tracking
	f.title = x.Document.Title
	f.tracking = xmlTracking{ID: "CSAF " + t.ID, Initial: t.Initial, Current: t.Current}
	m, err := f.month()
	m.Version, m.Counts.Bytes = t.Version, counted.n
	return m, err
}

// branch enters the products of the tree by their id. A product's name is that
// of the branch that holds its versions.
func (f *fold) branch(b csafBranch, name string, depth int) error {
	if depth > 30 {
		return fault.New(fault.Invalid, "msrc: the product tree is too deep")
	}
	if b.Category == "product_name" {
		name = b.Name
	}
	if b.Product != nil {
		if err := f.product(b.Product.ID, cmp.Or(name, range1.ReplaceAllString(b.Product.Name, "")), ""); err != nil {
			return err
		}
		if linux := strings.TrimPrefix(b.Product.Name, "<"); strings.HasPrefix(linux, "azl3 ") || strings.HasPrefix(linux, "cbl2 ") {
			f.products[b.Product.ID] = namedProduct{linux, "Mariner"}
		}
	}
	for _, c := range b.Branches {
		if err := f.branch(c, name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// asCVRF puts a vulnerability into the form of the monthly documents, so that
// both are folded by the same rules. CSAF gives one severity for all products.
func (v csafVulnerability) asCVRF(worst patch.Severity) xmlVulnerability {
	out := xmlVulnerability{CVE: v.CVE, Title: v.Title}
	affected := slices.Concat(v.Status.Affected, v.Status.Fixed)
	out.Statuses = append(out.Statuses, struct {
		Products []string `xml:"ProductID"`
	}{affected})
	for _, n := range v.Notes {
		if n.Category == "description" {
			out.Notes = append(out.Notes, xmlNote{Type: "Description", Text: n.Text})
		}
	}
	if worst != "" {
		out.Threats = append(out.Threats, xmlThreat{Type: "Severity", Description: string(worst), Products: affected})
	}
	for _, t := range v.Threats {
		if kind := map[string]string{"impact": "Impact", "exploit_status": "Exploit Status"}[t.Category]; kind != "" {
			out.Threats = append(out.Threats, xmlThreat{Type: kind, Description: t.Details})
		}
	}
	for _, s := range v.Scores {
		out.Scores = append(out.Scores, xmlScore{Base: s.V3.Base, Vector: s.V3.Vector})
	}
	for _, r := range v.Remediations {
		if r.Category != "vendor_fix" {
			continue
		}
		x := xmlRemediation{Type: "Vendor Fix", URL: r.URL, Products: r.Products}
		// "10.0.17763.8389:Security Update:https://support.microsoft.com/help/5075904"
		build, rest, _ := strings.Cut(r.Details, ":")
		kind, _, _ := strings.Cut(rest, ":")
		x.FixedBuild, x.SubType = build, kind
		if m := kbInURL.FindStringSubmatch(r.URL + " " + rest); m != nil {
			x.Description = m[1]
		}
		switch r.Restart.Category {
		case "none":
			x.Restart = "No"
		case "":
		default:
			x.Restart = "Yes"
		}
		out.Remediations = append(out.Remediations, x)
	}
	return out
}
