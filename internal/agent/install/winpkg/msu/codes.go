package msu

import (
	"maps"

	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/patch"
)

// servicing are codes with which both programs end (winerror.h, CbsErr.h).
func servicing() map[int64]winpkg.Exit {
	failed := func(words string) winpkg.Exit { return winpkg.Exit{Meaning: patch.ExitFailed, Words: words} }
	reboot := winpkg.Exit{Meaning: patch.ExitRebootDue, Words: "done; a restart is due"}
	return map[int64]winpkg.Exit{
		0:          {Meaning: patch.ExitOK},
		3010:       reboot,
		1641:       {Meaning: patch.ExitRebootBegun, Words: "done; the installer has begun to restart the machine"},
		0x80070BC2: reboot, // ERROR_SUCCESS_REBOOT_REQUIRED as an HRESULT
		0x800F081E: {Meaning: patch.ExitNotNeeded, Words: "the package does not apply to this machine"},
		0x800F0805: failed("it is no valid package"),
		0x800F080A: failed("it was given a wrong parameter"),
		0x800F081F: failed("the source files of the package could not be found"),
		0x800F0823: failed("it needs a newer servicing stack: install the servicing stack update that comes before it"),
		0x800F0825: failed("the package is permanent and can't be removed"),
		0x800F0922: failed("its installers failed; often the system's reserved partition is too small"),
		0x800F0902: {Meaning: patch.ExitBusy, Words: "another servicing operation is at work"},
		0x800F0831: failed("an update that this one builds on is damaged or missing in the component store"),
		0x800F0988: failed("a file of the component store is too large or damaged"),
		0x800F0982: failed("a component of the update could not be pinned: the component store is damaged"),
		0x800F0991: failed("a package or component of the component store is missing"),
		0x80070BC9: failed("a restart is due before anything more can be changed"),
		0x80073701: failed("a component is missing from the component store"),
		0x80073712: failed("the component store is damaged"),
	}
}

// wusaCodes are wusa's own besides, most of them Windows Update's.
func wusaCodes() map[int64]winpkg.Exit {
	out := servicing()
	maps.Copy(out, map[int64]winpkg.Exit{
		1:          {Meaning: patch.ExitFailed, Words: "the update could not be read (incorrect function)"},
		0x240005:   {Meaning: patch.ExitRebootDue, Words: "done; a restart is due"}, // WU_S_REBOOT_REQUIRED
		0x240006:   {Meaning: patch.ExitNotNeeded, Words: "it is installed already"},
		0x80240017: {Meaning: patch.ExitNotNeeded, Words: "it does not apply to this machine"},
		0x80240016: {Meaning: patch.ExitBusy, Words: "another installation is at work, or a restart is due"},
		0x8024000B: {Meaning: patch.ExitUserCanceled, Words: "it was cancelled"},
		0x80240020: {Meaning: patch.ExitFailed, Words: "nobody is signed in, whom it needs"},
		0x80070422: {Meaning: patch.ExitFailed, Words: "the Windows Update service is switched off"},
		87:         {Meaning: patch.ExitFailed, Words: "wusa does not know one of its switches"},
	})
	return out
}

// dismCodes are dism's own besides.
func dismCodes() map[int64]winpkg.Exit {
	out := servicing()
	maps.Copy(out, map[int64]winpkg.Exit{
		2:    {Meaning: patch.ExitFailed, Words: "the package's file can't be found"},
		50:   {Meaning: patch.ExitFailed, Words: "this system can't be serviced online in this way"},
		87:   {Meaning: patch.ExitFailed, Words: "dism does not know one of its switches"},
		740:  {Meaning: patch.ExitFailed, Words: "it needs elevated rights"},
		1726: {Meaning: patch.ExitFailed, Words: "the servicing process ended in mid-work"},
	})
	return out
}
