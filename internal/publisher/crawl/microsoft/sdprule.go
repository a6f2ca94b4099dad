package microsoft

import (
	"encoding/xml"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
)

// ruleNode is an element of Microsoft's applicability rules.
type ruleNode struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []ruleNode `xml:",any"`
}

func (n ruleNode) get(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// name is the element's name without its prefix: namespaces in packages, "b."
// in the offline scan file.
func (n ruleNode) name() string {
	name := n.XMLName.Local
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	return name
}

// translate turns applicability rules (BaseApplicabilityRules,
// LogicalApplicabilityRules and MsiApplicabilityRules of Microsoft's schemas)
// into a detection rule; several elements count as all. It returns
// fault.Unsupported with the name of an element or comparison that it does not
// know, and fault.Invalid for one that lacks what it needs: a rule is never
// taken for half of what it says.
func translate(nodes []ruleNode) (detect.Rule, error) {
	return all(nodes, 0)
}

func all(nodes []ruleNode, depth int) (detect.Rule, error) {
	rules, err := each(nodes, depth)
	switch {
	case err != nil:
		return detect.Rule{}, err
	case len(rules) == 0:
		return constant(true), nil
	case len(rules) == 1:
		return rules[0], nil
	}
	return detect.Rule{All: rules}, nil
}

func each(nodes []ruleNode, depth int) ([]detect.Rule, error) {
	if depth >= detect.MaxDepth-4 {
		return nil, fault.New(fault.Unsupported, "microsoft: a rule is nested too deep")
	}
	var out []detect.Rule
	for _, n := range nodes {
		r, err := one(n, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func one(n ruleNode, depth int) (detect.Rule, error) {
	switch n.name() {
	case "And":
		return all(n.Children, depth+1)
	case "Or":
		rules, err := each(n.Children, depth+1)
		if err != nil || len(rules) == 0 {
			return constant(false), err
		}
		return anyOf(rules), nil
	case "Not":
		r, err := all(n.Children, depth+1)
		return detect.Rule{Not: &r}, err
	case "True":
		return constant(true), nil
	case "False":
		return constant(false), nil
	}
	return leafOf(n)
}

func leafOf(n ruleNode) (detect.Rule, error) {
	switch n.name() {
	case "FileVersion":
		return fileVersion(n)
	case "FileExists":
		path, err := filePath(n)
		return detect.Rule{File: &detect.File{Path: path}}, err
	case "RegKeyExists":
		key, err := registryKey(n)
		return detect.Rule{RegistryKey: &detect.RegistryKey{Key: key, View: view(n)}}, err
	case "RegValueExists":
		return registry(n, "", "")
	case "RegSz":
		return registryText(n)
	case "RegDword":
		return registry(n, "dword", n.get("Data"))
	case "RegSzToVersion":
		return registry(n, "version", n.get("Data"))
	case "WindowsVersion":
		return windowsVersion(n)
	case "Processor":
		return processor(n)
	case "WmiQuery":
		if n.get("WqlQuery") == "" {
			return lacking(n)
		}
		return detect.Rule{WMI: &detect.WMI{Namespace: n.get("Namespace"), Query: n.get("WqlQuery")}}, nil
	case "MsiProductInstalled":
		return msiProduct(n)
	case "CbsPackageInstalledByIdentity":
		if n.get("PackageIdentity") == "" {
			return lacking(n)
		}
		return detect.Rule{Package: &detect.Package{Kind: "cbs", Name: n.get("PackageIdentity")}}, nil
	}
	return detect.Rule{}, fault.New(fault.Unsupported, "microsoft: the rule element %s is not known", clip(n.name()))
}

func constant(v bool) detect.Rule { return detect.Rule{Always: &v} }

func lacking(n ruleNode) (detect.Rule, error) {
	return detect.Rule{}, fault.New(fault.Invalid, "microsoft: the rule element %s lacks what it needs", clip(n.name()))
}

// comparisons of BaseTypes.xsd's ScalarComparison.
var comparisons = map[string]detect.Op{
	"EqualTo": detect.EQ, "LessThan": detect.LT, "LessThanOrEqualTo": detect.LE,
	"GreaterThan": detect.GT, "GreaterThanOrEqualTo": detect.GE,
}

func comparison(n ruleNode) (detect.Op, error) {
	op, known := comparisons[n.get("Comparison")]
	if !known {
		return "", fault.New(fault.Unsupported, "microsoft: the comparison %q of %s is not known", clip(n.get("Comparison")), clip(n.name()))
	}
	return op, nil
}

// folders are the CSIDL numbers of shlobj_core.h that make sense for a machine.
var folders = map[string]string{
	"35": "CSIDL_COMMON_APPDATA", "36": "CSIDL_WINDOWS", "37": "CSIDL_SYSTEM", "38": "CSIDL_PROGRAM_FILES", "41": "CSIDL_SYSTEMX86",
	"42": "CSIDL_PROGRAM_FILESX86", "43": "CSIDL_PROGRAM_FILES_COMMON", "44": "CSIDL_PROGRAM_FILES_COMMONX86",
}

func filePath(n ruleNode) (string, error) {
	path, id := n.get("Path"), n.get("Csidl")
	if path == "" {
		_, err := lacking(n)
		return "", err
	}
	if id == "" {
		return path, nil
	}
	folder, known := folders[id]
	if !known {
		return "", fault.New(fault.Unsupported, "microsoft: the folder with CSIDL %q is not known", clip(id))
	}
	return "{" + folder + `}\` + strings.TrimLeft(path, `\`), nil
}

func fileVersion(n ruleNode) (detect.Rule, error) {
	path, err := filePath(n)
	if err != nil {
		return detect.Rule{}, err
	}
	op, err := comparison(n)
	if err != nil {
		return detect.Rule{}, err
	}
	if n.get("Version") == "" {
		return lacking(n)
	}
	return detect.Rule{FileVersion: &detect.FileVersion{Path: path, Op: op, Version: n.get("Version")}}, nil
}

// hives are the keys that exist for the machine; a user's own make no sense
// for a service.
var hives = map[string]string{"HKEY_LOCAL_MACHINE": "HKLM", "HKEY_CLASSES_ROOT": "HKCR"}

func registryKey(n ruleNode) (string, error) {
	hive, known := hives[n.get("Key")]
	if !known {
		return "", fault.New(fault.Unsupported, "microsoft: the registry root %q is not known", clip(n.get("Key")))
	}
	if n.get("Subkey") == "" {
		_, err := lacking(n)
		return "", err
	}
	return hive + `\` + strings.Trim(n.get("Subkey"), `\`), nil
}

func view(n ruleNode) string {
	if strings.EqualFold(n.get("RegType32"), "true") {
		return "32"
	}
	return ""
}

// registry tests a value: kind "" tests that it is there.
func registry(n ruleNode, kind, data string) (detect.Rule, error) {
	key, err := registryKey(n)
	if err != nil {
		return detect.Rule{}, err
	}
	v := detect.RegistryValue{Key: key, View: view(n), Name: n.get("Value"), Type: kind, Data: data}
	if kind == "" {
		return detect.Rule{RegistryValue: &v}, nil
	}
	if v.Op, err = comparison(n); err != nil {
		return detect.Rule{}, err
	}
	return detect.Rule{RegistryValue: &v}, nil
}

func registryText(n ruleNode) (detect.Rule, error) {
	if n.get("Comparison") != "EqualTo" { // BeginsWith, EndsWith, Contains: none occurs
		return detect.Rule{}, fault.New(fault.Unsupported, "microsoft: the comparison %q of RegSz is not known", clip(n.get("Comparison")))
	}
	return registry(n, "sz", n.get("Data"))
}

// architectures of SYSTEM_INFO.wProcessorArchitecture.
var architectures = map[string]string{"0": "386", "5": "arm", "6": "ia64", "9": "amd64", "12": "arm64"}

func processor(n ruleNode) (detect.Rule, error) {
	arch, known := architectures[n.get("Architecture")]
	if !known {
		return detect.Rule{}, fault.New(fault.Unsupported, "microsoft: the processor architecture %q is not known", clip(n.get("Architecture")))
	}
	return detect.Rule{Architecture: &detect.Architecture{Any: []string{arch}}}, nil
}

func msiProduct(n ruleNode) (detect.Rule, error) {
	code := strings.ToUpper(n.get("ProductCode"))
	if code == "" {
		return lacking(n)
	}
	bound := func(op detect.Op, version string) detect.Rule {
		return detect.Rule{Package: &detect.Package{Kind: "msi", Name: code, Op: op, Version: version}}
	}
	var rules []detect.Rule
	if v := n.get("VersionMin"); v != "" {
		op := detect.GE
		if n.get("ExcludeVersionMin") == "true" {
			op = detect.GT
		}
		rules = append(rules, bound(op, v))
	}
	if v := n.get("VersionMax"); v != "" {
		op := detect.LE
		if n.get("ExcludeVersionMax") == "true" {
			op = detect.LT
		}
		rules = append(rules, bound(op, v))
	}
	switch len(rules) {
	case 0:
		return bound("", ""), nil
	case 1:
		return rules[0], nil
	}
	return detect.Rule{All: rules}, nil
}
