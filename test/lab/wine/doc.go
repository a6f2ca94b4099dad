// Package wine runs throw-away Windows machines under Wine, beside the Debian
// machines of package lab and in the same kind of network: a [Host] reaches the
// server of its fleet and nobody else.
//
// A host is an overlay on one prefix that is made once per machine and version
// of Wine ([Base]), runs in a cell of its own, and claims to be 64-bit Windows
// 10 1903 (build 18362). Registry, files, services, Windows Installer and
// console programs are Wine's; Windows Update, DISM and PowerShell are not
// there, or answer 0 and do nothing. docs/windows.md says what that means for
// what is tested.
//
// [RunTests] compiles the tests of a package for Windows and runs them on a
// host as subtests.
package wine
