package probe

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/wmi"
)

// thisMachine are facts of the Windows that the test runs on.
func thisMachine(t *testing.T) *Facts {
	t.Helper()
	return New(t.Context(), "/", &inventory.Snapshot{OS: inventory.OS{Family: "windows", Arch: "amd64", Build: "10.0.18362"}})
}

// TestKnownFolders compares with SHGetKnownFolderPath.
func TestKnownFolders(t *testing.T) {
	f := thisMachine(t)
	for name, id := range map[string]*windows.KNOWNFOLDERID{
		"CSIDL_WINDOWS": windows.FOLDERID_Windows, "CSIDL_SYSTEM": windows.FOLDERID_System, "CSIDL_FONTS": windows.FOLDERID_Fonts,
		"CSIDL_PROGRAM_FILES": windows.FOLDERID_ProgramFiles, "FOLDERID_ProgramFilesX64": windows.FOLDERID_ProgramFilesX64,
		"CSIDL_PROGRAM_FILESX86": windows.FOLDERID_ProgramFilesX86, "CSIDL_PROGRAM_FILES_COMMON": windows.FOLDERID_ProgramFilesCommon,
		"CSIDL_PROGRAM_FILES_COMMONX86": windows.FOLDERID_ProgramFilesCommonX86, "CSIDL_COMMON_APPDATA": windows.FOLDERID_ProgramData,
		"CSIDL_SYSTEMX86": windows.FOLDERID_SystemX86, "FOLDERID_Public": windows.FOLDERID_Public,
	} {
		want, err := windows.KnownFolderPath(id, windows.KF_FLAG_DONT_VERIFY)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, ok := f.folder(name); !ok || !strings.EqualFold(got, want) {
			t.Errorf("%s is %q, Windows says %q", name, got, want)
		}
	}
}

