package vercmp

import (
	"errors"
	"strings"
	"testing"
)

// all lists the schemes with their hot functions; tests that hold for every scheme range over it.
func all() map[Scheme]func(a, b string) int {
	return map[Scheme]func(a, b string) int{
		DPKG: Dpkg, RPM: Rpm, APK: Apk, SemVer: Semver, Windows: WindowsQuad, Apple: AppleVersion,
	}
}

// ladders holds versions in rising order, one rung a line; rungs on one line are equal.
func ladders() map[Scheme][]string {
	return map[Scheme][]string{
		DPKG: {
			"~~ ~~-0", "~~a", "~1", "0~ 0:0~ 00~", "0 0:0 0-0 0-00 00", "0a", "0+", "0.1", "1~rc1-1", "1~rc1-2", "1 1-0 0:1-0",
			"1-0.1", "1-1~bpo1", "1-1 01-01", "1-1+b1", "1-1+deb12u1", "1-1.1", "1-a", "1-1-1", "1.2.9", "1.2.10",
			"1.2.10-3+deb11u1", "1.2.10-3+deb12u1", "99999999999999999999999", "100000000000000000000000", "1:0~", "1:0", "10:0",
		},
		RPM: {
			"0~~", "0~", "0~a", "0 0:0 :0 00", "0-0~", "0-0", "0-1", "0^", "0^20200101", "0^20200101.1", "0a", "0.b", "0.1~rc1", "0.1 0_1 0..1 0+1",
			"0.1-1.el8", "0.1-1.el8_2", "0.1-1.el9", "0.1-2.el8", "0.1^git1", "0.1a", "0.1.0", "1.0 1.00 1.0.", "1.0.1", "1.05", "1.10",
			"99999999999999999999999", "1:0~", "1:0",
		},
		APK: {
			"0_alpha", "0_alpha1", "0_alpha2", "0_alpha10", "0_beta", "0_pre2", "0_rc", "0_rc1", "0 00", "0-r0 0-r00", "0-r1",
			"0-r10", "0~abc", "0~abc-r1", "0~abd", "0_cvs", "0_svn", "0_git", "0_git20200101", "0_hg", "0_p", "0_p0", "0_p1", "0_p1-r3",
			"0a", "0b", "0.0", "0.01", "0.1_rc1", "0.1", "0.1a", "0.1.1", "0.9", "0.10", "1",
		},
		SemVer: {
			"0.0.0-0", "0.0.0-1", "0.0.0-a", "0.0.0 v0.0.0 0.0.0+b 0.0.0+c", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
			"1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1 1.0.0-rc.1+x.y-z", "1.0.0", "1.0.9", "1.0.10", "2.0.0--", "2.0.0-A", "2.0.0-a", "2.0.0",
			"99999999999999999999.0.0",
		},
		Windows: {
			"0 0.0 0.0.0.0 00.0", "0.0.0.1", "6.1", "6.1.7601.17514", "10.0 10 10.0.0.0", "10.0.9200.1", "10.0.17763.8388", "10.0.17763.8389",
			"10.0.17763.8389.1", "10.0.26100", "65536.0", "99999999999999999999.1",
		},
		Apple: {
			"10.15.7", "13 13.0", "13.4.1 13.4.1.0", "13.4.1 (a)", "13.4.1 (c)", "13.5", "15.6.1", "26",
			"10K549", "19H15", "22F66", "22F82", "22F770820b", "22F770820d", "22G74", "24A5264n", "24A5264p", "24A335", "24G84", "24G90", "24H1", "25A354",
		},
	}
}

func TestLadders(t *testing.T) {
	for scheme, rungs := range ladders() {
		type placed struct {
			version string
			rung    int
		}
		var versions []placed
		for i, rung := range rungs {
			for _, v := range fieldsOf(scheme, rung) {
				versions = append(versions, placed{v, i})
			}
		}
		for _, a := range versions {
			for _, b := range versions {
				want := sign(a.rung - b.rung)
				if got := all()[scheme](a.version, b.version); got != want {
					t.Errorf("%s: %q against %q: got %d, want %d", scheme, a.version, b.version, got, want)
				}
				if scheme == Apple && isAppleBuild(a.version) != isAppleBuild(b.version) {
					continue
				}
				if got, err := Compare(scheme, a.version, b.version); err != nil || got != want {
					t.Errorf("Compare(%s, %q, %q) = %d, %v; want %d", scheme, a.version, b.version, got, err, want)
				}
			}
		}
	}
}

