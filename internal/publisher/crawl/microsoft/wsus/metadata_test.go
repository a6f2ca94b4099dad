package wsus

import (
	"encoding/xml"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
)

// rollup is the name of a package in its manifest, as Microsoft writes it.
const rollup = `<assemblyIdentity name="Package_for_RollupFix" version="17763.9999.1.2" processorArchitecture="amd64" language="neutral" publicKeyToken="31bf3856ad364e35"/>`

// manifest is the metadata of an item with the manifests of packages.
func manifest(inner ...string) string {
	return `<CbsPackageApplicabilityMetadata><assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">` +
		strings.Join(inner, `</assembly><assembly xmlns="urn:schemas-microsoft-com:asm.v3">`) + `</assembly></CbsPackageApplicabilityMetadata>`
}

// read decodes an item's metadata and rule.
func read(t testing.TB, metadata, rule string) (detect.Rule, error) {
	t.Helper()
	var x struct {
		Installed Rules    `xml:"IsInstalled"`
		Metadata  Metadata `xml:"Metadata"`
	}
	// The metadata stands behind the rules that need it.
	if err := xml.Unmarshal([]byte("<r><IsInstalled>"+rule+"</IsInstalled><Metadata>"+metadata+"</Metadata></r>"), &x); err != nil {
		t.Fatal(err)
	}
	return Translate(x.Installed.Nodes, x.Metadata)
}

func TestOwnPackage(t *testing.T) {
	cbs := func(name string) detect.Rule { return detect.Rule{Package: &detect.Package{Kind: "cbs", Name: name}} }
	const full = "Package_for_RollupFix~31bf3856ad364e35~amd64~~17763.9999.1.2"
	parents := `<package identifier="KB9000001" releaseType="Security Update"><parent buildCompare="EQ" disposition="detect"><assemblyIdentity name="Parent" version="10.0.17763.1" processorArchitecture="amd64" language="neutral" publicKeyToken="31bf3856ad364e35"/></parent></package>`
	for name, c := range map[string]struct {
		metadata, rule string
		want           detect.Rule
	}{
		"alone":      {manifest(rollup), `<CbsPackageInstalled/>`, cbs(full)},
		"prefixes":   {strings.ReplaceAll(manifest(rollup), "CbsPackageA", "cbs.CbsPackageA"), `<cbs.CbsPackageInstalled/>`, cbs(full)},
		"namespaces": {manifest(rollup), `<x:CbsPackageInstalled xmlns:x="http://schemas.microsoft.com/x"/>`, cbs(full)},
		"its parents are not it": {
			manifest(parents + rollup), `<Not><CbsPackageInstalled/></Not>`, detect.Rule{Not: new(cbs(full))},
		},
		"of one language": {
			manifest(strings.Replace(rollup, "neutral", "de-DE", 1)), `<CbsPackageInstalled/>`, cbs("Package_for_RollupFix~31bf3856ad364e35~amd64~de-DE~17763.9999.1.2"),
		},
		"among other metadata": {
			`<m.MsiPatchMetadata><assembly>` + rollup + `</assembly></m.MsiPatchMetadata>` + manifest(rollup), `<CbsPackageInstalled/>`, cbs(full),
		},
	} {
		got, err := read(t, c.metadata, c.rule)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestOwnPackageRefused(t *testing.T) {
	for name, c := range map[string]struct {
		metadata, rule string
		code           fault.Code
	}{
		"no metadata":         {"", `<CbsPackageInstalled/>`, fault.Invalid},
		"no name":             {manifest(""), `<CbsPackageInstalled/>`, fault.Invalid},
		"a parent's name":     {manifest(`<package><parent>` + rollup + `</parent></package>`), `<CbsPackageInstalled/>`, fault.Invalid},
		"two names":           {manifest(rollup + rollup), `<CbsPackageInstalled/>`, fault.Invalid},
		"half a name":         {manifest(strings.Replace(rollup, "publicKeyToken", "key", 1)), `<CbsPackageInstalled/>`, fault.Invalid},
		"any language":        {manifest(strings.Replace(rollup, "neutral", "*", 1)), `<CbsPackageInstalled/>`, fault.Invalid},
		"a path":              {manifest(strings.Replace(rollup, "Package_for", `..\Package_for`, 1)), `<CbsPackageInstalled/>`, fault.Invalid},
		"a second part":       {manifest(strings.Replace(rollup, "Package_for", `a~b`, 1)), `<CbsPackageInstalled/>`, fault.Invalid},
		"two packages":        {manifest(rollup, rollup), `<CbsPackageInstalled/>`, fault.Unsupported},
		"one without a name":  {manifest(rollup, ""), `<CbsPackageInstalled/>`, fault.Unsupported},
		"an attribute":        {manifest(rollup), `<CbsPackageInstalled PackageIdentity="a"/>`, fault.Unsupported},
		"an empty attribute":  {manifest(rollup), `<CbsPackageInstalled State=""/>`, fault.Unsupported},
		"a condition":         {manifest(rollup), `<CbsPackageInstalled><True/></CbsPackageInstalled>`, fault.Unsupported},
		"whether it would go": {manifest(rollup), `<CbsPackageInstallable/>`, fault.Unsupported},
	} {
		if r, err := read(t, c.metadata, c.rule); !fault.Is(err, c.code) {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
}

// listing is a machine's list of packages.
type listing struct {
	detect.Facts
	installed []string
}

func (l listing) Packages(kind, name string) ([]detect.PackageFact, error) {
	switch {
	case kind != "cbs" || l.installed == nil:
		return nil, detect.Unknown("Windows has no list of its packages")
	case strings.EqualFold(name, l.installed[0]):
		return []detect.PackageFact{{}}, nil
	}
	return nil, nil
}

// TestOwnPackageOnMachines: another version of the package is not it, and a
// machine whose list can't be read is not said to lack it.
func TestOwnPackageOnMachines(t *testing.T) {
	r, err := read(t, manifest(rollup), `<CbsPackageInstalled/>`)
	if err != nil {
		t.Fatal(err)
	}
	for want, l := range map[detect.Value]listing{
		detect.True:         {installed: []string{"package_for_rollupfix~31bf3856ad364e35~amd64~~17763.9999.1.2"}},
		detect.False:        {installed: []string{"Package_for_RollupFix~31bf3856ad364e35~amd64~~17763.9998.1.2"}},
		detect.Undetermined: {},
	} {
		if got := detect.Eval(r, l).Value; got != want {
			t.Errorf("%v: %s, want %s", l.installed, got, want)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add(manifest(rollup))
	f.Add(manifest(rollup, rollup) + `<m.MsiPatchMetadata/>`)
	f.Fuzz(func(t *testing.T, text string) {
		var x struct {
			Metadata Metadata `xml:"Metadata"`
		}
		if xml.Unmarshal([]byte("<r><Metadata>"+text+"</Metadata></r>"), &x) != nil {
			return
		}
		r, err := Translate([]Node{{XMLName: xml.Name{Local: "CbsPackageInstalled"}}}, x.Metadata)
		if err != nil {
			return
		}
		if err := r.Validate(); err != nil || strings.Count(r.Package.Name, "~") != 4 {
			t.Fatalf("%v: %+v", err, r.Package)
		}
	})
}
