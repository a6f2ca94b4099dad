package endpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/test/lab"
	"github.com/fettlehq/fettle/test/lab/wine"
)

// takeStock is what `fettle-agent inventory` says of a Windows machine.
func takeStock(t *testing.T, h *wine.Host) inventory.Snapshot {
	t.Helper()
	out, err := h.Run(t.Context(), `C:\agent\fettle-agent.exe`, "inventory")
	if err != nil {
		t.Fatal(err)
	}
	var s inventory.Snapshot
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return s
}

// TestWindowsInventory follows a Windows machine through an installation and
// a restart.
func TestWindowsInventory(t *testing.T) {
	t.Parallel()
	if _, err := buildPackages(); err != nil {
		t.Fatal(err)
	}
	fleet, err := lab.NewFleet(t.Context(), "", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Close(); err != nil {
			t.Error(err)
		}
	})
	h, err := wine.Start(t.Context(), fleet, "stock", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(argv ...string) {
		t.Helper()
		_, err := h.Run(t.Context(), argv...)
		must(err)
	}
	must(h.CopyIn(filepath.Join(builtDir, "fettle-agent.exe"), `C:\agent\fettle-agent.exe`))

	first := takeStock(t, h)
	want := inventory.OS{Family: "windows", ID: "windows-10", Version: "1903", Build: "10.0.18362", Name: first.OS.Name, Arch: "amd64", Hostname: first.OS.Hostname}
	if diff := cmp.Diff(want, first.OS); diff != "" || !strings.EqualFold(first.OS.Hostname, "stock") || first.OS.Name == "" {
		t.Errorf("%+v", first.OS)
	}
	address := func(i inventory.Interface) bool {
		return slices.ContainsFunc(i.Addresses, func(a string) bool { return strings.HasPrefix(a, h.Addr+"/") })
	}
	if !slices.ContainsFunc(first.Network.Interfaces, address) {
		t.Errorf("%s is not among %+v", h.Addr, first.Network)
	}
	if first.State.BootID == "" || first.State.RebootDue {
		t.Errorf("before anything happened: %+v", first.State)
	}

	t.Log("a product, a user who is away, and a file that the next start replaces")
	const winapps = "../../internal/agent/collect/winapps/testdata/"
	must(h.CopyIn(winapps+"machine.msi", `C:\lab\machine.msi`))
	run("msiexec", "/i", `C:\lab\machine.msi`, "/qn", "/norestart")
	must(h.CopyIn("../../internal/winreg/testdata/user.hive", `C:\users\ben\NTUSER.DAT`))
	const profiles = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList`
	run("reg", "add", profiles+`\S-1-5-21-1-2-3-1002`, "/v", "ProfileImagePath", "/t", "REG_EXPAND_SZ", "/d", `C:\users\ben`, "/f")
	must(h.WriteFile(`C:\lab\new.txt`, []byte("new")))
	const manager = `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager`
	run("reg", "add", manager, "/v", "PendingFileRenameOperations", "/t", "REG_MULTI_SZ", "/d", `\??\C:\lab\new.txt\0!\??\C:\lab\file.txt`, "/f")

	second := takeStock(t, h)
	const code = "{11112222-3333-4444-5555-666677778888}"
	installed := []inventory.Package{{Kind: "arp", Name: code, Arch: "amd64", Version: "1.2.3", Title: "Fettle Lab", Publisher: "Fettle Lab Ltd", UpgradeCode: "{7B8A5B1E-9E3A-4B0B-9B5C-00000000F177}"}}
	if diff := cmp.Diff(installed, second.Find("arp", code)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	browser := []inventory.Package{{Kind: "arp", Name: "Browser", Version: "98.1", Title: "Browser for Ben", Publisher: "Browser Ltd", Scope: "user:ben"}}
	if diff := cmp.Diff(browser, second.Find("arp", "Browser")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if st := second.State; st.BootID != first.State.BootID || !st.RebootDue || len(st.RebootReasons) != 1 || !strings.Contains(st.RebootReasons[0], `C:\lab\new.txt`) {
		t.Errorf("%+v", st)
	}

	t.Log("after a restart")
	must(h.Reboot(t.Context()))
	third := takeStock(t, h)
	if st := third.State; st.BootID == "" || st.BootID == first.State.BootID || st.RebootDue {
		t.Errorf("the boot was %s: %+v", first.State.BootID, st)
	}
	if text, err := h.ReadFile(`C:\lab\file.txt`); err != nil || string(text) != "new" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if diff := cmp.Diff(second.Packages, third.Packages); diff != "" {
		t.Errorf("packages (-before +after the restart):\n%s", diff)
	}

	t.Log("once more, for the time it takes")
	start := time.Now()
	takeStock(t, h)
	info, err := os.Stat(filepath.Join(builtDir, "fettle-agent.exe"))
	must(err)
	t.Logf("%v with Wine's start; the agent has %d kB", time.Since(start), info.Size()>>10)
}
