package msi

import (
	"github.com/fettlehq/fettle/internal/agent/install/winpkg"
	"github.com/fettlehq/fettle/internal/patch"
)

// codes are msiexec's (Windows Installer SDK, "MsiExec.exe and InstMsi.exe
// Error Messages").
func codes() map[int64]winpkg.Exit {
	out := winpkg.CustomaryExits()
	out[1604] = winpkg.Exit{Meaning: patch.ExitRebootDue, Words: "suspended: it goes on after a restart"}
	for code, words := range map[int64]string{
		13:   "the data is not valid",
		1601: "the Windows Installer service can't be reached",
		1605: "the product is not installed",
		1606: "the feature is not known",
		1607: "the component is not known",
		1608: "a property is not known",
		1609: "the handle is in an invalid state",
		1610: "the configuration data of the product is damaged",
		1611: "the component is not present",
		1612: "the product's installation source can't be found: the package that it was installed from is needed",
		1613: "this Windows Installer is too old for the package",
		1614: "the product is uninstalled",
		1615: "the package's database query is malformed",
		1616: "a field of the package's database does not exist",
		1619: "the package can't be opened: is it a Windows Installer package?",
		1620: "the package can't be opened: it is no valid Windows Installer package",
		1621: "the installer's user interface could not start",
		1622: "the log file can't be opened",
		1623: "the package does not support this machine's language",
		1624: "a transform can't be applied",
		1625: "the machine's policy forbids this installation",
		1626: "a function could not be run",
		1627: "a function failed while it ran",
		1628: "a table of the package is invalid or unknown",
		1629: "data of the wrong type was given",
		1630: "data of this type is not supported",
		1631: "the Windows Installer service could not start",
		1632: "the folder for temporary files is full or can't be reached",
		1633: "the package was made for another processor architecture",
		1634: "a component is not used on this machine",
		1635: "the patch can't be opened: is it a Windows Installer patch?",
		1636: "the patch can't be opened: it is no valid Windows Installer patch",
		1637: "this Windows Installer is too old for the patch",
		1638: "another version of the product is installed already",
		1639: "an argument of the command line is wrong",
		1640: "installing from a remote session is not permitted",
		1642: "the patch does not fit: its product is missing, or has another version",
		1643: "the machine's policy forbids the patch",
		1644: "the machine's policy forbids the transform",
		1645: "Windows Installer does not permit this from a remote connection",
		1646: "the patch can't be removed",
		1647: "the patch is not applied to this product",
		1648: "no valid order was found for the patches",
		1649: "the machine's policy forbids removing the patch",
		1650: "the patch's XML data is invalid",
		1651: "Windows Installer does not permit patching managed, advertised products",
		1652: "Windows Installer does not run in safe mode",
		1653: "rollback is off, so several packages can't be installed as one",
		1654: "the application does not run on this kind of processor",
	} {
		out[code] = winpkg.Exit{Meaning: patch.ExitFailed, Words: words}
	}
	return out
}
