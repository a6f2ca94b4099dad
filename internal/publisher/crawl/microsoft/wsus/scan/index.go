package scan

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// xmlUpdate is an update of package.xml.
type xmlUpdate struct {
	Created       string `xml:"CreationDate,attr"`
	ID            string `xml:"UpdateId,attr"`
	Number        int    `xml:"RevisionNumber,attr"`
	Revision      uint32 `xml:"RevisionId,attr"`
	Leaf          bool   `xml:"IsLeaf,attr"`
	Prerequisites struct {
		IDs []xmlID `xml:"UpdateId"`
		Or  []struct {
			IDs []xmlID `xml:"UpdateId"`
		} `xml:"Or"`
	} `xml:"Prerequisites"`
	Categories []struct {
		Type string `xml:"Type,attr"`
		ID   string `xml:"Id,attr"`
	} `xml:"Categories>Category"`
	BundledBy []struct {
		ID uint32 `xml:"Id,attr"`
	} `xml:"BundledBy>Revision"`
	Files []xmlID `xml:"PayloadFiles>File"`
}

type xmlID struct {
	ID string `xml:"Id,attr"`
}

// index reads package.xml as a stream, one update at a time.
func (p *parser) index(r io.Reader) error {
	p.located, p.wantedFile = map[string]string{}, map[string]bool{}
	dec := xml.NewDecoder(r)
	for depth := 0; ; {
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return badIndex(err)
		}
		e, starts := t.(xml.StartElement)
		if !starts {
			continue
		}
		switch e.Name.Local {
		case "OfflineSyncPackage", "Updates", "FileLocations":
			depth++
		case "Update":
			var x xmlUpdate
			if err := dec.DecodeElement(&x, &e); err != nil {
				return badIndex(err)
			}
			if err := p.update(x); err != nil {
				return err
			}
		case "FileLocation":
			p.location(e)
		default:
			if depth == 0 {
				return fault.New(fault.Invalid, "scan: %s begins with %q", indexFile, clip(e.Name.Local))
			}
			if err := dec.Skip(); err != nil {
				return badIndex(err)
			}
		}
	}
	return nil
}

func badIndex(err error) error {
	if code := fault.CodeOf(err); code != fault.Internal {
		return err
	}
	return fault.Wrap(err, fault.Invalid, "scan: %s is not well-formed", indexFile)
}

// update keeps an update that is new enough, or that others ask for.
func (p *parser) update(x xmlUpdate) error {
	if p.counts.Updates++; p.counts.Updates > maxUpdates {
		return fault.New(fault.Invalid, "scan: the file has more than %d updates", maxUpdates)
	}
	created, err := time.Parse(time.RFC3339, x.Created)
	if err != nil || x.ID == "" || p.byRevision[x.Revision] != nil {
		return fault.New(fault.Invalid, "scan: update %q, revision %d, is not as it must be", clip(x.ID), x.Revision)
	}
	if x.Leaf && created.Before(p.since) {
		p.counts.Early++
		return nil
	}
	u := &Update{
		ID: strings.ToLower(x.ID), Revision: x.Revision, Number: x.Number, Created: created.UTC(), Leaf: x.Leaf, Bundled: len(x.BundledBy) > 0,
	}
	for _, c := range x.Categories {
		if c.Type == "UpdateClassification" {
			u.Class = classes[strings.ToLower(c.ID)]
		}
	}
	for _, id := range x.Prerequisites.IDs {
		u.Prerequisites = append(u.Prerequisites, []string{strings.ToLower(id.ID)})
	}
	for _, or := range x.Prerequisites.Or {
		u.Prerequisites = append(u.Prerequisites, idsOf(or.IDs))
	}
	for _, f := range x.Files {
		p.wantedFile[f.ID] = true
	}
	p.byRevision[x.Revision] = u
	p.order = append(p.order, u)
	return nil
}

func idsOf(all []xmlID) []string {
	var out []string
	for _, id := range all {
		out = append(out, strings.ToLower(id.ID))
	}
	return out
}

// location notes where a wanted file lies.
func (p *parser) location(e xml.StartElement) {
	var digest, address string
	for _, a := range e.Attr {
		switch a.Name.Local {
		case "Id":
			digest = a.Value
		case "Url":
			address = a.Value
		}
	}
	if sum := digestOf(digest, 20); p.wantedFile[digest] && sum != "" {
		p.located[sum] = address
	}
}

// digestOf turns base64 into lower-case hex; it is empty for another length.
func digestOf(text string, size int) string {
	sum, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(sum) != size {
		return ""
	}
	return hex.EncodeToString(sum)
}

// classes are the ids of Microsoft's update classifications
// (https://learn.microsoft.com/previous-versions/windows/desktop/ff357803(v=vs.85)).
var classes = map[string]string{
	"0fa1201d-4330-4fa8-8ae9-b877473b6441": "Security Updates",
	"28bc880e-0592-4cbf-8f95-c79b17911d5f": "Update Rollups",
	"68c5b0a3-d1a6-4553-ae49-01d3a7827828": "Service Packs",
	"b4832bd8-e735-4761-8daf-37f882276dab": "Tools",
	"b54e7d24-7add-428f-8b75-90a396fa584f": "Feature Packs",
	"cd5ffd1e-e932-4e3a-bf74-18bf0b1bbd83": "Updates",
	"e0789628-ce08-4437-be74-2495b842f43b": "Definition Updates",
	"e6cf1350-c01b-414d-a61f-263d14d133b4": "Critical Updates",
	"ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0": "Drivers",
	"3689bdc8-b205-4af4-8d4a-a63924c5e9d5": "Upgrades",
}

func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
