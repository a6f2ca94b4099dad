// Package state reads what runs now as far as it matters for patching: which
// boot this is, which kernel runs, and whether a reboot is due.
package state

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/vercmp"
)

// Collector fills the boot, kernel and reboot parts of inventory.State. It
// needs the packages, so it comes after dpkg.
func Collector() collect.Collector {
	return collect.Collector{Name: "state", Collect: gather}
}

func gather(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	st := &s.State
	st.BootID = t.Line("proc/sys/kernel/random/boot_id")
	st.RunningKernel = t.Line("proc/sys/kernel/osrelease")
	st.BootTime = bootTime(t)
	if err := required(t, st); err != nil {
		return err
	}
	if !contained(t) {
		kernels(t, s)
	}
	slices.Sort(st.RebootReasons)
	st.RebootReasons = slices.Compact(st.RebootReasons)
	return nil
}

// ticks is USER_HZ, in which procfs counts; it is 100 on every architecture
// that Fettle runs on (proc(5)).
const ticks = 100

// bootTime is when PID 1 started: that of a container is later than the
// kernel's own start.
func bootTime(t *collect.Tree) time.Time {
	data, err := t.ReadFile("proc/stat", 16<<20)
	if err != nil {
		return time.Time{}
	}
	var boot int64
	for line := range strings.SplitSeq(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			boot, err = strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			break
		}
	}
	if boot == 0 || err != nil {
		return time.Time{}
	}
	return time.Unix(boot+initStart(t), 0).UTC()
}

// initStart is the start of PID 1 in seconds after the kernel's: field 22 of
// its stat (proc(5)), where the name in field 2 may hold blanks.
func initStart(t *collect.Tree) int64 {
	line := t.Line("proc/1/stat")
	f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	const startTime = 22 - 3 // fields 1 and 2 are cut off, counting from 0
	if len(f) <= startTime {
		return 0
	}
	n, err := strconv.ParseInt(f[startTime], 10, 64)
	if err != nil {
		return 0
	}
	return n / ticks
}

// required reads Debian's convention for "a reboot is due": postinst scripts
// create /run/reboot-required and add their package's name beside it.
func required(t *collect.Tree, st *inventory.State) error {
	if !t.Exists("run/reboot-required") {
		return nil
	}
	st.RebootDue = true
	data, err := t.ReadFile("run/reboot-required.pkgs", 1<<20)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	st.RebootReasons = append(st.RebootReasons, strings.Fields(string(data))...)
	if len(st.RebootReasons) == 0 {
		st.RebootReasons = []string{"/run/reboot-required"}
	}
	return nil
}

// contained reports whether the kernel is someone else's.
func contained(t *collect.Tree) bool {
	if t.Exists("run/systemd/container") || t.Exists(".dockerenv") || t.Exists("run/.containerenv") {
		return true
	}
	env, err := t.Head("proc/1/environ", 64<<10)
	return err == nil && strings.Contains("\x00"+string(env), "\x00container=")
}

// kernels compares the running kernel with the installed ones of its flavour.
func kernels(t *collect.Tree, s *inventory.Snapshot) {
	st := &s.State
	running := st.RunningKernel
	for _, p := range s.Packages {
		release, ok := imageRelease(p.Name)
		if !ok || !t.Exists("boot/vmlinuz-"+release) || flavour(release) != flavour(running) {
			continue
		}
		if st.NewestKernel == "" || vercmp.Dpkg(st.NewestKernel, release) < 0 {
			st.NewestKernel = release
		}
		// Debian keeps the name for small updates; the build then tells.
		built := buildVersion(t.Line("proc/sys/kernel/version"))
		if release == running && built != "" && vercmp.Dpkg(built, p.Version) < 0 {
			st.RebootDue = true
			st.RebootReasons = append(st.RebootReasons, "kernel "+running+" "+p.Version+" is installed, "+built+" runs")
		}
	}
	if running != "" && st.NewestKernel != "" && vercmp.Dpkg(running, st.NewestKernel) < 0 {
		st.RebootDue = true
		st.RebootReasons = append(st.RebootReasons, "kernel "+st.NewestKernel+" is installed, "+running+" runs")
	}
}

// imageRelease takes the kernel release out of a package name such as
// linux-image-6.1.0-21-amd64; meta packages (linux-image-amd64) have none.
func imageRelease(name string) (string, bool) {
	release, ok := strings.CutPrefix(name, "linux-image-")
	if ok {
		release = strings.TrimPrefix(release, "unsigned-")
	}
	return release, ok && release != "" && release[0] >= '0' && release[0] <= '9' &&
		!strings.HasSuffix(release, "-dbg") && !strings.HasSuffix(release, "-dbgsym")
}

// flavour is what follows the numbers of a kernel release: "amd64",
// "cloud-amd64", "generic". Kernels of different flavours do not replace each
// other.
func flavour(release string) string {
	parts := strings.Split(release, "-")
	for i, p := range parts[1:] {
		if p != "" && (p[0] < '0' || p[0] > '9') {
			return strings.Join(parts[i+1:], "-")
		}
	}
	return ""
}

// buildVersion takes Debian's package version out of the kernel's build text:
// "#1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1 (2024-05-03)".
func buildVersion(text string) string {
	_, rest, ok := strings.Cut(text, " Debian ")
	if !ok {
		return ""
	}
	version, _, _ := strings.Cut(rest, " ")
	return version
}
