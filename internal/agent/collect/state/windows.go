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
	"github.com/fettlehq/fettle/internal/winreg"
)

// Windows fills the boot and reboot parts of inventory.State on Windows.
//
// Windows has no name for a boot. The first look after a start makes one: a
// random text in a registry key that Windows forgets when it stops
// (REG_OPTION_VOLATILE). Times would not do: they move when the clock is set.
// A "fast startup" is no new boot, for the kernel goes on from a file.
func Windows() collect.Collector {
	return collect.Collector{Name: "state", Collect: windows}
}

// Fettle's keys below HKLM that end with the boot.
const (
	ours         = `SOFTWARE\Fettle`
	bootKey      = "Boot"
	idValue      = "ID"
	startedValue = "Started" // RFC 3339
	dueKey       = "RebootDue"
)

const (
	windowsUpdate = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update`
	servicing     = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing`
	names         = `HKLM\SYSTEM\CurrentControlSet\Control\ComputerName`
	netlogon      = `HKLM\SYSTEM\CurrentControlSet\Services\Netlogon`
)

func windows(_ context.Context, t *collect.Tree, s *inventory.Snapshot) error {
	st := &s.State
	reg := t.Registry()
	var err error
	if t.Live() {
		err = markBoot()
	}
	const path = `HKLM\` + ours + `\` + bootKey
	st.BootID = winreg.TextAt(reg, path, idValue)
	if started, err := time.Parse(time.RFC3339, winreg.TextAt(reg, path, startedValue)); err == nil {
		st.BootTime = started.UTC()
	}
	if st.BootID != "" {
		err = nil // another process has marked it: this one may lack the right to
	}
	st.RebootReasons = append(keys(reg), pendingFiles(reg)...)
	st.RebootReasons = append(st.RebootReasons, renamed(reg)...)
	st.RebootReasons = append(st.RebootReasons, counters(reg)...)
	st.RebootReasons = append(st.RebootReasons, marked(reg)...)
	slices.Sort(st.RebootReasons)
	st.RebootReasons = slices.Compact(st.RebootReasons)
	st.RebootDue = len(st.RebootReasons) > 0
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "state: can't tell this boot from the next")
	}
	return nil
}

// keys are the markers that count by being there.
func keys(reg winreg.Registry) (reasons []string) {
	for _, m := range []struct{ path, reason string }{
		{servicing + `\RebootPending`, "Windows servicing has changes that a restart completes"},
		{servicing + `\RebootInProgress`, "Windows servicing is amid a restart"},
		{servicing + `\PackagesPending`, "Windows servicing has packages that a restart completes"},
		{windowsUpdate + `\RebootRequired`, "Windows Update has installed what a restart completes"},
		{windowsUpdate + `\PostRebootReporting`, "Windows Update waits for a restart"},
		{`HKLM\SOFTWARE\Microsoft\ServerManager\CurrentRebootAttempts`, "a role of the server waits for a restart"},
	} {
		k, err := reg.Open(m.path, winreg.View64)
		if err != nil {
			continue
		}
		_ = k.Close() // read only
		reasons = append(reasons, m.reason)
	}
	return reasons
}

// counters are the markers that count by a number or a text.
func counters(reg winreg.Registry) (reasons []string) {
	for _, m := range []struct{ path, value, reason string }{
		{`HKLM\SOFTWARE\Microsoft\Updates`, "UpdateExeVolatile", "an installer of updates waits for a restart"},
		{`HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\RunOnce`, "DVDRebootSignal", "a set-up waits for a restart"},
		{netlogon, "JoinDomain", "the machine joins a domain"},
		{netlogon, "AvoidSpnSet", "the machine joins a domain"},
	} {
		if text := winreg.TextAt(reg, m.path, m.value); text != "" && text != "0" {
			reasons = append(reasons, m.reason)
		}
	}
	return reasons
}

// pendingFiles tells what the session manager replaces or deletes at the next
// start. What is only swept out of a temporary folder needs no restart: every
// uninstaller made with NSIS leaves its own copy there.
func pendingFiles(reg winreg.Registry) []string {
	first, count := "", 0
	for _, p := range collect.PendingFiles(reg) {
		if p.To == "" && strings.Contains(strings.ToLower(p.From), `\temp\`) {
			continue
		}
		if count++; count == 1 {
			first = p.From
		}
	}
	switch count {
	case 0:
		return nil
	case 1:
		return []string{"a file is replaced or deleted at the next start: " + first}
	}
	return []string{strconv.Itoa(count) + " files are replaced or deleted at the next start: " + first + " and others"}
}

// renamed compares the computer's name with the one that it will have.
func renamed(reg winreg.Registry) []string {
	now, next := winreg.TextAt(reg, names+`\ActiveComputerName`, "ComputerName"), winreg.TextAt(reg, names+`\ComputerName`, "ComputerName")
	if now == "" || next == "" || strings.EqualFold(now, next) {
		return nil
	}
	return []string{"the computer's name becomes " + next}
}

// marked reads what MarkDue has left.
func marked(reg winreg.Registry) []string {
	k, err := reg.Open(`HKLM\`+ours+`\`+dueKey, winreg.Native)
	if err != nil {
		return nil
	}
	defer func() { _ = k.Close() }() // read only
	reasons, err := k.Values()
	if err != nil {
		return nil
	}
	return reasons
}
