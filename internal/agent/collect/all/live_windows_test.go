package all

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/winreg"
	"github.com/fettlehq/fettle/internal/wmi"
)

// scan collects the Windows that the test runs on.
func scan(t *testing.T) inventory.Snapshot {
	t.Helper()
	tree, err := collect.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }() // read only
	s, problems, err := Collect(context.Background(), tree, List())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	return s
}

// ask returns one property of each row.
func ask(t *testing.T, class, property string) (out []string) {
	t.Helper()
	rows, err := wmi.Query(t.Context(), wmi.CIMv2, "SELECT "+property+" FROM "+class, property)
	if err != nil {
		t.Fatal(class, err)
	}
	for _, r := range rows {
		out = append(out, r[property])
	}
	return out
}

// TestAsWMI compares with what Windows' management says of the same machine.
func TestAsWMI(t *testing.T) {
	s := scan(t)
	if build := ask(t, "Win32_OperatingSystem", "BuildNumber"); len(build) != 1 || !strings.HasPrefix(s.OS.Build+".", "10.0."+build[0]+".") {
		t.Errorf("build %s, WMI says %v", s.OS.Build, build)
	}
	if s.OS.Family != "windows" || s.OS.Arch != "amd64" || s.OS.ID == "windows" {
		t.Errorf("%+v", s.OS)
	}
	out, err := exec.Command("hostname").Output()
	if err != nil || !strings.EqualFold(strings.TrimSpace(string(out)), s.OS.Hostname) {
		t.Errorf("hostname %q, Windows says %q, %v", s.OS.Hostname, out, err)
	}
	cpu := ask(t, "Win32_Processor", "Name")
	if len(cpu) == 0 || strings.TrimSpace(cpu[0]) != s.Hardware.CPU {
		t.Errorf("processor %q, WMI says %q", s.Hardware.CPU, cpu)
	}
	if cores := ask(t, "Win32_ComputerSystem", "NumberOfLogicalProcessors"); cores[0] != strconv.Itoa(s.Hardware.Cores) {
		t.Errorf("%d processors, WMI says %v", s.Hardware.Cores, cores)
	}
	bytes, err := strconv.ParseInt(ask(t, "Win32_ComputerSystem", "TotalPhysicalMemory")[0], 10, 64)
	if err != nil || bytes>>20 != s.Hardware.MemoryMiB {
		t.Errorf("%d MiB of memory, WMI says %d, %v", s.Hardware.MemoryMiB, bytes>>20, err)
	}
	var services []string
	for _, one := range s.State.Services {
		services = append(services, one.Name)
		if one.Title == "" {
			t.Errorf("the service %s has no title", one.Name)
		}
	}
	want := slices.DeleteFunc(ask(t, "Win32_Service", "Name"), driver)
	slices.Sort(want)
	if diff := cmp.Diff(want, services); diff != "" {
		t.Errorf("services (-WMI +ours):\n%s", diff)
	}
	for _, kb := range ask(t, "Win32_QuickFixEngineering", "HotFixID") {
		if len(s.Find("kb", kb)) != 1 {
			t.Errorf("%s is not listed", kb)
		}
	}
}

