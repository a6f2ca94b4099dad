package state

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/agent/collect/collecttest"
	"github.com/fettlehq/fettle/internal/inventory"
)

func collected(t *testing.T, files map[string]string, packages ...inventory.Package) inventory.State {
	t.Helper()
	tr := collecttest.Tree(t, files)
	s := inventory.Snapshot{Packages: packages}
	if err := Collector().Collect(context.Background(), tr, &s); err != nil {
		t.Fatal(err)
	}
	return s.State
}

func image(release, version string) inventory.Package {
	return inventory.Package{Kind: "dpkg", Name: "linux-image-" + release, Arch: "amd64", Version: version}
}

func TestReboot(t *testing.T) {
	const release, build = "proc/sys/kernel/osrelease", "proc/sys/kernel/version"
	for name, tc := range map[string]struct {
		files    map[string]string
		packages []inventory.Package
		newest   string
		reasons  []string
	}{
		"nothing": {files: map[string]string{release: "6.1.0-21-amd64\n"}},
		"asked for": {
			files:   map[string]string{"run/reboot-required": "*** System restart required ***\n", "run/reboot-required.pkgs": "libc6\ndbus\nlibc6\n"},
			reasons: []string{"dbus", "libc6"},
		},
		"asked for without a reason": {
			files: map[string]string{"run/reboot-required": ""}, reasons: []string{"/run/reboot-required"},
		},
		"newer kernel": {
			files:    map[string]string{release: "6.1.0-9-amd64\n", "boot/vmlinuz-6.1.0-21-amd64": "", "boot/vmlinuz-6.1.0-9-amd64": ""},
			packages: []inventory.Package{image("6.1.0-21-amd64", "6.1.90-1"), image("6.1.0-9-amd64", "6.1.27-1"), image("amd64", "6.1.90-1")},
			newest:   "6.1.0-21-amd64", reasons: []string{"kernel 6.1.0-21-amd64 is installed, 6.1.0-9-amd64 runs"},
		},
		"newest runs": {
			files:    map[string]string{release: "6.1.0-21-amd64\n", build: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1 (2024-05-03)\n", "boot/vmlinuz-6.1.0-21-amd64": ""},
			packages: []inventory.Package{image("6.1.0-21-amd64", "6.1.90-1")}, newest: "6.1.0-21-amd64",
		},
		"newer build of the same release": {
			files:    map[string]string{release: "6.1.0-21-amd64\n", build: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1 (2024-05-03)\n", "boot/vmlinuz-6.1.0-21-amd64": ""},
			packages: []inventory.Package{image("6.1.0-21-amd64", "6.1.94-1")}, newest: "6.1.0-21-amd64",
			reasons: []string{"kernel 6.1.0-21-amd64 6.1.94-1 is installed, 6.1.90-1 runs"},
		},
		"another flavour": {
			files:    map[string]string{release: "6.1.0-9-cloud-amd64\n", "boot/vmlinuz-6.1.0-21-amd64": ""},
			packages: []inventory.Package{image("6.1.0-21-amd64", "6.1.90-1")},
		},
		"package without its file": {
			files:    map[string]string{release: "6.1.0-9-amd64\n"},
			packages: []inventory.Package{image("6.1.0-21-amd64", "6.1.90-1")},
		},
		"container": {
			files:    map[string]string{release: "6.1.0-9-amd64\n", "boot/vmlinuz-6.1.0-21-amd64": "", "proc/1/environ": "PATH=/bin\x00container=lxc\x00"},
			packages: []inventory.Package{image("6.1.0-21-amd64", "6.1.90-1")},
		},
		"kernel of someone else": {
			files:    map[string]string{release: "6.18.44-own\n", "boot/vmlinuz-6.1.0-21-amd64": ""},
			packages: []inventory.Package{image("6.1.0-21-amd64", "6.1.90-1")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := collected(t, tc.files, tc.packages...)
			if diff := cmp.Diff(tc.reasons, st.RebootReasons); diff != "" || st.RebootDue != (len(tc.reasons) > 0) || st.NewestKernel != tc.newest {
				t.Errorf("due %v, newest %q\n%s", st.RebootDue, st.NewestKernel, diff)
			}
		})
	}
}

func TestBoot(t *testing.T) {
	st := collected(t, map[string]string{
		"proc/stat":                      "cpu 1 2\nbtime 1700000000\nprocesses 1\n",
		"proc/1/stat":                    "1 (a ) b) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 360050 1 1\n",
		"proc/sys/kernel/random/boot_id": "abc\n",
	})
	if want := time.Unix(1700003600, 0).UTC(); !st.BootTime.Equal(want) || st.BootID != "abc" {
		t.Errorf("boot %q at %v, want %v", st.BootID, st.BootTime, want)
	}
	if st := collected(t, map[string]string{"proc/stat": "btime x\n"}); !st.BootTime.IsZero() {
		t.Errorf("boot time of rubbish: %v", st.BootTime)
	}
}
