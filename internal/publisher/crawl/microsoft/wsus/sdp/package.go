package sdp

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus"
)

// maxPackage bounds one software distribution package in bytes.
const maxPackage = 16 << 20

// Package is one software distribution package of WSUS and Configuration
// Manager catalogs (SoftwareDistributionPackage.xsd), with its rules as
// detection rules. Its JSON form is what Fetch keeps.
type Package struct {
	ID             string         `json:"id"`
	Vendor         string         `json:"vendor"`
	Product        string         `json:"product"`
	Title          string         `json:"title"`
	Description    string         `json:"description,omitempty"`
	KB             string         `json:"kb,omitempty"` // Microsoft's number, or the vendor's own
	Created        time.Time      `json:"created,omitzero"`
	Severity       patch.Severity `json:"severity"`
	Classification string         `json:"class,omitempty"` // "Updates", "Security Updates"
	CVEs           []string       `json:"cves,omitempty"`
	URL            string         `json:"url,omitempty"` // where people read on
	Superseded     []string       `json:"superseded,omitempty"`
	// Applicable is the package's own condition, over those of its items.
	Applicable detect.Rule `json:"applicable"`
	Items      []Item      `json:"items,omitempty"`
}

// Item is one installable item of a package.
type Item struct {
	ID         string       `json:"id"`
	Installed  detect.Rule  `json:"installed"`
	Applicable detect.Rule  `json:"applicable"`
	Reboot     patch.Reboot `json:"reboot"`
	// Kind is "exe", "msi" or "msp"; Program and Arguments are its command
	// line as the vendor writes it, and are not run from here.
	Kind      string                    `json:"kind,omitempty"`
	Program   string                    `json:"program,omitempty"`
	Arguments string                    `json:"arguments,omitempty"`
	ExitCodes map[int]patch.ExitMeaning `json:"exit_codes,omitempty"`
	File      File                      `json:"file"`
}

// File is an item's payload. Older packages give SHA-1 alone, which proves
// nothing by itself; the file's own signature must.
type File struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	SHA1   string `json:"sha1,omitempty"`   // lower-case hex
	SHA256 string `json:"sha256,omitempty"` // lower-case hex
	Size   int64  `json:"size"`             // bytes
}

type (
	xmlPackage struct {
		XMLName    xml.Name
		Properties struct {
			ID      string `xml:"PackageID,attr"`
			Vendor  string `xml:"VendorName,attr"`
			Created string `xml:"CreationDate,attr"`
			Product string `xml:"ProductName"`
			URL     string `xml:"MoreInfoUrl"`
		} `xml:"Properties"`
		Localized []struct {
			Language    string `xml:"Language"`
			Title       string `xml:"Title"`
			Description string `xml:"Description"`
		} `xml:"LocalizedProperties"`
		Update struct {
			Severity       string   `xml:"MsrcSeverity,attr"`
			Classification string   `xml:"UpdateClassification,attr"`
			KB             string   `xml:"KBArticleID"`
			CVEs           []string `xml:"CVEID"`
		} `xml:"UpdateSpecificData"`
		Installable wsus.Rules `xml:"IsInstallable"`
		Superseded  []string   `xml:"SupersededPackages>PackageID"`
		Items       []xmlItem  `xml:"InstallableItem"`
	}
	xmlItem struct {
		ID          string        `xml:"ID,attr"`
		Installed   wsus.Rules    `xml:"ApplicabilityRules>IsInstalled"`
		Installable wsus.Rules    `xml:"ApplicabilityRules>IsInstallable"`
		Metadata    wsus.Metadata `xml:"ApplicabilityRules>Metadata"`
		Properties  struct {
			Reboot string `xml:"RebootBehavior,attr"`
		} `xml:"InstallProperties"`
		Command *struct {
			Program   string `xml:"Program,attr"`
			Arguments string `xml:"Arguments,attr"`
			Codes     []struct {
				Code   string `xml:"Code,attr"`
				Result string `xml:"Result,attr"`
				Reboot bool   `xml:"Reboot,attr"`
			} `xml:"ReturnCode"`
		} `xml:"CommandLineInstallerData"`
		MSI *struct {
			File        string `xml:"MsiFile,attr"`
			CommandLine string `xml:"CommandLine,attr"`
		} `xml:"MsiInstallerData"`
		MSP *struct {
			File        string `xml:"MspFile,attr"`
			CommandLine string `xml:"CommandLine,attr"`
		} `xml:"MspInstallerData"`
		Origin struct {
			Digest string `xml:"Digest,attr"`
			Name   string `xml:"FileName,attr"`
			URL    string `xml:"OriginUri,attr"`
			Size   int64  `xml:"Size,attr"`
			More   []struct {
				Algorithm string `xml:"Algorithm,attr"`
				Text      string `xml:",chardata"`
			} `xml:"AdditionalDigest"`
		} `xml:"OriginFile"`
	}
)

