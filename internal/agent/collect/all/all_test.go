//go:build unix

package all

import (
	"context"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/agent/collect/collecttest"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// TestMachine collects a whole fixture machine.
func TestMachine(t *testing.T) {
	tr := collecttest.Tree(t, map[string]string{
		"etc/os-release":      "# c\nID=debian\nVERSION_ID='12'\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian \\\"12\\\"\"\n",
		"etc/debian_version":  "12.11\n",
		"etc/hostname":        "box\n",
		"var/lib/dpkg/status": "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.21.22\n",
		"var/lib/dpkg/arch":   "amd64\ni386\n",
		"etc/apt/preferences": "Package: *\nPin: release a=stable\nPin-Priority: 990\n",

		"sys/class/dmi/id/sys_vendor": "QEMU\n", "sys/class/dmi/id/product_name": "Standard PC\n", "sys/class/dmi/id/product_serial": "s1\n",
		"sys/class/dmi/id/bios_version": "1.16\n", "sys/devices/system/cpu/online": "0-3,6\n",
		"proc/cpuinfo":       "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\nmodel name\t: Another\n",
		"proc/meminfo":       "MemTotal:        4030464 kB\nMemFree: 1 kB\n",
		"sys/block/sda/size": "2097152\n", "sys/block/sda/removable": "0\n", "sys/block/sdb/size": "100\n", "sys/block/sdb/removable": "1\n",
		"sys/block/loop0/size": "100\n", "sys/block/nvme0n1/size": "4194304\n",

		"sys/class/net/eth0/address": "02:00:00:00:00:01\n", "sys/class/net/lo/address": "00:00:00:00:00:00\n",
		"sys/class/net/veth1/address": "02:00:00:00:00:02\n", "sys/class/net/tun0/address": "00:00:00:00:00:00\n",
		"proc/net/if_inet6": "20010db8000000000000000000000001 02 40 00 80     eth0\n" + // lasting
			"20010db8000000000000000000000002 02 40 00 01     eth0\n" + // temporary
			"fe800000000000000000000000000001 02 40 20 80     eth0\n" + // link-local
			"rubbish\n",
		"proc/sys/kernel/random/boot_id": "b\n", "proc/sys/kernel/osrelease": "6.1\n",
	})
	got, problems, err := Collect(context.Background(), tr, List())
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	want := inventory.Snapshot{
		OS:       inventory.OS{Family: "linux", ID: "debian", Version: "12", Build: "12.11", Codename: "bookworm", Name: `Debian "12"`, Arch: "amd64", Hostname: "box"},
		Packages: []inventory.Package{{Kind: "dpkg", Name: "dpkg", Arch: "amd64", Version: "1.21.22"}},
		Policy:   inventory.Policy{ForeignArchs: []string{"i386"}, Pins: []inventory.Pin{{Packages: []string{"*"}, Type: "release", Value: "a=stable", Priority: 990}}},
		Hardware: inventory.Hardware{
			Vendor: "QEMU", Model: "Standard PC", Serial: "s1", Firmware: "1.16", CPU: "A CPU", Cores: 5, MemoryMiB: 3936,
			Disks: []inventory.Disk{{Name: "nvme0n1", SizeMiB: 2048}, {Name: "sda", SizeMiB: 1024}}, Virtual: "qemu",
		},
		Network: inventory.Network{Interfaces: []inventory.Interface{{Name: "eth0", MAC: "02:00:00:00:00:01", Addresses: []string{"2001:db8::1/64"}}}},
		State:   inventory.State{BootID: "b", RunningKernel: "6.1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p := got.OS.Platform(); p != "debian-12-amd64" {
		t.Errorf("platform %q", p)
	}
}

func TestWorthless(t *testing.T) {
	if _, _, err := Collect(context.Background(), collecttest.Tree(t, map[string]string{"etc/x": ""}), List()); !fault.Is(err, fault.NotFound) {
		t.Errorf("an empty machine gives %v", err)
	}
	tr := collecttest.Tree(t, map[string]string{"etc/os-release": "ID=alpine\n"})
	if _, _, err := Collect(context.Background(), tr, List()); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a machine without dpkg gives %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	whole := collecttest.Tree(t, map[string]string{
		"etc/os-release": "ID=debian\n", "var/lib/dpkg/status": "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n", "proc/1/maps": "",
	})
	if _, _, err := Collect(ctx, whole, List()); !fault.Is(err, fault.Cancelled) {
		t.Errorf("a stopped scan gives %v", err)
	}
}

// TestSteady: two scans of a machine at rest are the same, so that it sends
// nothing.
func TestSteady(t *testing.T) {
	tr, err := collect.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.Close() }() // read only
	var roots []string
	for range 3 {
		s, _, err := Collect(context.Background(), tr, List())
		if err != nil {
			t.Fatalf("this test needs a Debian machine: %v", err)
		}
		s.State.RestartsDue = nil // other tests replace programs meanwhile
		sections, err := inventory.Split(s)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, inventory.Root(sections))
	}
	if roots[0] != roots[1] || roots[1] != roots[2] {
		t.Errorf("scans differ: %v", roots)
	}
}

// TestLinks: a fixture's links do not lead out of it.
func TestLinks(t *testing.T) {
	tr := collecttest.Tree(t, map[string]string{"etc/real": "x"})
	for name, to := range map[string]string{"etc/out": "../../../../../../etc/hostname", "etc/abs": "/etc/hostname", "etc/in": "real"} {
		if err := os.Symlink(to, tr.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if tr.Line("etc/in") != "x" || tr.Line("etc/out") != "" || tr.Line("etc/abs") != "" {
		t.Errorf("in %q, out %q, abs %q", tr.Line("etc/in"), tr.Line("etc/out"), tr.Line("etc/abs"))
	}
	if _, err := tr.ReadFile("etc/real", 0); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(tr.Path("etc/long"), make([]byte, 11), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.ReadFile("etc/long", 10); !fault.Is(err, fault.Exhausted) {
		t.Errorf("a file beyond its bound gives %v", err)
	}
}
