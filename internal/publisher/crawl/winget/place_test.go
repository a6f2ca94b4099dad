package winget

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestTrustRow2ForeignFile: a file elsewhere in the folder adds nothing to a
// version that another file tells of, and takes nothing of it away.
func TestTrustRow2ForeignFile(t *testing.T) {
	tool := func(url, name string) *fstest.MapFile {
		text := singleton("1.0", "1.6.0", "InstallerType: nullsoft", "Installers:", installerLines("x64", ""))
		text = strings.ReplaceAll(strings.ReplaceAll(text, "https://vendor.example", url), "PackageName: Tool", "PackageName: "+name)
		return &fstest.MapFile{Data: []byte(text)}
	}
	own, evil := tool("https://vendor.example", "Tool"), tool("https://evil.example", "Shield")
	locale := &fstest.MapFile{Data: []byte("PackageIdentifier: Maker.Tool\nPackageVersion: 1.0\nPackageLocale: en-US\nPublisher: Guard\nPackageName: Shield\nManifestType: defaultLocale\nManifestVersion: 1.6.0\n")}
	for name, c := range map[string]struct {
		files    fstest.MapFS
		rejected []string
		want     string // host of the installer
	}{
		"one":                 {fstest.MapFS{"m/Maker/Tool/1.0/Maker.Tool.yaml": own}, nil, "vendor.example"},
		"flat":                {fstest.MapFS{"Maker.Tool.yaml": own}, nil, "vendor.example"},
		"elsewhere":           {fstest.MapFS{"m/Maker/Tool/1.0/Maker.Tool.yaml": own, "e/Evil/x/1.0/Maker.Tool.yaml": evil}, []string{"e/Evil/x/1.0/Maker.Tool.yaml"}, "vendor.example"},
		"elsewhere, names":    {fstest.MapFS{"m/Maker/Tool/1.0/Maker.Tool.yaml": own, "e/Maker.Tool.locale.en-US.yaml": locale}, []string{"e/Maker.Tool.locale.en-US.yaml"}, "vendor.example"},
		"below, the same":     {fstest.MapFS{"manifests/m/Maker/Tool/1.0/Maker.Tool.yaml": own, "m/Maker/Tool/1.0/x/Maker.Tool.yaml": evil}, []string{"m/Maker/Tool/1.0/x/Maker.Tool.yaml"}, "vendor.example"},
		"neither in place":    {fstest.MapFS{"a/Maker.Tool.yaml": own, "b/Maker.Tool.yaml": evil}, []string{"a/Maker.Tool.yaml", "b/Maker.Tool.yaml"}, ""},
		"both as if in place": {fstest.MapFS{"a/m/Maker/Tool/1.0/Maker.Tool.yaml": own, "b/m/Maker/Tool/1.0/Maker.Tool.yaml": evil}, []string{"a/m/Maker/Tool/1.0/Maker.Tool.yaml", "b/m/Maker/Tool/1.0/Maker.Tool.yaml"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readFolder(t.Context(), c.files, follow{"**"})
			if err != nil {
				t.Fatal(err)
			}
			var rejected []string
			for _, r := range got.Rejected {
				rejected = append(rejected, r.What)
				if !strings.Contains(r.Reason, "it tells the same of Maker.Tool 1.0 as ") {
					t.Errorf("%+v", r)
				}
			}
			if !slices.Equal(rejected, c.rejected) {
				t.Errorf("rejected %q, want %q", rejected, c.rejected)
			}
			if (len(got.Versions) == 1) != (c.want != "") {
				t.Fatalf("%+v", got.Versions)
			}
			for _, v := range got.Versions {
				if len(v.Installers) != 1 || hostOf(v.Installers[0].URL) != c.want || v.Name != "Tool" {
					t.Errorf("%+v", v)
				}
			}
		})
	}
}