// fieldsOf splits a rung into versions; the blank in "13.4.1 (a)" belongs to the version.
func fieldsOf(s Scheme, rung string) []string {
	if s == Apple && strings.Contains(rung, "(") {
		return []string{rung}
	}
	return strings.Fields(rung)
}

func TestMalformed(t *testing.T) {
	table := map[Scheme][]string{
		DPKG:    {"", "1 0", " 1", "1\n", ":1", "1:", "a:1", "-1:1", "1:-1", "-1", "1-", "1-1-", "2147483648:1", "1-1:2", "1\x00", "1é"},
		RPM:     {"", "1 0", ":", "1:", "-1", "1-", "1-1-1", "a:1", "1:1:1", "4294967296:1", "1é", "1\t"},
		APK:     {"", "a", ".1", "1.", "1..2", "1_", "1_foo", "1_1", "1-1", "1-r", "1-rc", "1ab", "1a1", "1a.1", "1~", "1~xyz", "1-r1-r2", "1-r1_p", "1 ", "1A", "1:2"},
		SemVer:  {"", "v", "1", "1.2", "1.2.3.4", "01.2.3", "1.02.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+", "1.2.3+a+b", "1.2.3-é", "vv1.2.3", "V1.2.3", "1.2.3 "},
		Windows: {"", ".", "1.", ".1", "1..2", "1.2a", "1,2,3,4", "-1", "1.2.3.4 (win)", "v1"},
		Apple:   {"", "24G", "G90", "24g90", "24G90ab", "24GG90", "15.6.1 (A)", "15.6.1(a)", " (a)", "15.", "24G90 (a)", "15.6.1 (aa)"},
	}
	for scheme, versions := range table {
		for _, v := range versions {
			if err := Valid(scheme, v); !errors.Is(err, ErrMalformed) {
				t.Errorf("Valid(%s, %q) = %v, want ErrMalformed", scheme, v, err)
			}
			for _, pair := range [][2]string{{v, "1.0.0"}, {"1.0.0", v}} {
				if c, err := Compare(scheme, pair[0], pair[1]); c != 0 || !errors.Is(err, ErrMalformed) {
					t.Errorf("Compare(%s, %q, %q) = %d, %v, want ErrMalformed", scheme, pair[0], pair[1], c, err)
				}
			}
		}
	}
	if _, err := Compare(Apple, "24G90", "15.6.1"); !errors.Is(err, ErrMalformed) {
		t.Errorf("a build against a product version: %v, want ErrMalformed", err)
	}
	if _, err := Compare("solaris", "1", "1"); !errors.Is(err, ErrScheme) {
		t.Errorf("an unknown scheme: %v, want ErrScheme", err)
	}
	if err := Valid(DPKG, strings.Repeat(" ", 1<<20)); len(err.Error()) > 200 {
		t.Errorf("the error for a version of 1 MiB is %d bytes long", len(err.Error()))
	}
}

func TestValidDpkg(t *testing.T) {
	for _, v := range []string{"0", "1.0", "1:1.0-1", "1:1:1-1", "1-1-1", "1.0~rc1+dfsg-0.1~bpo12+1", "0:0", "1.0-a"} {
		if err := ValidDpkg(v); err != nil {
			t.Errorf("ValidDpkg(%q) = %v", v, err)
		}
	}
	for _, v := range []string{"", "a1", "~1", "1:a", "1_0", "1-1_1", "1,0", "1:", "1-", "1/2", "1^1"} {
		if err := ValidDpkg(v); !errors.Is(err, ErrMalformed) {
			t.Errorf("ValidDpkg(%q) = %v, want ErrMalformed", v, err)
		}
	}
	for _, v := range []string{"a1", "~1", "1:a", "1_0", "1-1_1", "1^1"} { // dpkg compares these with a warning.
		if err := Valid(DPKG, v); err != nil {
			t.Errorf("Valid(dpkg, %q) = %v", v, err)
		}
	}
}

func TestKnown(t *testing.T) {
	for scheme := range all() {
		if !scheme.Known() {
			t.Errorf("%s is not known", scheme)
		}
	}
	if Scheme("").Known() || Scheme("DPKG").Known() {
		t.Error("a scheme is known that has no constant")
	}
}

func TestMalformedIsBelow(t *testing.T) {
	for scheme, bad := range map[Scheme]string{SemVer: "9", Windows: "z", Apple: "zz"} {
		if c := all()[scheme](bad, "0.0.0"); c != -1 {
			t.Errorf("%s: %q against 0.0.0: %d, want -1", scheme, bad, c)
		}
		if c := all()[scheme](bad, bad+"!"); c != -1 {
			t.Errorf("%s: two malformed versions: %d, want the order of bytes", scheme, c)
		}
	}
}
