package wsus

import (
	"encoding/xml"
	"regexp"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
)

// Metadata is what an item tells its own rules (ApplicabilityRules/Metadata):
// of CbsPackageApplicabilityMetadata, which is the whole manifest of a package
// of component based servicing and can be tens of megabytes, the names of the
// packages. What else stands there is passed over.
type Metadata struct {
	// Packages are identities as Windows lists them
	// (name~public key token~architecture~language~version), empty for one that
	// is not named in full.
	Packages []string
}

// UnmarshalXML implements xml.Unmarshaler.
func (m *Metadata) UnmarshalXML(d *xml.Decoder, _ xml.StartElement) error {
	return within(d, "CbsPackageApplicabilityMetadata", func(xml.StartElement) error {
		return within(d, "assembly", func(xml.StartElement) error {
			var names []string
			err := within(d, "assemblyIdentity", func(start xml.StartElement) error {
				names = append(names, identity(Node{Attrs: start.Attr}))
				return d.Skip()
			})
			if len(names) != 1 {
				names = []string{""}
			}
			m.Packages = append(m.Packages, names[0])
			return err
		})
	})
}

// within calls read for the children of that name of the element that has been
// begun, and passes over the others. read consumes the element.
func within(d *xml.Decoder, name string, read func(xml.StartElement) error) error {
	for {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			next := d.Skip
			if (Node{XMLName: t.Name}).name() == name {
				next = func() error { return read(t) }
			}
			if err := next(); err != nil {
				return err
			}
		}
	}
}

var identityPart = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)

// identity is the name of a package as Windows lists it; empty when a part is
// missing or is none. Where the manifest says that it serves any language, the
// list has nothing.
func identity(n Node) string {
	language := n.get("language")
	parts := []string{n.get("name"), n.get("publicKeyToken"), n.get("processorArchitecture"), language, n.get("version")}
	for _, p := range parts {
		if !identityPart.MatchString(p) {
			return ""
		}
	}
	if strings.EqualFold(language, "neutral") {
		parts[3] = ""
	}
	return strings.Join(parts, "~")
}

// ownPackage is CbsPackageInstalled: the package that the item brings is there.
// The element itself names none.
func (m Metadata) ownPackage(n Node) (detect.Rule, error) {
	for _, a := range n.Attrs {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			return detect.Rule{}, fault.New(fault.Unsupported, "wsus: the attribute %s of %s is not known", clip(a.Name.Local), clip(n.name()))
		}
	}
	switch {
	case len(n.Children) > 0:
		return detect.Rule{}, fault.New(fault.Unsupported, "wsus: the rule element CbsPackageInstalled with a condition of its own is not known")
	case len(m.Packages) > 1:
		return detect.Rule{}, fault.New(fault.Unsupported, "wsus: the rule element CbsPackageInstalled is not known for an item of several packages")
	case len(m.Packages) == 0 || m.Packages[0] == "":
		return lacking(n)
	}
	return detect.Rule{Package: &detect.Package{Kind: "cbs", Name: m.Packages[0]}}, nil
}
