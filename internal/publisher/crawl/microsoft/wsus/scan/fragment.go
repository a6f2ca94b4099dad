package scan

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"path"
	"strings"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus"
)

// fragment decodes a fragment, which has no root element.
func fragment(r io.Reader, into any) error {
	return xml.NewDecoder(io.MultiReader(strings.NewReader("<fragment>"), r, strings.NewReader("</fragment>"))).Decode(into)
}

// identity is how fragments name an update.
type identity struct {
	ID string `xml:"UpdateID,attr"`
}

// core reads the rules and the relations.
func core(r io.Reader, u *Update) error {
	var x struct {
		Properties struct {
			Type string `xml:"UpdateType,attr"`
		} `xml:"Properties"`
		Superseded    []identity `xml:"Relationships>SupersededUpdates>UpdateIdentity"`
		Bundled       []identity `xml:"Relationships>BundledUpdates>UpdateIdentity"`
		BundledAny    []identity `xml:"Relationships>BundledUpdates>AtLeastOne>UpdateIdentity"`
		Prerequisites *struct {
			All []identity `xml:"UpdateIdentity"`
			Any []struct {
				IDs []identity `xml:"UpdateIdentity"`
			} `xml:"AtLeastOne"`
		} `xml:"Relationships>Prerequisites"`
		Rules *struct {
			Installed   *wsus.Rules `xml:"IsInstalled"`
			Installable *wsus.Rules `xml:"IsInstallable"`
			// What the rules speak of stands behind them.
			Metadata wsus.Metadata `xml:"Metadata"`
		} `xml:"ApplicabilityRules"`
	}
	if err := fragment(r, &x); err != nil {
		return err
	}
	u.Type, u.Replaces = x.Properties.Type, identities(x.Superseded)
	u.Bundles = append(identities(x.Bundled), identities(x.BundledAny)...)
	if pre := x.Prerequisites; pre != nil { // says more than package.xml
		u.Prerequisites = nil
		for _, one := range pre.All {
			u.Prerequisites = append(u.Prerequisites, []string{strings.ToLower(one.ID)})
		}
		for _, one := range pre.Any {
			u.Prerequisites = append(u.Prerequisites, identities(one.IDs))
		}
	}
	if x.Rules == nil {
		return nil
	}
	u.Installed = u.rule(x.Rules.Installed, x.Rules.Metadata)
	u.Installable = u.rule(x.Rules.Installable, x.Rules.Metadata)
	return nil
}

func identities(all []identity) []string {
	var out []string
	for _, i := range all {
		out = append(out, strings.ToLower(i.ID))
	}
	return out
}

// rule translates a rule to its JSON form, which takes a fraction of the room.
func (u *Update) rule(x *wsus.Rules, of wsus.Metadata) json.RawMessage {
	if x == nil {
		return nil
	}
	r, err := wsus.Translate(x.Nodes, of)
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		u.Refused = fault.Public(err)
		return nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		u.Refused = "its rule can't be encoded"
	}
	return text
}

// extended reads the files and how they are installed.
func extended(r io.Reader, u *Update) error {
	var x struct {
		Properties struct {
			Handler  string `xml:"Handler,attr"`
			Severity string `xml:"MsrcSeverity,attr"`
			Behavior struct {
				Reboot string `xml:"RebootBehavior,attr"`
			} `xml:"InstallationBehavior"`
			Bulletin string `xml:"SecurityBulletinID"`
			KB       string `xml:"KBArticleID"`
		} `xml:"ExtendedProperties"`
		Files []struct {
			Digest string `xml:"Digest,attr"`
			Name   string `xml:"FileName,attr"`
			Size   int64  `xml:"Size,attr"`
			Kind   string `xml:"PatchingType,attr"`
			More   []struct {
				Algorithm string `xml:"Algorithm,attr"`
				Text      string `xml:",chardata"`
			} `xml:"AdditionalDigest"`
		} `xml:"Files>File"`
		Command struct {
			Program   string `xml:"Program,attr"`
			Arguments string `xml:"Arguments,attr"`
			Codes     []struct {
				Code   int    `xml:"Code,attr"`
				Result string `xml:"Result,attr"`
				Reboot bool   `xml:"Reboot,attr"`
			} `xml:"ReturnCode"`
		} `xml:"HandlerSpecificData>InstallCommand"`
		MSP struct {
			CommandLine string `xml:"CommandLine,attr"`
		} `xml:"HandlerSpecificData>MspData"`
	}
	if err := fragment(r, &x); err != nil {
		return err
	}
	u.Handler, u.Severity, u.Reboot = path.Base(x.Properties.Handler), x.Properties.Severity, x.Properties.Behavior.Reboot
	u.KB, u.Bulletin = x.Properties.KB, x.Properties.Bulletin
	for _, f := range x.Files {
		if f.Kind == "Express" || strings.HasSuffix(strings.ToLower(f.Name), ".psf") {
			continue // parts for machines that fetch from Microsoft
		}
		file := File{Name: f.Name, Size: f.Size, SHA1: digestOf(f.Digest, 20)}
		for _, m := range f.More {
			if m.Algorithm == "SHA256" {
				file.SHA256 = digestOf(m.Text, 32)
			}
		}
		u.Files = append(u.Files, file)
	}
	u.Program, u.Argument = x.Command.Program, x.Command.Arguments
	if x.MSP.CommandLine != "" {
		u.Argument = x.MSP.CommandLine
	}
	for _, c := range x.Command.Codes {
		u.Codes = append(u.Codes, Code{c.Code, c.Result, c.Reboot})
	}
	return nil
}

// localized reads the title.
func localized(r io.Reader, u *Update) error {
	var x struct {
		Title string `xml:"LocalizedProperties>Title"`
	}
	if err := fragment(r, &x); err != nil {
		return err
	}
	u.Title = strings.Join(strings.Fields(x.Title), " ")
	return nil
}
