package winapps

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
)

func scan(t *testing.T) inventory.Snapshot {
	t.Helper()
	tree, err := collect.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }() // read only
	s := inventory.Snapshot{OS: inventory.OS{Arch: "amd64"}}
	if err := Collector().Collect(t.Context(), tree, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func msiexec(t *testing.T, args ...string) {
	t.Helper()
	// Without a pipe: the Windows Installer's service would keep it open.
	if err := exec.Command("msiexec", append(args, "/qn", "/norestart")...).Run(); err != nil {
		t.Fatalf("msiexec %q: %v", args, err)
	}
}

// TestAsWindowsInstaller installs a product for all and one for this user, and
// compares the inventory with what msi.dll says.
func TestAsWindowsInstaller(t *testing.T) {
	const machine, user, family = "{11112222-3333-4444-5555-666677778888}", "{99992222-3333-4444-5555-666677778888}", "{7B8A5B1E-9E3A-4B0B-9B5C-00000000F177}"
	for file, code := range map[string]string{"machine.msi": machine, "user.msi": user} {
		full, err := filepath.Abs(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		msiexec(t, "/i", full)
		t.Cleanup(func() {
			msiexec(t, "/x", code)
			if s := scan(t); len(s.Find("arp", code)) > 0 {
				t.Errorf("%s is gone and listed", code)
			}
		})
	}
	s := scan(t)
	for code, scope := range map[string]string{machine: "", user: "user:" + os.Getenv("USERNAME")} {
		found := s.Find("arp", code)
		if len(found) != 1 {
			t.Fatalf("%s is listed as %+v", code, found)
		}
		want := inventory.Package{
			Kind: "arp", Name: code, Arch: "amd64", Version: property(t, code, "VersionString"), Title: property(t, code, "InstalledProductName"),
			Publisher: property(t, code, "Publisher"), UpgradeCode: family, Scope: scope,
		}
		if diff := cmp.Diff(want, found[0]); diff != "" {
			t.Errorf("%s (-Windows +ours):\n%s", code, diff)
		}
	}
	if related := enumerate(t, "MsiEnumRelatedProductsW", family); !slices.Equal(related, []string{machine, user}) {
		t.Errorf("Windows says that %s has %q", family, related)
	}
	var ours []string
	for _, p := range s.Packages {
		if p.Kind == "arp" && isGUID(p.Name) && !slices.Contains(ours, p.Name) {
			ours = append(ours, p.Name)
		}
	}
	if diff := cmp.Diff(enumerate(t, "MsiEnumProductsW", ""), ours); diff != "" {
		t.Errorf("products (-Windows +ours):\n%s", diff)
	}
}

// property asks MsiGetProductInfo.
func property(t *testing.T, code, name string) string {
	t.Helper()
	buf := make([]uint16, 512)
	n := uint32(len(buf))
	rc, _, _ := windows.NewLazySystemDLL("msi.dll").NewProc("MsiGetProductInfoW").Call(uintptr(unsafe.Pointer(wide(t, code))),
		uintptr(unsafe.Pointer(wide(t, name))), uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&n)))
	if rc != 0 {
		t.Fatalf("%s of %s: error %d", name, code, rc)
	}
	return windows.UTF16ToString(buf)
}

// enumerate lists product codes in order, of a family when one is named.
func enumerate(t *testing.T, call, family string) (codes []string) {
	t.Helper()
	proc := windows.NewLazySystemDLL("msi.dll").NewProc(call)
	buf := make([]uint16, 39)
	for i := range 10_000 {
		var rc uintptr
		if family == "" {
			rc, _, _ = proc.Call(uintptr(i), uintptr(unsafe.Pointer(&buf[0])))
		} else {
			rc, _, _ = proc.Call(uintptr(unsafe.Pointer(wide(t, family))), 0, uintptr(i), uintptr(unsafe.Pointer(&buf[0])))
		}
		if errors.Is(syscall.Errno(rc), windows.ERROR_NO_MORE_ITEMS) {
			break
		}
		if rc != 0 {
			t.Fatalf("%s: error %d", call, rc)
		}
		codes = append(codes, windows.UTF16ToString(buf))
	}
	slices.Sort(codes)
	return codes
}

func wide(t *testing.T, s string) *uint16 {
	t.Helper()
	p, err := windows.UTF16PtrFromString(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