// TestEnvironment compares with this process's own.
func TestEnvironment(t *testing.T) {
	f := thisMachine(t)
	for _, name := range []string{"SystemRoot", "windir", "ProgramFiles", "ProgramData", "ALLUSERSPROFILE", "SystemDrive", "CommonProgramFiles", "ProgramW6432", "ProgramFiles(x86)", "PUBLIC", "ComSpec"} {
		want := os.Getenv(name)
		if want == "" {
			t.Logf("%s is not set here", name)
			continue
		}
		drive, below, err := f.windowsPath("%" + name + `%\x`)
		got := drive + filepath.FromSlash(strings.TrimSuffix(below, "/x"))
		if err != nil || !strings.EqualFold(got, strings.TrimSuffix(want, `\`)) {
			t.Errorf("%s is %q, %v, Windows says %q", name, got, err, want)
		}
	}
}

// TestVersionsAsWindows compares the version of every library of the system
// with what GetFileVersionInfo says.
func TestVersionsAsWindows(t *testing.T) {
	f := thisMachine(t)
	folder, _ := f.folder("CSIDL_SYSTEM")
	names, err := filepath.Glob(filepath.Join(folder, "*.dll"))
	if err != nil || len(names) < 100 {
		t.Fatalf("%d libraries, %v", len(names), err)
	}
	versioned := 0
	for _, name := range names {
		fact, err := f.File(`{CSIDL_SYSTEM}\` + filepath.Base(name))
		if err != nil || !fact.Exists {
			t.Errorf("%s: %+v, %v", name, fact, err)
			continue
		}
		if want := apiVersion(t, name); fact.Version != want {
			t.Errorf("%s: %q, Windows says %q", name, fact.Version, want)
		} else if want != "" {
			versioned++
		}
	}
	t.Logf("%d of %d libraries have a version", versioned, len(names))
	if versioned < 50 {
		t.Errorf("only %d libraries have a version: this proves little", versioned)
	}
}

// apiVersion asks version.dll.
func apiVersion(t *testing.T, name string) string {
	t.Helper()
	var handle windows.Handle
	size, err := windows.GetFileVersionInfoSize(name, &handle)
	if err != nil {
		return ""
	}
	buf := make([]byte, size)
	if err := windows.GetFileVersionInfo(name, 0, size, unsafe.Pointer(&buf[0])); err != nil {
		t.Fatal(name, err)
	}
	var fixed *windows.VS_FIXEDFILEINFO
	var n uint32
	if err := windows.VerQueryValue(unsafe.Pointer(&buf[0]), `\`, unsafe.Pointer(&fixed), &n); err != nil || n == 0 {
		return ""
	}
	quad := func(hi, lo uint32) string {
		return fmt.Sprintf("%d.%d.%d.%d", hi>>16, hi&0xffff, lo>>16, lo&0xffff)
	}
	return quad(fixed.FileVersionMS, fixed.FileVersionLS)
}

// TestRegistryAsWindows compares with what `reg query` prints.
func TestRegistryAsWindows(t *testing.T) {
	f := thisMachine(t)
	const key = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	out, err := exec.Command("reg", "query", key).Output()
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for line := range strings.Lines(string(out)) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), "    REG_SZ    ")
		if !ok {
			continue
		}
		got, err := f.Registry(key, "", name)
		if err != nil || !got.Exists || got.Type != "sz" || got.Data != strings.TrimSpace(rest) {
			t.Errorf("%s: %+v, %v, reg says %q", name, got, err, rest)
		}
		compared++
	}
	if compared < 3 {
		t.Errorf("only %d values compared in %q", compared, out)
	}
	for _, view := range []string{"", "64"} {
		if got, err := f.Registry(key, view, ""); err != nil || !got.Exists {
			t.Errorf("view %q: %+v, %v", view, got, err)
		}
	}
	if got, err := f.Registry(`HKLM\SOFTWARE\Fettle No Such Key`, "32", "x"); err != nil || got.Exists {
		t.Errorf("32 bits: %+v, %v", got, err)
	}
}

// TestWMIRules: the forms in which makers of hardware ask.
func TestWMIRules(t *testing.T) {
	f := thisMachine(t)
	for query, want := range map[string]detect.Value{
		"SELECT * FROM Win32_OperatingSystem":                                                                                                 detect.True,
		"select * from Win32_BaseBoard where Product LIKE '%1905%' or Product LIKE '%1906%'":                                                  detect.False,
		"select * from Win32_ComputerSystem where (Manufacturer='Hewlett-Packard' and not (Model like '%Proliant%')) or (Manufacturer='HP') ": detect.False,
		"SELECT * FROM Win32_ComputerSystem WHERE NumberOfLogicalProcessors >= 1":                                                             detect.True,
		"SELECT FROM": detect.Undetermined,
	} {
		for range 2 { // the second time from memory
			v := detect.Eval(detect.Rule{WMI: &detect.WMI{Namespace: `Root\cimv2`, Query: query}}, f)
			if v.Value != want {
				t.Errorf("%s: %+v", query, v)
			}
		}
	}
	for _, query := range []string{"SELECT FROM", "SELECT * FROM Win32_PnPEntity"} { // what WMI itself has said
		direct, err := wmi.Any(t.Context(), wmi.CIMv2, query)
		if got, errOurs := f.Query(wmi.CIMv2, query); got != direct || (err == nil) != (errOurs == nil) {
			t.Errorf("%s: %v, %v, WMI says %v, %v", query, got, errOurs, direct, err)
		}
	}
	f.spent = 2 * wmiBudget
	if _, err := f.Query(`root\cimv2`, "SELECT * FROM Win32_Process"); err == nil {
		t.Error("a machine whose WMI hangs is asked on")
	}
}

// TestFilesOfThisMachine: presence and what can't be had.
func TestFilesOfThisMachine(t *testing.T) {
	f := thisMachine(t)
	for path, want := range map[string]bool{`%windir%`: true, `{CSIDL_SYSTEM}\kernel32.dll`: true, `{CSIDL_SYSTEM}\kernel32.dll\x`: false, `{CSIDL_SYSTEM}\no such.dll`: false, `q:\x`: false} {
		if got, err := f.File(path); err != nil || got.Exists != want {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
	sum, exists, err := f.Checksum(`{CSIDL_SYSTEM}\kernel32.dll`)
	if err != nil || !exists || len(sum) != 64 {
		t.Errorf("%q, %v, %v", sum, exists, err)
	}
	if _, err := os.Stat(`q:\x`); !errors.Is(err, os.ErrNotExist) {
		t.Logf("a drive that there is not gives %v", err)
	}
}

// TestWMIAnswersAlike: what is answered from one look is what WMI itself says.
func TestWMIAnswersAlike(t *testing.T) {
	f := thisMachine(t)
	some := 0
	for _, query := range []string{
		"select * from Win32_OperatingSystem where BuildNumber >= '10000'", "select * from Win32_OperatingSystem where BuildNumber = '1'",
		"select * from Win32_OperatingSystem where Version like '10.%' and not Caption is null", "select * from Win32_OperatingSystem where Version like '[4-9].%'",
		"select * from Win32_OperatingSystem where OSType = 18", "select * from Win32_OperatingSystem where OSType < 18 or ProductType > 1", "select * from Win32_OperatingSystem where Primary = TRUE",
		"select * from Win32_ComputerSystem where NumberOfProcessors >= 1 and Manufacturer like '%'", "select * from Win32_ComputerSystem where TotalPhysicalMemory > 1",
		"select * from Win32_Processor where Architecture = 9", "select * from Win32_Processor where Architecture <> 9", "select * from Win32_Processor where (Family = 1 or Architecture > 5) and Level > 0",
		"select * from Win32_BIOS where SMBIOSBIOSVersion is not null",
		`select * from Win32_PnpEntity where DeviceID LIKE '%PCI\\VEN_8086&DEV_2822%' or DeviceID LIKE '%ROOT%'`, "select * from Win32_BaseBoard where Product LIKE '%1905%' or Product LIKE '%1906%'",
		"select * from Win32_DiskDrive where Index = 0", "select * from Win32_DiskDrive where Size > '1'", "select * from Win32_VideoController where AdapterRAM > 0",
	} {
		want, err := wmi.Any(t.Context(), wmi.CIMv2, query)
		if err != nil {
			t.Logf("%s: WMI says %v", query, err)
			continue
		}
		got, err := f.Query(wmi.CIMv2, query)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v, WMI says %v", query, got, err, want)
		}
		if got {
			some++
		}
	}
	if some < 5 {
		t.Errorf("only %d questions find anything: this proves little", some)
	}
}
