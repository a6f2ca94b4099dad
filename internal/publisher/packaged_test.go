package publisher_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/winget/wingettest"
)

const toolPackage = "Maker.Tool_8wekyb3d8bbwe"

// packageOf is an MSIX package in a manifest, which says that it is of a family.
func packageOf(t *testing.T, v *wingettest.Vendor, name, family string) wingettest.Installer {
	t.Helper()
	path := filepath.Join(v.Dir, name+".msix")
	if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
		t.Fatal(err)
	}
	return wingettest.Installer{Arch: "x64", Type: "msix", Path: path, URL: "https://vendor.example/" + name + ".msix", Fields: []string{"PackageFamilyName: " + family}}
}

// TestPackagedBulletin: of a manifest with a program and a package each machine
// is offered the form that it has; the package's is a bulletin that says where it
// is, and nothing of it is fetched.
func TestPackagedBulletin(t *testing.T) {
	w, v := newApps(t)
	path := v.BuildProgram(t, "tool.exe", wingettest.Program{Name: "Tool", Maker: "Maker", Version: "2.0.0.0"})
	v.Sign(t, path, "Maker Inc")
	v.Publish(t, "Maker.Tool", "2.0.0.0", "Tool", "Maker", false,
		wingettest.Installer{Arch: "x64", Type: "nullsoft", Path: path, Fields: []string{"ProductCode: Tool"}}, packageOf(t, v, "tool", toolPackage))
	w.open()
	if r := w.once(); len(r.Rejected) > 0 {
		t.Errorf("rejected: %+v", r.Rejected)
	}
	p := w.patch("windows-apps-amd64", "winget:Maker.Tool:2.0.0.0:amd64:msix")
	says := []string{"nothing is installed from it: MSIX packages are not installed by Fettle yet; the vendor has it at https://vendor.example/tool.msix"}
	if diff := cmp.Diff(patch.Evidence{Verdict: patch.Unproven, Checks: says}, p.Evidence); diff != "" || p.Items[0].Payload != (patch.Payload{}) {
		t.Errorf("%+v (-want +got):\n%s", p.Items, diff)
	}
	for name, c := range map[string]struct {
		row  inventory.Package
		want []string
	}{
		"the program":             {inventory.Package{Name: "Tool", Title: "Tool", Publisher: "Maker", Version: "1.0.0.0"}, []string{"winget:Maker.Tool:2.0.0.0:amd64:nullsoft missing"}},
		"the package":             {inventory.Package{Kind: inventory.KindPackaged, Name: toolPackage, Title: "Tool", Version: "1.0.0.0"}, []string{"winget:Maker.Tool:2.0.0.0:amd64:msix missing"}},
		"one user's package":      {inventory.Package{Kind: inventory.KindPackaged, Name: toolPackage, Version: "1.0.0.0", Scope: "user:ann"}, []string{"winget:Maker.Tool:2.0.0.0:amd64:msix user_only"}},
		"the package, level":      {inventory.Package{Kind: inventory.KindPackaged, Name: toolPackage, Version: "2.0.0.0"}, nil},
		"a program of that name":  {inventory.Package{Name: toolPackage, Version: "1.0.0.0"}, nil},
		"a package of that name":  {inventory.Package{Kind: inventory.KindPackaged, Name: "Tool", Title: "Tool", Publisher: "Maker", Version: "1.0.0.0"}, nil},
		"a package of its family": {inventory.Package{Kind: inventory.KindPackaged, Name: "Maker.Tool_0000000000000", Version: "1.0.0.0"}, nil},
	} {
		if diff := cmp.Diff(c.want, w.lacks(c.row)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestTrustRow2ClaimedPackage: no manifest's word on a package family, which
// nothing proves, hides what another manifest has for it, whichever came first
// and whatever versions they name; and it does not touch programs.
func TestTrustRow2ClaimedPackage(t *testing.T) {
	w, v := newApps(t)
	w.cfg.Winget.Packages = []string{"**"}
	v.Publish(t, "Evil.First", "1.0.0.0", "First", "Evil", false, packageOf(t, v, "first", toolPackage)) // as old as what is there
	offerProgram(t, v, "Maker.App", "App", "2.0.0.0", "2.0.0.0", "Maker Inc", "ProductCode: App", "PackageFamilyName: "+toolPackage)
	w.open()
	w.once()
	v.Publish(t, "Maker.Tool", "2.0.0.0", "Tool", "Maker", false, packageOf(t, v, "tool", strings.ToUpper(toolPackage)))
	v.Publish(t, "Evil.Thing", "99.0.0.0", "Thing", "Evil", false, packageOf(t, v, "thing", toolPackage))
	offerProgram(t, v, "Evil.App", "Other", "99.0.0.0", "99.0.0.0", "Evil Inc", "PackageFamilyName: "+toolPackage)
	w.once()
	row := inventory.Package{Kind: inventory.KindPackaged, Name: toolPackage, Version: "1.0.0.0"}
	want := []string{"winget:Maker.Tool:2.0.0.0:amd64:msix missing", "winget:Evil.Thing:99.0.0.0:amd64:msix missing"}
	if diff := cmp.Diff(want, w.lacks(row)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"winget:Maker.App:2.0.0.0:amd64:nullsoft missing"}, w.lacks(inventory.Package{Name: "App", Version: "1.0"})); diff != "" {
		t.Errorf("the program (-want +got):\n%s", diff)
	}
	w.p.Close()
	w.cfg.Winget.Products = map[string]string{"appx " + toolPackage: "Maker.Tool"} // a person decides
	w.open()
	r := w.once()
	w.told(r, `Evil.Thing (whose signer is not known) claims the product "appx maker.tool_8wekyb3d8bbwe", which belongs to Maker.Tool by the configuration`)
	if diff := cmp.Diff(want[:1], w.lacks(row)); diff != "" {
		t.Errorf("by the configuration (-want +got):\n%s", diff)
	}
}
