package winapps

import (
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/inventory"
)

// TestPackageOf takes full names apart as Windows writes them.
func TestPackageOf(t *testing.T) {
	row := func(name, version, arch, title string) inventory.Package {
		return inventory.Package{Kind: "appx", Name: name, Version: version, Arch: arch, Title: title}
	}
	for full, want := range map[string]inventory.Package{
		"Microsoft.WindowsCalculator_10.1803.711.0_x64__8wekyb3d8bbwe":             row("Microsoft.WindowsCalculator_8wekyb3d8bbwe", "10.1803.711.0", "amd64", "Microsoft.WindowsCalculator"),
		"Microsoft.VCLibs.140.00_14.0.25426.0_x86__8wekyb3d8bbwe":                  row("Microsoft.VCLibs.140.00_8wekyb3d8bbwe", "14.0.25426.0", "386", "Microsoft.VCLibs.140.00"),
		"InputApp_1000.16299.251.0_neutral_neutral_cw5n1h2txyewy":                  row("InputApp_cw5n1h2txyewy", "1000.16299.251.0", "", "InputApp"),
		"Lab.Notes_1.0.0.0_ARM64__8wekyb3d8bbwe":                                   row("Lab.Notes_8wekyb3d8bbwe", "1.0.0.0", "arm64", "Lab.Notes"),
		"Microsoft.BingWeather_4.23.10923.0_neutral_split.scale-100_8wekyb3d8bbwe": {}, // resources
		"Microsoft.WindowsCalculator_2021.2210.0.0_neutral_~_8wekyb3d8bbwe":        {}, // a bundle
		"Lab.Notes_1.0.0.0_x64__8wekyb3d8bbwe_more":                                {},
		"Lab.Notes_1.0.0.0_x64_8wekyb3d8bbwe":                                      {},
		"Lab.Notes_1.0.0.0_mips__8wekyb3d8bbwe":                                    {},
		"Lab.Notes_one_x64__8wekyb3d8bbwe":                                         {},
		"Lab.Notes_1.0.0.0_x64__short":                                             {},
		"_1.0.0.0_x64__8wekyb3d8bbwe":                                              {},
		strings.Repeat("x", maxText) + "_1.0.0.0_x64__8wekyb3d8bbwe":               {},
		"": {},
	} {
		if got, ok := packageOf(full); got != want || ok != (want.Kind != "") {
			t.Errorf("%.80s: %+v", full, got)
		}
	}
}

func FuzzPackageOf(f *testing.F) {
	f.Add("Microsoft.WindowsCalculator_10.1803.711.0_x64__8wekyb3d8bbwe")
	f.Fuzz(func(t *testing.T, full string) {
		p, ok := packageOf(full)
		if ok && (p.Name == "" || p.Version == "" || len(p.Name) > maxText || strings.Count(p.Name, "_") != 1) {
			t.Fatalf("%+v", p)
		}
	})
}
