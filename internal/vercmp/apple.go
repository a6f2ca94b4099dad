package vercmp

// AppleVersion compares two product versions or two builds of an Apple system. It returns -1, 0 or +1.
//
// A product version is dotted numbers, a missing one is 0, and may end in a rapid security response in parentheses:
// 13.4.1 is below 13.4.1 (a), which is below 13.4.1 (c).
//
// A build is the number of the system's generation, a capital letter for the minor release, a number, and perhaps a
// small letter: 24G84 is below 24G90, which is below 24H1. By Apple's practice (its public release notes) the builds of
// a beta are numbered from 5000 to 5999 and end in a letter; they precede the release although their number is higher:
// 24G5065a is below 24G84. A rapid security response has six digits and a letter, 22F770820b, and follows it.
//
// A build says nothing about a product version: [Compare] refuses to compare the two, here builds are above product
// versions, and both are above strings that are neither.
func AppleVersion(a, b string) int {
	ba, isBuildA := parseAppleBuild(a)
	bb, isBuildB := parseAppleBuild(b)
	if isBuildA && isBuildB {
		return compareAppleBuilds(ba, bb)
	}
	dottedA, responseA, okA := parseAppleProduct(a)
	dottedB, responseB, okB := parseAppleProduct(b)
	switch {
	case isBuildA:
		return 1
	case isBuildB:
		return -1
	case !okA || !okB:
		return malformedFirst(a, b, okA, okB)
	}
	if c := compareDotted(dottedA, dottedB); c != 0 {
		return c
	}
	return sign(int(responseA) - int(responseB))
}

// appleBuild is a build in pieces: 24, 'G', 5065, 'a'. suffix is 0 if there is no letter at the end.
type appleBuild struct {
	generation, number string
	minor, suffix      byte
}

// isBeta reports that the number and the letter at the end are those of a beta.
func (b appleBuild) isBeta() bool {
	return b.suffix != 0 && len(b.number) == 4 && b.number[0] == '5'
}

// compareAppleBuilds compares piece by piece, betas first within a minor release.
func compareAppleBuilds(a, b appleBuild) int {
	if c := compareDigits(a.generation, b.generation); c != 0 {
		return c
	}
	if a.minor != b.minor {
		return sign(int(a.minor) - int(b.minor))
	}
	if betaA := a.isBeta(); betaA != b.isBeta() {
		if betaA {
			return -1
		}
		return 1
	}
	if c := compareDigits(a.number, b.number); c != 0 {
		return c
	}
	return sign(int(a.suffix) - int(b.suffix))
}

// parseAppleBuild splits a build; ok is false if v is not one.
func parseAppleBuild(v string) (b appleBuild, ok bool) {
	i := digits(v, 0)
	if i == 0 || i == len(v) || v[i]-'A' > 25 {
		return b, false
	}
	b.generation, b.minor = v[:i], v[i]
	end := digits(v, i+1)
	b.number = v[i+1 : end]
	if end < len(v) && isLower(v[end]) {
		b.suffix = v[end]
		end++
	}
	return b, b.number != "" && end == len(v)
}

// isAppleBuild reports that v is a build, not a product version.
func isAppleBuild(v string) bool {
	_, ok := parseAppleBuild(v)
	return ok
}

// parseAppleProduct splits "13.4.1 (c)" into "13.4.1" and 'c'; without a response the letter is 0.
func parseAppleProduct(v string) (dotted string, response byte, ok bool) {
	const tail = len(" (c)")
	if n := len(v) - tail; n > 0 && v[n] == ' ' && v[n+1] == '(' && isLower(v[n+2]) && v[n+3] == ')' {
		v, response = v[:n], v[n+2]
	}
	return v, response, isDotted(v)
}

// appleFault says why v is no Apple version; empty means that it is one.
func appleFault(v string) string {
	if isAppleBuild(v) {
		return ""
	}
	if _, _, ok := parseAppleProduct(v); !ok {
		return "is neither a product version such as 15.6.1 or 13.4.1 (c) nor a build such as 24G90"
	}
	return ""
}
