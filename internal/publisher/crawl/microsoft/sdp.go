package microsoft

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"io"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// maxPackage bounds one software distribution package in bytes.
const maxPackage = 16 << 20

// Package is one software distribution package of WSUS and Configuration
// Manager catalogs (SoftwareDistributionPackage.xsd), with its rules as
// detection rules.
type Package struct {
	ID             string
	Vendor         string
	Product        string
	Title          string
	Description    string
	KB             string // Microsoft's number, or the vendor's own
	Severity       patch.Severity
	Classification string // "Updates", "Security Updates"
	Superseded     []string
	// Applicable is the package's own condition, over those of its items.
	Applicable detect.Rule
	Items      []PackageItem
}

// PackageItem is one installable item of a package.
type PackageItem struct {
	ID                    string
	Installed, Applicable detect.Rule
	Reboot                patch.Reboot
	// Kind is "exe" or "msi"; Program and Arguments are its command line as
	// the vendor writes it, and are not run from here.
	Kind, Program, Arguments string
	ExitCodes                map[int]patch.ExitMeaning
	File                     PackageFile
}

// PackageFile is an item's payload. Packages give SHA-1 alone, which proves
// nothing by itself; the file's own signature must.
type PackageFile struct {
	Name, URL string
	SHA1      string // lower-case hex
	Size      int64
}

type (
	xmlRules struct {
		Nodes []ruleNode `xml:",any"`
	}
	xmlPackage struct {
		XMLName    xml.Name
		Properties struct {
			ID      string `xml:"PackageID,attr"`
			Vendor  string `xml:"VendorName,attr"`
			Product string `xml:"ProductName"`
		} `xml:"Properties"`
		Localized []struct {
			Language    string `xml:"Language"`
			Title       string `xml:"Title"`
			Description string `xml:"Description"`
		} `xml:"LocalizedProperties"`
		Update struct {
			Severity       string `xml:"MsrcSeverity,attr"`
			Classification string `xml:"UpdateClassification,attr"`
			KB             string `xml:"KBArticleID"`
		} `xml:"UpdateSpecificData"`
		Installable xmlRules  `xml:"IsInstallable"`
		Superseded  []string  `xml:"SupersededPackages>PackageID"`
		Items       []xmlItem `xml:"InstallableItem"`
	}
	xmlItem struct {
		ID          string   `xml:"ID,attr"`
		Installed   xmlRules `xml:"ApplicabilityRules>IsInstalled"`
		Installable xmlRules `xml:"ApplicabilityRules>IsInstallable"`
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
		Origin struct {
			Digest string `xml:"Digest,attr"`
			Name   string `xml:"FileName,attr"`
			URL    string `xml:"OriginUri,attr"`
			Size   int64  `xml:"Size,attr"`
		} `xml:"OriginFile"`
	}
)

// ParsePackage reads a software distribution package. It returns
// fault.Unsupported when one of its rules can't be translated whole, and
// fault.Invalid for what is not such a package.
func ParsePackage(r io.Reader) (Package, error) {
	var x xmlPackage
	if err := xml.NewDecoder(io.LimitReader(r, maxPackage)).Decode(&x); err != nil {
		return Package{}, fault.Wrap(err, fault.Invalid, "microsoft: the software distribution package is not well-formed")
	}
	if x.XMLName.Local != "SoftwareDistributionPackage" || x.Properties.ID == "" {
		return Package{}, fault.New(fault.Invalid, "microsoft: it is no software distribution package")
	}
	p := Package{
		ID: strings.ToLower(x.Properties.ID), Vendor: x.Properties.Vendor, Product: x.Properties.Product,
		KB: x.Update.KB, Classification: x.Update.Classification, Severity: patch.Unknown,
	}
	if s := severity(x.Update.Severity); s != "" {
		p.Severity = s
	}
	for i, l := range x.Localized {
		if i == 0 || l.Language == "en" {
			p.Title, p.Description = l.Title, l.Description
		}
	}
	for _, s := range x.Superseded {
		p.Superseded = append(p.Superseded, strings.ToLower(strings.TrimSpace(s)))
	}
	var err error
	if p.Applicable, err = translate(x.Installable.Nodes); err != nil {
		return Package{}, err
	}
	for _, i := range x.Items {
		item, err := i.item()
		if err != nil {
			return Package{}, err
		}
		p.Items = append(p.Items, item)
	}
	return p, nil
}

func (x xmlItem) item() (PackageItem, error) {
	i := PackageItem{ID: strings.ToLower(x.ID), Reboot: patch.RebootMaybe, File: PackageFile{Name: x.Origin.Name, URL: x.Origin.URL, Size: x.Origin.Size}}
	var err error
	if len(x.Installed.Nodes) == 0 { // nothing said: never taken for installed
		i.Installed = constant(false)
	} else if i.Installed, err = translate(x.Installed.Nodes); err != nil {
		return i, err
	}
	if i.Applicable, err = translate(x.Installable.Nodes); err != nil {
		return i, err
	}
	switch x.Properties.Reboot {
	case "NeverReboots":
		i.Reboot = patch.RebootNever
	case "AlwaysRequiresReboot":
		i.Reboot = patch.RebootAlways
	}
	if sum, err := base64.StdEncoding.DecodeString(x.Origin.Digest); err == nil && len(sum) == 20 {
		i.File.SHA1 = hex.EncodeToString(sum)
	}
	switch {
	case x.MSI != nil:
		i.Kind, i.Program, i.Arguments = "msi", x.MSI.File, x.MSI.CommandLine
	case x.Command != nil:
		i.Kind, i.Program, i.Arguments = "exe", x.Command.Program, x.Command.Arguments
		i.ExitCodes = map[int]patch.ExitMeaning{}
		for _, c := range x.Command.Codes {
			code, err := strconv.ParseInt(c.Code, 10, 64)
			if err != nil {
				return i, fault.New(fault.Invalid, "microsoft: the return code %q is no number", clip(c.Code))
			}
			i.ExitCodes[int(code)] = exitMeaning(c.Result, c.Reboot)
		}
	}
	return i, nil
}

func exitMeaning(result string, reboot bool) patch.ExitMeaning {
	switch {
	case result == "Succeeded" && reboot:
		return patch.ExitRebootDue
	case result == "Succeeded":
		return patch.ExitOK
	case result == "Cancelled":
		return patch.ExitUserCanceled
	}
	return patch.ExitFailed
}
