package vercmp

import (
	"testing"

	"pgregory.net/rapid"
)

// alphabets give each scheme bytes that make near misses likely.
func alphabets() map[Scheme][]rune {
	return map[Scheme][]rune{
		DPKG: []rune("0019~~+.-:az_ Z"), RPM: []rune("0019~^+.-:az_ Z"), APK: []rune("0019._~-ralphbetcvsgi"),
		SemVer: []rune("0011..-+aZv"), Windows: []rune("0019..x"), Apple: []rune("0159..GAab() "),
	}
}

// anyVersion draws good, slightly broken and wholly foreign strings.
func anyVersion(s Scheme) *rapid.Generator[string] {
	noise := rapid.StringOfN(rapid.RuneFrom(alphabets()[s]), 0, 12, -1)
	var known []string
	for _, rung := range ladders()[s] {
		known = append(known, fieldsOf(s, rung)...)
	}
	return rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 9).Draw(t, "shape") {
		case 0:
			return rapid.String().Draw(t, "foreign")
		case 1, 2, 3:
			return noise.Draw(t, "noise")
		case 4:
			return rapid.SampledFrom(known).Draw(t, "known") + noise.Draw(t, "tail")
		}
		return rapid.SampledFrom(known).Draw(t, "known")
	})
}

// TestOrder proves for each scheme that its hot function is a total preorder over all strings: whatever comes from
// outside, sorting ends and puts equal things together.
func TestOrder(t *testing.T) {
	for scheme, compare := range all() {
		t.Run(string(scheme), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				gen := anyVersion(scheme)
				a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
				ab, ba, bc, ac := compare(a, b), compare(b, a), compare(b, c), compare(a, c)
				if ab < -1 || ab > 1 {
					t.Fatalf("%d is not -1, 0 or 1", ab)
				}
				if compare(a, a) != 0 {
					t.Fatalf("%q does not equal itself", a)
				}
				if ab != -ba {
					t.Fatalf("%q against %q: %d, back: %d", a, b, ab, ba)
				}
				if ab <= 0 && bc <= 0 && ac != min(ab, bc) {
					t.Fatalf("%q <= %q <= %q (%d, %d), but first against last is %d", a, b, c, ab, bc, ac)
				}
			})
		})
	}
}

// TestNoAllocation guards the reason for this package: sorting an index must not feed the garbage collector.
func TestNoAllocation(t *testing.T) {
	for scheme, compare := range all() {
		rungs := ladders()[scheme]
		a, b := fieldsOf(scheme, rungs[len(rungs)-2])[0], fieldsOf(scheme, rungs[len(rungs)-1])[0]
		if n := testing.AllocsPerRun(100, func() { compare(a, b) }); n != 0 {
			t.Errorf("%s: %v allocations", scheme, n)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = Compare(scheme, a, b) }); n != 0 {
			t.Errorf("Compare(%s): %v allocations", scheme, n)
		}
	}
}

// fuzz feeds pairs of outside bytes to one scheme. Compare must agree with the hot function wherever it has an answer.
func fuzz(f *testing.F, scheme Scheme) {
	f.Helper()
	rungs := ladders()[scheme]
	for i := range rungs[1:] {
		f.Add(fieldsOf(scheme, rungs[i])[0], fieldsOf(scheme, rungs[i+1])[0])
	}
	f.Add("", "\xff\x00")
	compare := all()[scheme]
	f.Fuzz(func(t *testing.T, a, b string) {
		hot := compare(a, b)
		if hot != -compare(b, a) {
			t.Errorf("%q against %q: %d, back: %d", a, b, hot, compare(b, a))
		}
		c, err := Compare(scheme, a, b)
		if err == nil && c != hot {
			t.Errorf("%q against %q: Compare gives %d, the hot function %d", a, b, c, hot)
		}
		if err == nil && (Valid(scheme, a) != nil || Valid(scheme, b) != nil) {
			t.Errorf("%q and %q were compared, but are not valid", a, b)
		}
	})
}

func FuzzDpkg(f *testing.F)    { fuzz(f, DPKG) }
func FuzzRpm(f *testing.F)     { fuzz(f, RPM) }
func FuzzApk(f *testing.F)     { fuzz(f, APK) }
func FuzzSemver(f *testing.F)  { fuzz(f, SemVer) }
func FuzzWindows(f *testing.F) { fuzz(f, Windows) }
func FuzzApple(f *testing.F)   { fuzz(f, Apple) }