// driver reports whether a service is a driver, which Wine's WMI lists too.
func driver(name string) bool {
	const key = `HKLM\SYSTEM\CurrentControlSet\Services\`
	n, err := strconv.Atoi(winreg.TextAt(winreg.Live(), key+name, "Type"))
	return err != nil || n&0x30 == 0
}

// TestAddresses compares with package net, which knows no temporary ones.
func TestAddresses(t *testing.T) {
	ours := map[string]bool{}
	for _, i := range scan(t).Network.Interfaces {
		for _, a := range i.Addresses {
			ours[a] = true
		}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n := a.(*net.IPNet); !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			if !ours[n.String()] {
				t.Errorf("%s is lacking", n)
			}
			delete(ours, n.String())
		}
	}
	if len(ours) > 0 {
		t.Errorf("nobody else knows %v", ours)
	}
}

// TestSteadyWindows: two scans of a machine at rest are the same, and each
// knows the boot.
func TestSteadyWindows(t *testing.T) {
	a, b := scan(t), scan(t)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("two scans differ:\n%s", diff)
	}
	if a.State.BootID == "" || a.State.BootTime.IsZero() {
		t.Errorf("%+v", a.State)
	}
}

// reg runs Windows' own program.
func reg(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("reg", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("reg %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestProducts: products that Windows' own program enters and removes come and
// go with their scope, and a boot's marks count.
func TestProducts(t *testing.T) {
	const uninstall = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`
	const code, family = "{7B8A5B1E-9E3A-4B0B-9B5C-0A1B2C3D4E60}", `HKLM\SOFTWARE\Classes\Installer\UpgradeCodes\E1B5A8B7A3E9B0B4B9C5A0B1C2D3E416`
	machine, user := `HKLM\`+uninstall+`\`+code, `HKCU\`+uninstall+`\Fettle Lab`
	t.Cleanup(func() {
		for _, key := range []string{machine, user, family} {
			reg(t, "delete", key, "/f")
		}
		if s := scan(t); len(s.Find("arp", code)) > 0 {
			t.Error("a product that is gone is listed")
		}
	})
	reg(t, "add", machine, "/v", "DisplayName", "/d", "Lab", "/f")
	reg(t, "add", machine, "/v", "DisplayVersion", "/d", "1.2.3", "/f")
	reg(t, "add", machine, "/v", "WindowsInstaller", "/t", "REG_DWORD", "/d", "1", "/f")
	reg(t, "add", family, "/v", "E1B5A8B7A3E9B0B4B9C5A0B1C2D3E406", "/d", "", "/f")
	reg(t, "add", user, "/v", "DisplayName", "/d", "Fettle Lab", "/f")
	reg(t, "add", user, "/v", "DisplayVersion", "/d", "7", "/f")
	s := scan(t)
	want := []inventory.Package{{Kind: "arp", Name: code, Arch: "amd64", Version: "1.2.3", Title: "Lab", UpgradeCode: "{7B8A5B1E-9E3A-4B0B-9B5C-0A1B2C3D4E61}"}}
	if diff := cmp.Diff(want, s.Find("arp", code)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = []inventory.Package{{Kind: "arp", Name: "Fettle Lab", Version: "7", Title: "Fettle Lab", Scope: "user:" + os.Getenv("USERNAME")}}
	if diff := cmp.Diff(want, s.Find("arp", "Fettle Lab")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPackagedAppsOfMachine: a package that everybody gets comes and goes.
func TestPackagedAppsOfMachine(t *testing.T) {
	const full, family = "Fettle.Lab_1.2.3.4_x64__8wekyb3d8bbwe", "Fettle.Lab_8wekyb3d8bbwe"
	const there = `HKLM\SOFTWARE\Classes\Local Settings\Software\Microsoft\Windows\CurrentVersion\AppModel\PackageRepository\Packages\` + full
	const everybody = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Appx\AppxAllUserStore\Applications\` + full
	t.Cleanup(func() {
		reg(t, "delete", there, "/f")
		reg(t, "delete", everybody, "/f")
		if s := scan(t); len(s.Find("appx", family)) > 0 {
			t.Error("a package that is gone is listed")
		}
	})
	reg(t, "add", there, "/v", "Path", "/d", `C:\Program Files\WindowsApps\`+full, "/f")
	if s := scan(t); len(s.Find("appx", family)) > 0 {
		t.Error("a package that nobody has is listed")
	}
	reg(t, "add", everybody, "/v", "Path", "/d", "x", "/f")
	want := []inventory.Package{{Kind: "appx", Name: family, Arch: "amd64", Version: "1.2.3.4", Title: "Fettle.Lab"}}
	s := scan(t)
	if diff := cmp.Diff(want, s.Find("appx", family)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAppsOfUserWhoIsAway: the classes of a user who is not signed in are read
// from their hive, below his folder.
func TestAppsOfUserWhoIsAway(t *testing.T) {
	const folder, family = `C:\Fettle Gone`, "Lab.Draw_8wekyb3d8bbwe"
	const profile = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList\S-1-5-21-7-7-7-1002`
	const there = `HKLM\SOFTWARE\Classes\Local Settings\Software\Microsoft\Windows\CurrentVersion\AppModel\PackageRepository\Packages\Lab.Draw_1.5.0.0_neutral__8wekyb3d8bbwe`
	hive, err := os.ReadFile(`testdata\UsrClass.dat`)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder+`\AppData\Local\Microsoft\Windows`, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder+`\AppData\Local\Microsoft\Windows\UsrClass.dat`, hive, 0o600); err != nil {
		t.Fatal(err)
	}
	reg(t, "add", profile, "/v", "ProfileImagePath", "/d", folder, "/f")
	reg(t, "add", there, "/v", "Path", "/d", `C:\Program Files\WindowsApps\Lab.Draw`, "/f")
	t.Cleanup(func() {
		reg(t, "delete", profile, "/f")
		reg(t, "delete", there, "/f")
		// One by one: Wine 8 can't do what os.RemoveAll asks for.
		for path := folder + `\AppData\Local\Microsoft\Windows\UsrClass.dat`; len(path) >= len(folder); path = filepath.Dir(path) {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
	})
	want := []inventory.Package{{Kind: "appx", Name: family, Version: "1.5.0.0", Title: "Lab.Draw", Scope: "user:Fettle Gone"}}
	s := scan(t)
	if diff := cmp.Diff(want, s.Find("appx", family)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestUserWhoIsAway: the hive of a user who is not signed in is read as it
// lies there; one that another program keeps to itself is a problem and no end.
func TestUserWhoIsAway(t *testing.T) {
	const folder = `C:\Fettle Away`
	const profile = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList\S-1-5-21-7-7-7-1001`
	hive, err := os.ReadFile(`testdata\NTUSER.DAT`)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	file := folder + `\NTUSER.DAT`
	if err := os.WriteFile(file, hive, 0o600); err != nil {
		t.Fatal(err)
	}
	reg(t, "add", profile, "/v", "ProfileImagePath", "/t", "REG_EXPAND_SZ", "/d", `%SystemDrive%\Fettle Away`, "/f")
	t.Cleanup(func() {
		reg(t, "delete", profile, "/f")
		if err := errors.Join(os.Remove(file), os.Remove(folder)); err != nil {
			t.Error(err)
		}
	})
	s := scan(t)
	want := []inventory.Package{{Kind: "arp", Name: "Browser", Version: "98.1", Title: "Browser for Ben", Publisher: "Browser Ltd", Scope: "user:Fettle Away"}}
	if diff := cmp.Diff(want, s.Find("arp", "Browser")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wide, err := windows.UTF16PtrFromString(file)
	if err != nil {
		t.Fatal(err)
	}
	h, err := windows.CreateFile(wide, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(h)
	tree, err := collect.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }() // read only
	s, problems, err := Collect(t.Context(), tree, List())
	part, _ := errors.AsType[*collect.Partial](errors.Join(problems...))
	if err != nil || part == nil || len(part.Problems) != 1 || !strings.Contains(fault.Public(part.Problems[0]), "the products of Fettle Away alone are not known") {
		t.Errorf("%v, %v", problems, err)
	}
	if len(s.Find("arp", "Browser")) > 0 || s.OS.ID == "" {
		t.Error("a hive that is kept is read, or nothing else is")
	}
}

// TestUninstallAsWindows: what `reg query` shows with a name is what is listed.
func TestUninstallAsWindows(t *testing.T) {
	s := scan(t)
	out := reg(t, "query", `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`, "/s")
	named := 0
	for line := range strings.Lines(out) {
		_, title, ok := strings.Cut(strings.TrimSpace(line), "DisplayName    REG_SZ    ")
		if !ok {
			continue
		}
		named++
		if !slices.ContainsFunc(s.Packages, func(p inventory.Package) bool { return p.Kind == "arp" && p.Title == strings.TrimSpace(title) }) {
			t.Errorf("%s is not listed", title)
		}
	}
	t.Logf("%d products", named)
}

// TestPendingRename: a file that Windows is told to replace at its next start
// makes a reboot due.
func TestPendingRename(t *testing.T) {
	const manager = `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager`
	before := scan(t).State
	reg(t, "add", manager, "/v", "PendingFileRenameOperations2", "/t", "REG_MULTI_SZ", "/d", `\??\C:\fettle.new\0!\??\C:\fettle.dll`, "/f")
	t.Cleanup(func() { reg(t, "delete", manager, "/v", "PendingFileRenameOperations2", "/f") })
	after := scan(t).State
	if !after.RebootDue || slices.Equal(before.RebootReasons, after.RebootReasons) || !slices.ContainsFunc(after.RebootReasons, func(r string) bool { return strings.Contains(r, "at the next start") }) {
		t.Errorf("before %q, after %q", before.RebootReasons, after.RebootReasons)
	}
}
