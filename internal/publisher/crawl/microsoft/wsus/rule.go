package wsus

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
)

// Translate turns applicability rules (BaseApplicabilityRules,
// LogicalApplicabilityRules and MsiApplicabilityRules of Microsoft's schemas)
// into a detection rule; several elements count as all. of is what the item
// tells its rules, the zero value where it tells nothing. Translate returns
// fault.Unsupported with the name of an element or comparison that it does not
// know, and fault.Invalid for one that lacks what it needs: a rule is never
// taken for half of what it says.
func Translate(nodes []Node, of Metadata) (detect.Rule, error) {
	return of.all(nodes, 0)
}

func (m Metadata) all(nodes []Node, depth int) (detect.Rule, error) {
	rules, err := m.each(nodes, depth)
	switch {
	case err != nil:
		return detect.Rule{}, err
	case len(rules) == 0:
		return Constant(true), nil
	case len(rules) == 1:
		return rules[0], nil
	}
	return detect.Rule{All: rules}, nil
}

func (m Metadata) each(nodes []Node, depth int) ([]detect.Rule, error) {
	if depth >= detect.MaxDepth-4 {
		return nil, fault.New(fault.Unsupported, "wsus: a rule is nested too deep")
	}
	var out []detect.Rule
	for _, n := range nodes {
		r, err := m.one(n, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (m Metadata) one(n Node, depth int) (detect.Rule, error) {
	switch n.name() {
	case "And":
		return m.all(n.Children, depth+1)
	case "Or":
		rules, err := m.each(n.Children, depth+1)
		if err != nil || len(rules) == 0 {
			return Constant(false), err
		}
		return anyOf(rules), nil
	case "Not":
		r, err := m.all(n.Children, depth+1)
		return detect.Rule{Not: &r}, err
	case "True":
		return Constant(true), nil
	case "False":
		return Constant(false), nil
	}
	return m.leafOf(n)
}

// Elements lists the names of the elements that Translate knows.
func Elements() []string {
	return append(slices.Sorted(maps.Keys(Metadata{}.leaves())), "And", "False", "Not", "Or", "True")
}

// leaves are the elements that test something.
func (m Metadata) leaves() map[string]func(Node) (detect.Rule, error) {
	return map[string]func(Node) (detect.Rule, error){
		"FileVersion":                   fileVersion,
		"FileExists":                    fileExists,
		"RegKeyExists":                  keyExists,
		"RegValueExists":                valueExists,
		"RegSz":                         registryText,
		"RegDword":                      func(n Node) (detect.Rule, error) { return registry(n, "dword", n.get("Data")) },
		"RegSzToVersion":                func(n Node) (detect.Rule, error) { return registry(n, "version", n.get("Data")) },
		"WindowsVersion":                windowsVersion,
		"Processor":                     processor,
		"NumberOfProcessors":            processors,
		"WmiQuery":                      wmiQuery,
		"MsiProductInstalled":           msiProduct,
		"CbsPackageInstalledByIdentity": cbsPackage,
		"CbsPackageInstalled":           m.ownPackage,
	}
}

func (m Metadata) leafOf(n Node) (detect.Rule, error) {
	if translate, known := m.leaves()[n.name()]; known {
		return translate(n)
	}
	return detect.Rule{}, fault.New(fault.Unsupported, "wsus: the rule element %s is not known", clip(n.name()))
}

// without refuses an element that has one of the attributes: what it says
// besides can't be asked.
func without(n Node, names ...string) error {
	for _, name := range names {
		if n.get(name) != "" {
			return fault.New(fault.Unsupported, "wsus: the attribute %s of %s is not known", name, clip(n.name()))
		}
	}
	return nil
}

func fileExists(n Node) (detect.Rule, error) {
	path, err := filePath(n)
	if err == nil {
		err = without(n, "Created", "Modified", "Size", "Language")
	}
	if v := n.get("Version"); v != "" {
		return detect.Rule{FileVersion: &detect.FileVersion{Path: path, Op: detect.EQ, Version: v}}, err
	}
	return detect.Rule{File: &detect.File{Path: path}}, err
}

func keyExists(n Node) (detect.Rule, error) {
	key, err := registryKey(n)
	return detect.Rule{RegistryKey: &detect.RegistryKey{Key: key, View: view(n)}}, err
}

func valueExists(n Node) (detect.Rule, error) {
	if err := without(n, "Type"); err != nil {
		return detect.Rule{}, err
	}
	return registry(n, "", "")
}

func wmiQuery(n Node) (detect.Rule, error) {
	if n.get("WqlQuery") == "" {
		return lacking(n)
	}
	return detect.Rule{WMI: &detect.WMI{Namespace: n.get("Namespace"), Query: n.get("WqlQuery")}}, nil
}

func cbsPackage(n Node) (detect.Rule, error) {
	if n.get("PackageIdentity") == "" {
		return lacking(n)
	}
	return detect.Rule{Package: &detect.Package{Kind: "cbs", Name: n.get("PackageIdentity")}}, nil
}

// processors counts as SYSTEM_INFO.dwNumberOfProcessors does.
func processors(n Node) (detect.Rule, error) {
	signs := map[detect.Op]string{detect.EQ: "=", detect.LT: "<", detect.LE: "<=", detect.GT: ">", detect.GE: ">="}
	op, err := comparison(n)
	if err != nil {
		return detect.Rule{}, err
	}
	if _, err := strconv.ParseUint(n.get("Number"), 10, 16); err != nil {
		return lacking(n)
	}
	return detect.Rule{WMI: &detect.WMI{
		Namespace: `root\cimv2`, Query: "SELECT * FROM Win32_ComputerSystem WHERE NumberOfLogicalProcessors " + signs[op] + " " + n.get("Number"),
	}}, nil
}

// Constant is a rule that is always true or always false.
func Constant(v bool) detect.Rule { return detect.Rule{Always: &v} }

func lacking(n Node) (detect.Rule, error) {
	return detect.Rule{}, fault.New(fault.Invalid, "wsus: the rule element %s lacks what it needs", clip(n.name()))
}

// comparisons of BaseTypes.xsd's ScalarComparison.
var comparisons = map[string]detect.Op{
	"EqualTo": detect.EQ, "LessThan": detect.LT, "LessThanOrEqualTo": detect.LE,
	"GreaterThan": detect.GT, "GreaterThanOrEqualTo": detect.GE,
}

func comparison(n Node) (detect.Op, error) {
	op, known := comparisons[n.get("Comparison")]
	if !known {
		return "", fault.New(fault.Unsupported, "wsus: the comparison %q of %s is not known", clip(n.get("Comparison")), clip(n.name()))
	}
	return op, nil
}

// folders are the CSIDL numbers of shlobj_core.h that make sense for a machine.
var folders = map[string]string{
	"35": "CSIDL_COMMON_APPDATA", "36": "CSIDL_WINDOWS", "37": "CSIDL_SYSTEM", "38": "CSIDL_PROGRAM_FILES", "41": "CSIDL_SYSTEMX86",
	"42": "CSIDL_PROGRAM_FILESX86", "43": "CSIDL_PROGRAM_FILES_COMMON", "44": "CSIDL_PROGRAM_FILES_COMMONX86",
}

func filePath(n Node) (string, error) {
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
		return "", fault.New(fault.Unsupported, "wsus: the folder with CSIDL %q is not known", clip(id))
	}
	return "{" + folder + `}\` + strings.TrimLeft(path, `\`), nil
}

func fileVersion(n Node) (detect.Rule, error) {
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

func registryKey(n Node) (string, error) {
	hive, known := hives[n.get("Key")]
	if !known {
		return "", fault.New(fault.Unsupported, "wsus: the registry root %q is not known", clip(n.get("Key")))
	}
	if n.get("Subkey") == "" {
		_, err := lacking(n)
		return "", err
	}
	return hive + `\` + strings.Trim(n.get("Subkey"), `\`), nil
}

func view(n Node) string {
	if strings.EqualFold(n.get("RegType32"), "true") {
		return "32"
	}
	return ""
}

// registry tests a value: kind "" tests that it is there.
func registry(n Node, kind, data string) (detect.Rule, error) {
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

// texts are the comparisons of BaseTypes.xsd's StringComparison.
var texts = map[string]detect.Op{"EqualTo": detect.EQ, "BeginsWith": detect.Begins, "Contains": detect.Contains, "EndsWith": detect.Ends}

func registryText(n Node) (detect.Rule, error) {
	key, err := registryKey(n)
	if err != nil {
		return detect.Rule{}, err
	}
	op, known := texts[n.get("Comparison")]
	if !known {
		return detect.Rule{}, fault.New(fault.Unsupported, "wsus: the comparison %q of RegSz is not known", clip(n.get("Comparison")))
	}
	return detect.Rule{RegistryValue: &detect.RegistryValue{Key: key, View: view(n), Name: n.get("Value"), Type: "sz", Op: op, Data: n.get("Data")}}, nil
}

// architectures of SYSTEM_INFO.wProcessorArchitecture.
var architectures = map[string]string{"0": "386", "5": "arm", "6": "ia64", "9": "amd64", "12": "arm64"}

func processor(n Node) (detect.Rule, error) {
	arch, known := architectures[n.get("Architecture")]
	if !known {
		return detect.Rule{}, fault.New(fault.Unsupported, "wsus: the processor architecture %q is not known", clip(n.get("Architecture")))
	}
	return detect.Rule{Architecture: &detect.Architecture{Any: []string{arch}}}, without(n, "Level", "Revision")
}

func msiProduct(n Node) (detect.Rule, error) {
	code := strings.ToUpper(n.get("ProductCode"))
	if code == "" {
		return lacking(n)
	}
	if err := without(n, "Language"); err != nil {
		return detect.Rule{}, err
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
