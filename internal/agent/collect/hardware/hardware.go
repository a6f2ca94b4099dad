// Package hardware reads what the machine is made of, on Linux from sysfs and
// procfs, on Windows from the registry and the firmware's tables, and whether
// it is a virtual machine or a container.
package hardware

import (
	"context"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Collector fills inventory.Hardware. Parts that a machine does not show
// (containers, boards without DMI) stay empty.
func Collector() collect.Collector {
	return collect.Collector{Name: "hardware", Collect: gather}
}

const (
	dmi        = "sys/class/dmi/id/"
	sectorSize = 512 // the unit of /sys/block/*/size whatever the disk's own
)

func gather(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	h := &s.Hardware
	h.Vendor, h.Model = t.Line(dmi+"sys_vendor"), t.Line(dmi+"product_name")
	h.Serial, h.Firmware = t.Line(dmi+"product_serial"), t.Line(dmi+"bios_version")
	if h.Model == "" {
		h.Model = strings.TrimRight(t.Line("proc/device-tree/model"), "\x00")
	}
	name, hypervisor := cpu(t)
	h.CPU = name
	h.Cores = cores(t.Line("sys/devices/system/cpu/online"))
	h.MemoryMiB = memory(t)
	h.Virtual = virtual(t, h.Vendor, h.Model, hypervisor)
	var err error
	h.Disks, err = disks(t)
	return err
}

// cpu reads the first processor's entry alone: the file grows with each core
// and costs the kernel time.
func cpu(t *collect.Tree) (model string, hypervisor bool) {
	data, err := t.Head("proc/cpuinfo", 4096)
	if err != nil {
		return "", false
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "model name", "Model":
			if model == "" {
				model = value
			}
		case "flags":
			hypervisor = hypervisor || strings.Contains(" "+value+" ", " hypervisor ")
		}
	}
	return model, hypervisor
}

// cores counts a list such as "0-3,8".
func cores(list string) int {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		lo, hi, both := strings.Cut(part, "-")
		a, err := strconv.Atoi(lo)
		if err != nil {
			continue
		}
		b := a
		if both {
			if b, err = strconv.Atoi(hi); err != nil {
				continue
			}
		}
		n += max(b-a+1, 0)
	}
	return n
}

func memory(t *collect.Tree) int64 {
	fields := strings.Fields(t.Line("proc/meminfo")) // MemTotal is the first line
	if len(fields) < 2 || fields[0] != "MemTotal:" {
		return 0
	}
	kib, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return kib / 1024
}

func disks(t *collect.Tree) ([]inventory.Disk, error) {
	names, err := t.Names("sys/block")
	if err != nil {
		return nil, err
	}
	var out []inventory.Disk
	for _, n := range names {
		if !fixed(n) || t.Line("sys/block/"+n+"/removable") == "1" {
			continue
		}
		sectors, err := strconv.ParseInt(t.Line("sys/block/"+n+"/size"), 10, 64)
		if err != nil || sectors <= 0 {
			continue
		}
		out = append(out, inventory.Disk{Name: n, SizeMiB: sectors / (1 << 20 / sectorSize)})
	}
	return out, nil
}

// fixed leaves out what is made of other disks or of memory.
func fixed(name string) bool {
	for _, p := range []string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "mtd"} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	return true
}

// virtual names the container runtime or hypervisor, as systemd-detect-virt(1)
// does from the same hints.
func virtual(t *collect.Tree, vendor, model string, hypervisor bool) string {
	if c := container(t); c != "" {
		return c
	}
	if t.Line("sys/hypervisor/type") == "xen" {
		return "xen"
	}
	if v := virtualByName(vendor, model); v != "" {
		return v
	}
	if hypervisor {
		return "vm"
	}
	return ""
}

// virtualByName knows hypervisors by what their machines call themselves.
func virtualByName(vendor, model string) string {
	text := strings.ToLower(vendor + " " + model)
	for _, v := range []struct{ hint, name string }{
		{"vmware", "vmware"},
		{"virtualbox", "virtualbox"},
		{"innotek", "virtualbox"},
		{"microsoft corporation virtual", "hyperv"},
		{"qemu", "qemu"},
		{"kvm", "kvm"},
		{"amazon ec2", "ec2"},
		{"google compute", "gce"},
		{"parallels", "parallels"},
		{"bochs", "bochs"},
		{"openstack", "openstack"},
		{"digitalocean", "kvm"},
		{"xen", "xen"},
	} {
		if strings.Contains(text, v.hint) {
			return v.name
		}
	}
	return ""
}

// container follows the interface that systemd describes for containers:
// /run/systemd/container, PID 1's environment, and the marks of docker and podman.
func container(t *collect.Tree) string {
	if c := t.Line("run/systemd/container"); c != "" {
		return c
	}
	if env, err := t.Head("proc/1/environ", 64<<10); err == nil {
		for kv := range strings.SplitSeq(string(env), "\x00") {
			if c, ok := strings.CutPrefix(kv, "container="); ok && c != "" {
				return c
			}
		}
	}
	switch {
	case t.Exists(".dockerenv"):
		return "docker"
	case t.Exists("run/.containerenv"):
		return "podman"
	}
	return ""
}
