// Package vercmp compares version numbers by the rule of the world they come from: Debian's dpkg, rpm, Alpine's apk,
// Semantic Versioning 2.0, Windows quads, Apple products and builds. The same two strings order differently in
// different worlds ("1.0a" is above "1.0" in rpm and dpkg, and no version at all on Windows), so a comparison always
// names its [Scheme].
//
// [Compare] is for versions of unknown quality: it checks both and never guesses. The function of each scheme ([Dpkg],
// [Rpm], [Apk], [Semver], [WindowsQuad], [AppleVersion]) is for hot paths such as sorting an index: it reads bytes, neither
// allocates nor fails, and is a total order over all strings, so that a malformed version can spoil its own place in a
// sorted list but nobody else's.
package vercmp

import (
	"errors"
	"fmt"
)

// Scheme names the rule by which versions are compared. It is a word of the catalog's file format: its text is stable.
type Scheme string

// The schemes that Fettle knows.
const (
	DPKG    Scheme = "dpkg"    // Debian Policy 5.6.12: [epoch:]upstream[-revision].
	RPM     Scheme = "rpm"     // rpm-version(7): [epoch:]version[-release].
	APK     Scheme = "apk"     // apk-package(5): digits, letter, suffixes, commit hash, revision.
	SemVer  Scheme = "semver"  // semver.org 2.0.0, with an optional leading "v".
	Windows Scheme = "windows" // a.b.c.d as in VS_FIXEDFILEINFO and in registered products.
	Apple   Scheme = "apple"   // Product versions such as 15.6.1 (a), builds such as 24G90.
)

// Known reports whether s is one of the constants.
func (s Scheme) Known() bool {
	switch s {
	case DPKG, RPM, APK, SemVer, Windows, Apple:
		return true
	}
	return false
}

// ErrScheme is in the chain of the error that [Compare] and [Valid] return for a scheme that is not one of the constants.
var ErrScheme = errors.New("unknown version scheme")

// ErrMalformed is in the chain of the error that [Compare] and [Valid] return for a string that is no version of its scheme.
var ErrMalformed = errors.New("malformed version")

// Compare returns -1, 0 or +1 as a is below, equal to or above b by the rule of s. The error wraps [ErrScheme] or
// [ErrMalformed] and then the number is 0 and means nothing. Equal does not mean the same text: "1.0" and "1.00" are
// equal in most worlds.
func Compare(s Scheme, a, b string) (int, error) {
	if err := Valid(s, a); err != nil {
		return 0, err
	}
	if err := Valid(s, b); err != nil {
		return 0, err
	}
	switch s {
	case DPKG:
		return Dpkg(a, b), nil
	case RPM:
		return Rpm(a, b), nil
	case APK:
		return Apk(a, b), nil
	case SemVer:
		return Semver(a, b), nil
	case Windows:
		return WindowsQuad(a, b), nil
	case Apple:
		if isAppleBuild(a) != isAppleBuild(b) {
			return 0, fmt.Errorf("vercmp: %w: apple: %q and %q are a build and a product version", ErrMalformed, a, b)
		}
		return AppleVersion(a, b), nil
	}
	return 0, fmt.Errorf("vercmp: %w %q", ErrScheme, string(s))
}

// Valid reports why v cannot be compared by the rule of s; nil means that it can. For [DPKG] it accepts what dpkg itself
// compares, warnings included; [ValidDpkg] is stricter. The error wraps [ErrScheme] or [ErrMalformed].
func Valid(s Scheme, v string) error {
	var fault string
	switch s {
	case DPKG:
		fault = dpkgFault(v)
	case RPM:
		fault = rpmFault(v)
	case APK:
		fault = apkFault(v)
	case SemVer:
		fault = semverFault(v)
	case Windows:
		fault = quadFault(v)
	case Apple:
		fault = appleFault(v)
	default:
		return fmt.Errorf("vercmp: %w %q", ErrScheme, string(s))
	}
	return malformed(s, v, fault)
}

// malformed makes the error for version v; an empty fault makes none. Long versions are cut, they may be an attack.
func malformed(s Scheme, v, fault string) error {
	if fault == "" {
		return nil
	}
	const most = 80
	if len(v) > most {
		v = v[:most] + "..."
	}
	return fmt.Errorf("vercmp: %w: %s %q: %s", ErrMalformed, s, v, fault)
}
