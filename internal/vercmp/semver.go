package vercmp

// Semver compares two versions by semver.org 2.0.0, section 11: three numbers, then the pre-release, whose absence is
// above its presence; build metadata does not count. A leading "v", as in Git tags, is ignored. Numbers may have any
// size. Strings that are no such version are below all that are. It returns -1, 0 or +1.
func Semver(a, b string) int {
	va, okA := parseSemver(a)
	vb, okB := parseSemver(b)
	if !okA || !okB {
		return malformedFirst(a, b, okA, okB)
	}
	for i := range va.core {
		if c := compareDigits(va.core[i], vb.core[i]); c != 0 {
			return c
		}
	}
	switch {
	case va.pre == vb.pre:
		return 0
	case va.pre == "":
		return 1
	case vb.pre == "":
		return -1
	}
	return comparePrerelease(va.pre, vb.pre)
}

// semver is a version in pieces that share its bytes.
type semver struct {
	core [3]string
	pre  string
}

// parseSemver splits v and checks it against the grammar of semver.org, a leading "v" aside.
func parseSemver(v string) (semver, bool) {
	var out semver
	if v != "" && v[0] == 'v' {
		v = v[1:]
	}
	for i := range out.core {
		if i > 0 {
			if v == "" || v[0] != '.' {
				return out, false
			}
			v = v[1:]
		}
		end := digits(v, 0)
		out.core[i] = v[:end]
		if !isSemverNumber(out.core[i]) {
			return out, false
		}
		v = v[end:]
	}
	if v != "" && v[0] == '-' {
		end := 1
		for end < len(v) && v[end] != '+' {
			end++
		}
		out.pre = v[1:end]
		if !areIdentifiers(out.pre, true) {
			return out, false
		}
		v = v[end:]
	}
	if v != "" && (v[0] != '+' || !areIdentifiers(v[1:], false)) {
		return out, false
	}
	return out, true
}

// comparePrerelease compares identifier by identifier: numbers by value and below words, words by bytes, fewer below more.
func comparePrerelease(a, b string) int {
	for a != "" && b != "" {
		var ia, ib string
		ia, a = cutIdentifier(a)
		ib, b = cutIdentifier(b)
		numA, numB := digits(ia, 0) == len(ia), digits(ib, 0) == len(ib)
		var c int
		switch {
		case numA && numB:
			c = compareDigits(ia, ib)
		case numA:
			c = -1
		case numB:
			c = 1
		default:
			c = compareText(ia, ib)
		}
		if c != 0 {
			return c
		}
	}
	return sign(len(a) - len(b))
}

// cutIdentifier returns the text before the first dot and the text after it.
func cutIdentifier(s string) (first, rest string) {
	for i := range len(s) {
		if s[i] == '.' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// areIdentifiers reports that s is a list of non-empty identifiers with dots between them. In a pre-release a number has no
// leading zero.
func areIdentifiers(s string, prerelease bool) bool {
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if !isDigit(s[i]) && !isAlpha(s[i]) && s[i] != '-' {
				return false
			}
			continue
		}
		id := s[start:i]
		if id == "" || prerelease && digits(id, 0) == len(id) && !isSemverNumber(id) {
			return false
		}
		start = i + 1
	}
	return true
}

// isSemverNumber reports that the digits s are a number without a leading zero.
func isSemverNumber(s string) bool { return s == "0" || s != "" && s[0] != '0' }

// semverFault says why v is no semantic version; empty means that it is one.
func semverFault(v string) string {
	if _, ok := parseSemver(v); !ok {
		return "does not follow major.minor.patch[-prerelease][+build]"
	}
	return ""
}
