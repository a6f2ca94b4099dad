//go:build unix

package all

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

const appxSuffix = "_8wekyb3d8bbwe"

// appxKeys writes keys of packages below a key, in the form of regedit, each
// with a value.
func appxKeys(key, value string, names ...string) string {
	var b strings.Builder
	for _, n := range names {
		text := strings.ReplaceAll(fmt.Sprintf(value, n), `\`, `\\`)
		name, text, _ := strings.Cut(text, "=")
		fmt.Fprintf(&b, "[%s\\%s]\n%q=\"%s\"\n\n", key, n, name, text)
	}
	return b.String()
}

// TestPackagedApps: AppX and MSIX packages of everybody and of single users,
// one of whom is not signed in.
func TestPackagedApps(t *testing.T) {
	const (
		machine = `HKEY_LOCAL_MACHINE\SOFTWARE\Classes\Local Settings\Software\Microsoft\Windows\CurrentVersion\AppModel\PackageRepository\Packages`
		store   = `HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Appx\AppxAllUserStore\Applications`
		user    = `\Local Settings\Software\Microsoft\Windows\CurrentVersion\AppModel\Repository\Packages`
		ann     = `HKEY_USERS\S-1-5-21-1-2-3-1001`
	)
	text := "Windows Registry Editor Version 5.00\n\n" +
		appxKeys(machine, `Path=C:\Program Files\WindowsApps\%s`,
			"Lab.Notes_1.0.0.0_x64_"+appxSuffix, "Lab.Notes_2.0.0.0_x64_"+appxSuffix, "Lab.Notes_2.0.0.0_neutral_split.scale-100"+appxSuffix,
			"Lab.Notes_2000.0.0.0_neutral_~"+appxSuffix, "Lab.Draw_1.5.0.0_neutral_"+appxSuffix, "Lab.Runtime_14.0.1.0_x86_"+appxSuffix,
			"Lab.Runtime_14.0.2.0_x86_"+appxSuffix, "Lab.Runtime_14.0.2.0_x64_"+appxSuffix, "Lab.Staged_1.0.0.0_x64_"+appxSuffix, "Lab.New_3.0.0.0_x64_"+appxSuffix,
			"Lab.Odd_x_x64_"+appxSuffix, "rubbish") +
		appxKeys(machine, `Path=C:\WINDOWS\SystemApps\%s`, "Lab.Shell_10.0.1.0_neutral_neutral_cw5n1h2txyewy") +
		appxKeys(store, `Path=%s`, "Lab.Notes_2000.0.0.0_neutral_~"+appxSuffix, "LAB.new_3.0.0.0_x64_"+appxSuffix) +
		appxKeys(ann+"_Classes"+user, `DisplayName=Called %s`, "Lab.Notes_1.0.0.0_x64_"+appxSuffix, "lab.runtime_14.0.1.0_x86_"+appxSuffix,
			"Lab.Runtime_14.0.2.0_x86_"+appxSuffix, "Lab.Runtime_14.0.2.0_x64_"+appxSuffix, "Lab.Shell_10.0.1.0_neutral_neutral_cw5n1h2txyewy", "Lab.Gone_1.0.0.0_x64_"+appxSuffix)
	reg := exported(t, fixture(t, "windows.reg"), text)
	s, problems, err := Collect(t.Context(), image(t, reg, map[string]string{
		"Users/ben/AppData/Local/Microsoft/Windows/UsrClass.dat":   fixture(t, "UsrClass.dat"),
		"Users/Carol/AppData/Local/Microsoft/Windows/UsrClass.dat": "no hive",
	}), Windows())
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || !strings.Contains(fault.Public(problems[0]), "packages of apps of S-1-5-21-9-9-9-1003 are not known: the file is no registry hive") {
		t.Errorf("problems %v", problems)
	}
	row := func(name, arch, version, title, scope string) inventory.Package {
		return inventory.Package{Kind: "appx", Name: name + appxSuffix, Arch: arch, Version: version, Title: title, Scope: scope}
	}
	want := []inventory.Package{
		row("Lab.Draw", "", "1.5.0.0", "Lab.Draw", "user:ben"),
		row("Lab.New", "amd64", "3.0.0.0", "Lab.New", ""),
		row("Lab.Notes", "amd64", "1.0.0.0", "Called Lab.Notes_1.0.0.0_x64_"+appxSuffix, "user:ann"), // ben's is everybody's
		row("Lab.Notes", "amd64", "2.0.0.0", "Lab.Notes", ""),
		row("Lab.Runtime", "386", "14.0.2.0", "Called Lab.Runtime_14.0.2.0_x86_"+appxSuffix, "user:ann"),
		row("Lab.Runtime", "amd64", "14.0.2.0", "Called Lab.Runtime_14.0.2.0_x64_"+appxSuffix, "user:ann"),
	}
	var got []inventory.Package
	for _, p := range s.Packages {
		if p.Kind == inventory.KindPackaged {
			got = append(got, p)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if found := s.Find("appx", "LAB.NOTES"+appxSuffix); len(found) != 2 {
		t.Errorf("found %v", found)
	}
	facts, err := s.Facts().Packages("appx", "lab.notes"+appxSuffix)
	if err != nil || len(facts) != 1 || facts[0].Version != "2.0.0.0" || facts[0].Arch != "amd64" {
		t.Errorf("rules see %v, %v", facts, err)
	}
	for _, c := range Basics() {
		if c.Name == "appx" {
			t.Error("what updates itself is part of what an installation is judged by")
		}
	}
}
