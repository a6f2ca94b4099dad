package winpkg

import "github.com/fettlehq/fettle/internal/patch"

// CustomaryExits are the exit codes of Windows Installer that other installers
// use too, or hand on (Windows Installer SDK, "MsiExec.exe and InstMsi.exe
// Error Messages").
func CustomaryExits() map[int64]Exit {
	return map[int64]Exit{
		0:    {Meaning: patch.ExitOK},
		1602: {Meaning: patch.ExitUserCanceled, Words: "somebody cancelled the installation"},
		1603: {Meaning: patch.ExitFailed, Words: "fatal error during installation"},
		1618: {Meaning: patch.ExitBusy, Words: "another installation is at work"},
		1641: {Meaning: patch.ExitRebootBegun, Words: "done; the installer has begun to restart the machine"},
		3010: {Meaning: patch.ExitRebootDue, Words: "done; a restart is due"},
	}
}

// systemErrors are errors of Windows itself with which installers end, in
// words (winerror.h); those above 0x80000000 are HRESULTs.
func systemErrors() map[int64]string {
	return map[int64]string{
		1:          "the installer reports an unnamed failure (incorrect function)",
		2:          "a file that it needs can't be found",
		3:          "a path that it needs can't be found",
		5:          "access was denied",
		8:          "there is not enough memory",
		32:         "a file is in use by another process",
		87:         "a parameter is wrong: the switches of the manifest don't fit this installer",
		112:        "the disk is full",
		183:        "a file that it wants to make exists already",
		206:        "a file name is too long",
		216:        "it was made for another processor architecture",
		740:        "it needs elevated rights",
		1223:       "it was cancelled by the user",
		1314:       "it lacks a privilege",
		1460:       "it waited too long for something",
		0x80004005: "it failed without saying why (E_FAIL)",
		0x80070002: "a file that it needs can't be found",
		0x80070003: "a path that it needs can't be found",
		0x80070005: "access was denied",
		0x80070020: "a file is in use by another process",
		0x80070070: "the disk is full",
		0x800700D8: "it was made for another processor architecture",
		0x80070643: "fatal error during installation (1603 of Windows Installer)",
		0x80070652: "another installation is at work (1618 of Windows Installer)",
		0x80070BC2: "a restart is due",
		0x80070BC9: "a restart is due before anything more can be changed",
		0x8007000E: "there is not enough memory",
		0x80070057: "a parameter is wrong",
		0x80073701: "a component of Windows is missing from the component store",
		0x80073712: "the component store of Windows is damaged",
		0xC0000005: "the installer crashed (access violation)",
		0xC000013A: "the installer was ended by somebody",
		0xC0000135: "a DLL that the installer needs is missing",
		0xC0000142: "a DLL of the installer could not start",
		0xC0000409: "the installer crashed (stack buffer overrun)",
	}
}
