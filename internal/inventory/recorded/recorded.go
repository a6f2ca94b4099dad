// Package recorded reads what Windows' own tools print: systeminfo, wmic qfe,
// and listings of updates. Machines without an agent are assessed from such
// records.
//
// The tools print in the language of the system and in several encodings, so
// what is read is what does not depend on them: the version's form, the name of
// the product, architectures and KB numbers. A systeminfo record knows no
// revision of the build.
package recorded

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// maxRecord bounds a record in bytes.
const maxRecord = 16 << 20

var (
	hostName  = regexp.MustCompile(`(?m)\A\s*[^:\n]*:[ \t]+(\S+)[ \t]*$`)
	osName    = regexp.MustCompile(`(?m)^[^:\n]*:[ \t]+(\S.*Windows[^\\\n]{0,8}?(?:XP|Vista|Server|\d).*)$`)
	osVersion = regexp.MustCompile(`(?m)^[^:\n]*:[ \t]+((?:10\.0|6\.[0-3]|5\.[12])\.\d{4,5})\b(.*)$`)
	pack      = regexp.MustCompile(`(?i)service pack ([1-9])`)
	kbText    = regexp.MustCompile(`\bKB(\d{6,8})\b`)
	listed    = regexp.MustCompile(`(?m)^KB(\d{6,8}): (.+)$`)
	serverOf  = regexp.MustCompile(`Windows\S* *(?:\(R\))? *Server|Server\S* 20\d\d|Windows Server`)
)

// editions are words of product names, in the languages that were seen, and the
// EditionID that such a machine has. Longer words come first.
var editions = []struct{ word, id string }{
	{"LTSC", "EnterpriseS"},
	{"Education", "Education"},
	{"Enterprise", "Enterprise"},
	{"Entreprise", "Enterprise"},
	{"Home", "Core"},
	{"Pro for Workstations", "ProfessionalWorkstation"},
	{"Pro", "Professional"},
	{"Standard", "ServerStandard"},
	{"Datacenter", "ServerDatacenter"},
	{"Ultimate", "Ultimate"},
}

// Systeminfo reads the output of systeminfo. It returns fault.Invalid for what
// is none, or of a release of Windows that is not known.
func Systeminfo(raw []byte) (inventory.Snapshot, error) {
	text, err := decode(raw)
	if err != nil {
		return inventory.Snapshot{}, err
	}
	s := inventory.Snapshot{OS: inventory.OS{Family: "windows", Arch: "386", ServicePack: "0"}}
	version := osVersion.FindStringSubmatch(text)
	if version == nil {
		return s, fault.New(fault.Invalid, "recorded: it is no output of systeminfo: it names no version of Windows")
	}
	s.OS.Build = version[1]
	if m := pack.FindStringSubmatch(version[2]); m != nil {
		s.OS.ServicePack = m[1]
	}
	if m := osName.FindStringSubmatch(text); m != nil {
		s.OS.Name = strings.TrimSpace(m[1])
	}
	if m := hostName.FindStringSubmatch(text); m != nil {
		s.OS.Hostname = m[1]
	}
	if strings.Contains(text, "x64-based PC") || strings.Contains(s.OS.Name, "x64") {
		s.OS.Arch = "amd64"
	}
	for _, e := range editions {
		if strings.Contains(s.OS.Name, e.word) {
			s.OS.Edition = e.id
			break
		}
	}
	r, known := inventory.WindowsOf(s.OS.Build, server(s.OS.Name))
	if !known {
		return s, fault.New(fault.Invalid, "recorded: build %s is of no release that is known", s.OS.Build)
	}
	s.OS.ID, s.OS.Version = r.ID, r.Version
	s.Packages = hotfixes(text)
	return s, nil
}

// server tells servers by their name, in which trade marks may be damaged.
func server(name string) bool {
	plain := strings.Map(func(r rune) rune {
		if r < 0x80 && r != '?' {
			return r
		}
		return -1
	}, strings.ReplaceAll(name, "(R)", ""))
	return serverOf.MatchString(plain)
}

// Hotfixes reads the output of wmic qfe: the installed KBs, sorted. It returns
// fault.Invalid for what is no such table.
func Hotfixes(raw []byte) ([]inventory.Package, error) {
	text, err := decode(raw)
	if err != nil {
		return nil, err
	}
	if text = strings.TrimSpace(text); text == "" {
		return nil, nil // what wmic prints of a machine without any
	}
	if !strings.Contains(text, "HotFixID") {
		return nil, fault.New(fault.Invalid, "recorded: it is no output of wmic qfe: it has no column HotFixID")
	}
	return hotfixes(text), nil
}

func hotfixes(text string) []inventory.Package {
	var out []inventory.Package
	for _, m := range kbText.FindAllStringSubmatch(text, -1) {
		out = append(out, inventory.Package{Kind: "kb", Name: "KB" + m[1]})
	}
	slices.SortFunc(out, inventory.ComparePackages)
	return slices.Compact(out)
}

// Update is an update that a machine was offered.
type Update struct{ KB, Title string }

// Offered reads a listing of updates, one to a line: "KB4100347: title". It
// returns fault.Invalid when there is none.
func Offered(raw []byte) ([]Update, error) {
	text, err := decode(raw)
	if err != nil {
		return nil, err
	}
	var out []Update
	for _, m := range listed.FindAllStringSubmatch(text, -1) {
		out = append(out, Update{KB: "KB" + m[1], Title: strings.TrimSpace(m[2])})
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "recorded: it is no listing of updates")
	}
	return out, nil
}

// decode reads UTF-16 with its mark, and takes everything else as it is: what
// is looked for is ASCII. Some records begin with a line of one encoding and go
// on in another; their zeros are dropped.
func decode(raw []byte) (string, error) {
	if len(raw) > maxRecord {
		return "", fault.New(fault.Invalid, "recorded: the record is larger than %d MiB", maxRecord>>20)
	}
	text := string(raw)
	switch {
	case strings.HasPrefix(text, "\xff\xfe"):
		units := make([]uint16, 0, len(raw)/2)
		for i := 2; i+1 < len(raw); i += 2 {
			units = append(units, uint16(raw[i])|uint16(raw[i+1])<<8)
		}
		text = string(utf16.Decode(units))
	case strings.Contains(text, "\x00"):
		text = strings.ReplaceAll(text, "\x00", "")
	}
	return strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r", ""), nil
}
