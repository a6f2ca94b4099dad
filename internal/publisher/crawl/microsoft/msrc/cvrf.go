package msrc

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// MaxDocument bounds one CVRF document in bytes. The largest at hand has about
// 4 MB, and some months have more.
const MaxDocument = 256 << 20

// maxEach bounds how many products, vulnerabilities and folded fixes are taken
// from one document; the fullest has a few thousand.
const maxEach = 200_000

// The elements of a document that count. Names are matched without namespace,
// which Microsoft has changed before.
type (
	xmlVulnerability struct {
		Title        string           `xml:"Title"`
		CVE          string           `xml:"CVE"`
		Notes        []xmlNote        `xml:"Notes>Note"`
		Threats      []xmlThreat      `xml:"Threats>Threat"`
		Scores       []xmlScore       `xml:"CVSSScoreSets>ScoreSet"`
		Remediations []xmlRemediation `xml:"Remediations>Remediation"`
		Statuses     []struct {
			Products []string `xml:"ProductID"`
		} `xml:"ProductStatuses>Status"`
	}
	xmlNote struct {
		Type string `xml:"Type,attr"`
		Text string `xml:",chardata"`
	}
	xmlThreat struct {
		Type        string   `xml:"Type,attr"`
		Description string   `xml:"Description"`
		Products    []string `xml:"ProductID"`
	}
	xmlScore struct {
		Base     float64  `xml:"BaseScore"`
		Vector   string   `xml:"Vector"`
		Products []string `xml:"ProductID"`
	}
	xmlRemediation struct {
		Type         string   `xml:"Type,attr"`
		Description  string   `xml:"Description"`
		URL          string   `xml:"URL"`
		Supercedence string   `xml:"Supercedence"`
		Products     []string `xml:"ProductID"`
		Restart      string   `xml:"RestartRequired"`
		SubType      string   `xml:"SubType"`
		FixedBuild   string   `xml:"FixedBuild"`
	}
	xmlTracking struct {
		ID        string `xml:"Identification>ID"`
		Revisions []struct {
			Number string `xml:"Number"`
		} `xml:"RevisionHistory>Revision"`
		Initial string `xml:"InitialReleaseDate"`
		Current string `xml:"CurrentReleaseDate"`
	}
)

// ParseCVRF reads one document as a stream, one vulnerability at a time, and
// folds it. It refuses (Invalid) what is not a CVRF document with an id and a
// date, is cut off, or is larger than MaxDocument.
func ParseCVRF(r io.Reader) (Month, error) {
	counted := &counter{r: io.LimitReader(r, MaxDocument+1)}
	p := &cvrfParser{dec: xml.NewDecoder(counted), fold: newFold()}
	if err := p.document(); err != nil {
		return Month{}, err
	}
	if counted.n > MaxDocument {
		return Month{}, fault.New(fault.Invalid, "microsoft: the CVRF document is larger than %d MiB", MaxDocument>>20)
	}
	m, err := p.fold.month()
	m.Counts.Bytes = counted.n
	return m, err
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

type cvrfParser struct {
	dec    *xml.Decoder
	fold   *fold
	family []string // branches that are open
	root   bool
}

func (p *cvrfParser) document() error {
	for {
		t, err := p.dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return refuse(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := p.start(t); err != nil {
				return err
			}
		case xml.EndElement:
			if t.Name.Local == "Branch" && len(p.family) > 0 {
				p.family = p.family[:len(p.family)-1]
			}
		}
	}
	if !p.root {
		return fault.New(fault.Invalid, "microsoft: it is no CVRF document")
	}
	return nil
}

// start handles an element: those that count are decoded whole, the containers
// around them are entered, everything else is skipped.
func (p *cvrfParser) start(e xml.StartElement) error {
	if !p.root {
		if e.Name.Local != "cvrfdoc" {
			return fault.New(fault.Invalid, "microsoft: it is no CVRF document: it begins with %q", clip(e.Name.Local))
		}
		p.root = true
		return nil
	}
	switch e.Name.Local {
	case "DocumentTitle":
		return p.decode(&p.fold.title, e)
	case "DocumentTracking":
		return p.decode(&p.fold.tracking, e)
	case "ProductTree":
		return nil
	case "Branch":
		if len(p.family) > 100 {
			return fault.New(fault.Invalid, "microsoft: the product tree is too deep")
		}
		p.family = append(p.family, attr(e, "Name"))
		return nil
	case "FullProductName":
		var name string
		if err := p.decode(&name, e); err != nil {
			return err
		}
		family := ""
		if n := len(p.family); n > 0 {
			family = p.family[n-1]
		}
		return p.fold.product(attr(e, "ProductID"), name, family)
	case "Vulnerability":
		var v xmlVulnerability
		if err := p.decode(&v, e); err != nil {
			return err
		}
		return p.fold.vulnerability(v)
	}
	if err := p.dec.Skip(); err != nil {
		return refuse(err)
	}
	return nil
}

func (p *cvrfParser) decode(into any, e xml.StartElement) error {
	if err := p.dec.DecodeElement(into, &e); err != nil {
		return refuse(err)
	}
	return nil
}

func refuse(err error) error {
	return fault.Wrap(err, fault.Invalid, "microsoft: the CVRF document is not well-formed")
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// clip keeps messages short.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

var (
	kbNumber = regexp.MustCompile(`^(?:KB)?(\d{6,8})$`)
	kbInText = regexp.MustCompile(`(?:^|[^\d-])(\d{6,8})(?:[^\d]|$)`)
)

// KB reads a KB number; it is empty for other text.
func KB(s string) string {
	m := kbNumber.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return ""
	}
	return strings.TrimLeft(m[1], "0")
}

// KBs lists the KB numbers in a text such as "4012598; 4012606", "MS16-101,
// 3185330" or "4480977<br><br>4480968".
func KBs(s string) []string {
	var out []string
	for s != "" {
		at := kbInText.FindStringSubmatchIndex(s)
		if at == nil {
			break
		}
		out = append(out, strings.TrimLeft(s[at[2]:at[3]], "0"))
		s = s[at[3]:]
	}
	return out
}

// moment reads the documents' dates, with or without a zone.
func moment(s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "microsoft: %q is no date", clip(s))
}
