package recorded_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory/recorded"
)

const text = "\r\nHost Name:                 WINXPSP2\r\nOS Name:                   Microsoft Windows XP Professional\r\n" +
	"OS Version:                5.1.2600 Service Pack 2 Build 2600\r\nSystem type:               X86-based PC\r\nHotfix(s):  2 Installed.\r\n [01]: KB900001\r\n [02]: KB900001\r\n [03]: KB0800002\r\n"

func TestSysteminfo(t *testing.T) {
	s, err := recorded.Systeminfo([]byte(text))
	if err != nil || s.OS.Platform() != "windows-xp-386" || s.OS.ServicePack != "2" || s.OS.Hostname != "WINXPSP2" || s.OS.Edition != "Professional" || len(s.Packages) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	fact, err := s.Facts().Registry(`HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "", "CSDVersion")
	if err != nil || fact.Data != "Service Pack 2" {
		t.Errorf("%+v, %v", fact, err)
	}
	for name, c := range map[string]struct{ from, to, platform, pack string }{
		"no service pack": {"Service Pack 2 ", "", "windows-xp-386", "0"},
		"64 bits":         {"X86-based", "x64-based", "windows-xp-amd64", "2"},
		"a server":        {"Microsoft Windows XP Professional\r\nOS Version:                5.1.2600", "Microsoft\u00ae Windows Server\u00ae 2008 Standard\r\nOS Version:  6.0.6001", "windows-server-2008-386", "2"},
		"another":         {"XP Professional\r\nOS Version:                5.1.2600 Service Pack 2", "10 Entreprise LTSC\r\nVersion:  10.0.17763 N/A", "windows-10-1809-386", "0"},
	} {
		s, err := recorded.Systeminfo([]byte(strings.Replace(text, c.from, c.to, 1)))
		if err != nil || s.OS.Platform() != c.platform || s.OS.ServicePack != c.pack {
			t.Errorf("%s: %+v, %v", name, s.OS, err)
		}
	}
	for _, bad := range []string{"", "<html>", "a: 10.0.99999 N/A"} {
		if _, err := recorded.Systeminfo([]byte(bad)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestReal reads all recorded files of the samples, each as what it is.
func TestReal(t *testing.T) {
	dir := "../../../../shared/feeds/microsoft/inventory-samples"
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Skip("the vendors' real feeds are not here")
	}
	machines, tables, listings, empty := 0, 0, 0, 0
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		switch {
		case strings.Contains(name, "systeminfo"):
			machines++
			s, err := recorded.Systeminfo(raw)
			if err != nil || s.OS.Name == "" {
				t.Errorf("%s: %+v, %v", name, s.OS, err)
			}
			if server := strings.HasPrefix(name, "srv_"); server != (s.OS.ID == "windows-server") {
				t.Errorf("%s: %+v", name, s.OS)
			}
		case strings.Contains(name, "_qfe"):
			tables++
			kbs, err := recorded.Hotfixes(raw)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if len(kbs) == 0 {
				empty++
			}
		default:
			listings++
			if all, err := recorded.Offered(raw); err != nil || all[0].Title == "" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	t.Log(machines, tables, listings, empty)
	if machines != 45 || tables != 15 || listings != 5 {
		t.Errorf("%d machines, %d tables, %d listings", machines, tables, listings)
	}
}

// TestRegistry: what follows from the inventory is answered, nothing else.
func TestRegistry(t *testing.T) {
	s, err := recorded.Systeminfo([]byte("Host: a\nOS Name: Microsoft Windows 10 Pro\nVersion: 10.0.17134 N/A Build 17134\n"))
	if err != nil {
		t.Fatal(err)
	}
	const current = `hklm\Software\Microsoft\Windows NT\CurrentVersion`
	ask := func(key, name string) string {
		f, err := s.Facts().Registry(key, "", name)
		switch {
		case err != nil:
			return "unknown"
		case !f.Exists:
			return "absent"
		}
		return f.Type + " " + f.Data
	}
	check := func(key, name, want string) {
		t.Helper()
		if got := ask(key, name); got != want {
			t.Errorf("%s %s: %s, want %s", key, name, got, want)
		}
	}
	check(current, "ReleaseId", "sz 1803")
	check(current, "csdversion", "absent")
	check(current, "CurrentBuildNumber", "sz 17134")
	check(current, "UBR", "unknown")
	check(current, "EditionID", "sz Professional")
	check(current, "ProductName", "unknown")
	check(`HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions`, "ProductType", "sz WinNT")
	check(`HKLM\SOFTWARE\A`, "ReleaseId", "unknown")
	s.OS.Version, s.OS.Build, s.OS.ServicePack = "22h2", "10.0.19045.55", ""
	check(current, "ReleaseId", "sz 2009")
	check(current, "UBR", "dword 55")
	check(current, "CSDVersion", "unknown")
	s.OS.Version = "1507"
	check(current, "ReleaseId", "absent")
	s.OS.ID, s.OS.Version, s.OS.Build = "windows-server", "2019", "10.0.17763"
	check(current, "ReleaseId", "unknown")
	check(`HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions`, "ProductType", "unknown")
	s.OS.Family = "linux"
	check(current, "CurrentBuild", "unknown")
	var _ detect.Facts = s.Facts()
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte(text))
	f.Add([]byte("\xff\xfeK\x00B\x00"))
	f.Add([]byte("HotFixID\nKB900001"))
	f.Add([]byte("KB4100347: 2018-10 Update (KB4100347)"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := recorded.Systeminfo(raw); err == nil && (s.OS.ID == "" || s.OS.ServicePack == "") {
			t.Fatalf("%+v", s.OS)
		}
		if all, err := recorded.Offered(raw); err == nil && len(all) == 0 {
			t.Fatal("no update and no error")
		}
		_, _ = recorded.Hotfixes(raw) // must not panic
	})
}