// ParsePackage reads a software distribution package. It returns
// fault.Unsupported when one of its rules can't be translated whole, and
// fault.Invalid for what is not such a package.
func ParsePackage(r io.Reader) (Package, error) {
	var x xmlPackage
	if err := xml.NewDecoder(io.LimitReader(r, maxPackage)).Decode(&x); err != nil {
		return Package{}, fault.Wrap(err, fault.Invalid, "sdp: the software distribution package is not well-formed")
	}
	return x.read()
}

// read turns the elements into a Package.
func (x xmlPackage) read() (Package, error) {
	if x.XMLName.Local != rootElement || x.Properties.ID == "" {
		return Package{}, fault.New(fault.Invalid, "sdp: it is no software distribution package")
	}
	p := Package{
		ID: strings.ToLower(x.Properties.ID), Vendor: x.Properties.Vendor, Product: x.Properties.Product, URL: x.Properties.URL,
		KB: x.Update.KB, Classification: x.Update.Classification, Severity: patch.ParseSeverity(x.Update.Severity),
		Created: moment(x.Properties.Created),
	}
	for i, l := range x.Localized {
		if i == 0 || l.Language == "en" {
			p.Title, p.Description = l.Title, l.Description
		}
	}
	for _, c := range x.Update.CVEs {
		if c = strings.ToUpper(strings.TrimSpace(c)); strings.HasPrefix(c, "CVE-") {
			p.CVEs = append(p.CVEs, c)
		}
	}
	for _, s := range x.Superseded {
		p.Superseded = append(p.Superseded, strings.ToLower(strings.TrimSpace(s)))
	}
	var err error
	if p.Applicable, err = wsus.Translate(x.Installable.Nodes, wsus.Metadata{}); err != nil {
		return p, err
	}
	for _, i := range x.Items {
		item, err := i.item()
		if err != nil {
			return p, err
		}
		p.Items = append(p.Items, item)
	}
	return p, nil
}

func (x xmlItem) item() (Item, error) {
	i := Item{ID: strings.ToLower(x.ID), Reboot: wsus.Reboot(x.Properties.Reboot), File: x.file()}
	var err error
	if len(x.Installed.Nodes) == 0 { // nothing said: never taken for installed
		i.Installed = wsus.Constant(false)
	} else if i.Installed, err = wsus.Translate(x.Installed.Nodes, x.Metadata); err != nil {
		return i, err
	}
	if i.Applicable, err = wsus.Translate(x.Installable.Nodes, x.Metadata); err != nil {
		return i, err
	}
	switch {
	case x.MSI != nil:
		i.Kind, i.Program, i.Arguments = "msi", x.MSI.File, x.MSI.CommandLine
	case x.MSP != nil:
		i.Kind, i.Program, i.Arguments = "msp", x.MSP.File, x.MSP.CommandLine
	case x.Command != nil:
		i.Kind, i.Program, i.Arguments = "exe", x.Command.Program, x.Command.Arguments
		i.ExitCodes = map[int]patch.ExitMeaning{}
		for _, c := range x.Command.Codes {
			code, err := strconv.ParseInt(c.Code, 10, 64)
			if err != nil {
				return i, fault.New(fault.Invalid, "sdp: the return code %q is no number", clip(c.Code))
			}
			i.ExitCodes[int(code)] = wsus.Exit(c.Result, c.Reboot)
		}
	}
	return i, nil
}

func (x xmlItem) file() File {
	f := File{Name: x.Origin.Name, URL: x.Origin.URL, Size: x.Origin.Size}
	if sum, err := base64.StdEncoding.DecodeString(x.Origin.Digest); err == nil && len(sum) == 20 {
		f.SHA1 = hex.EncodeToString(sum)
	}
	for _, m := range x.Origin.More {
		if sum, err := base64.StdEncoding.DecodeString(strings.TrimSpace(m.Text)); err == nil && len(sum) == 32 && m.Algorithm == "SHA256" {
			f.SHA256 = hex.EncodeToString(sum)
		}
	}
	return f
}

// moment reads the packages' dates, with or without a zone; zero for others.
func moment(s string) time.Time {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(form, strings.TrimSpace(s)); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// clip keeps messages short.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
