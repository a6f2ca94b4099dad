package vercmp

// Rpm compares two versions written [epoch:]version[-release] as rpm does (rpm-version(7)): a missing epoch is 0, a
// missing release is below any release. It returns -1, 0 or +1.
func Rpm(a, b string) int {
	if a == b {
		return 0
	}
	epochA, a := cutRpmEpoch(a)
	epochB, b := cutRpmEpoch(b)
	if c := compareDigits(epochA, epochB); c != 0 {
		return c
	}
	cutA, cutB := lastHyphen(a), lastHyphen(b)
	if c := RpmPart(a[:cutA], b[:cutB]); c != 0 {
		return c
	}
	if cutA == len(a) || cutB == len(b) {
		return sign((len(a) - cutA) - (len(b) - cutB))
	}
	return RpmPart(a[cutA+1:], b[cutB+1:])
}

// RpmPart compares two versions or two releases, without epoch or hyphen, as the C function rpmvercmp does: runs of
// letters and runs of digits, all else only separates. A number is above letters, "~" is below everything, the end
// included, and "^" is above the end and below everything else. It returns -1, 0 or +1.
func RpmPart(a, b string) int {
	i, j := 0, 0
	for {
		i, j = skipSeparators(a, i), skipSeparators(b, j)
		rankA, rankB := rpmRank(a, i), rpmRank(b, j)
		if rankA != rankB {
			return sign(rankA - rankB)
		}
		var c int
		switch rankA {
		case rankEnd:
			return 0
		case rankTilde, rankCaret:
			i, j = i+1, j+1
		case rankNumber:
			endA, endB := digits(a, i), digits(b, j)
			c = compareDigits(a[i:endA], b[j:endB])
			i, j = endA, endB
		case rankLetters:
			endA, endB := letters(a, i), letters(b, j)
			c = compareText(a[i:endA], b[j:endB])
			i, j = endA, endB
		}
		if c != 0 {
			return c
		}
	}
}

// What may stand at a place of an rpm version, from low to high.
const (
	rankTilde = iota
	rankEnd
	rankCaret
	rankLetters
	rankNumber
)

// rpmRank says what stands at index i, which is not a separator.
func rpmRank(s string, i int) int {
	if i >= len(s) {
		return rankEnd
	}
	switch c := s[i]; {
	case c == '~':
		return rankTilde
	case c == '^':
		return rankCaret
	case isDigit(c):
		return rankNumber
	default:
		return rankLetters
	}
}

// skipSeparators returns the index of the next byte that rpm compares.
func skipSeparators(s string, i int) int {
	for i < len(s) && !isDigit(s[i]) && !isAlpha(s[i]) && s[i] != '~' && s[i] != '^' {
		i++
	}
	return i
}

// letters returns the index after the run of ASCII letters that starts at i.
func letters(s string, i int) int {
	for i < len(s) && isAlpha(s[i]) {
		i++
	}
	return i
}

// cutRpmEpoch is cutEpoch, but an epoch may be empty: rpm reads ":1.0" as "0:1.0".
func cutRpmEpoch(v string) (epoch, rest string) {
	if v != "" && v[0] == ':' {
		return "", v[1:]
	}
	return cutEpoch(v)
}

// rpmFault says why v is no [epoch:]version[-release]; empty means that it is one.
func rpmFault(v string) string {
	epoch, rest := cutRpmEpoch(v)
	if compareDigits(epoch, "4294967295") > 0 { // The header's epoch is 32 bits.
		return "has an epoch that is too big"
	}
	cut := lastHyphen(rest)
	switch {
	case v == "":
		return "is empty"
	case cut == 0 || rest == "":
		return "has an empty version"
	case cut == len(rest)-1:
		return "has an empty release"
	}
	for i := range len(rest) {
		switch c := rest[i]; {
		case !isGraph(c):
			return "holds a blank or a byte outside printable ASCII"
		case c == ':':
			return "has an epoch that is not a number"
		case c == '-' && i != cut:
			return "has more than one hyphen"
		}
	}
	return ""
}
