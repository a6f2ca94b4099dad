package vercmp

// Dpkg compares two versions as dpkg does (Debian Policy 5.6.12, deb-version(7)): epochs as numbers, then the upstream
// versions, then the revisions, each as alternating runs of non-digits and digits. A missing epoch is 0, a missing
// revision equals "0", and "~" sorts below everything, the end included. It returns -1, 0 or +1.
func Dpkg(a, b string) int {
	if a == b {
		return 0
	}
	epochA, a := cutEpoch(a)
	epochB, b := cutEpoch(b)
	if epochA != epochB {
		if c := compareDigits(epochA, epochB); c != 0 {
			return c
		}
	}
	cutA, cutB := lastHyphen(a), lastHyphen(b)
	if c := compareRuns(a[:cutA], b[:cutB]); c != 0 {
		return c
	}
	return compareRuns(afterHyphen(a, cutA), afterHyphen(b, cutB))
}

// ValidDpkg reports why v is not a version by Debian Policy 5.6.12; nil means that it is one. It agrees with
// `dpkg --validate-version`, except that blanks around the version are refused too. Packages from outside Debian may
// carry versions that dpkg installs with a warning: [Valid] lets those pass.
func ValidDpkg(v string) error {
	if fault := dpkgFault(v); fault != "" {
		return malformed(DPKG, v, fault)
	}
	epoch, rest := cutEpoch(v)
	cut := lastHyphen(rest)
	if !isDigit(rest[0]) {
		return malformed(DPKG, v, "does not start with a digit")
	}
	for i := range len(rest) {
		switch c := rest[i]; {
		case isDigit(c), isAlpha(c), c == '.', c == '+', c == '~':
		case c == '-' && i <= cut:
		case c == ':' && i < cut && len(epoch) > 0:
		default:
			return malformed(DPKG, v, "holds a character that is not allowed")
		}
	}
	return nil
}

// dpkgFault says why dpkg would refuse to compare v; empty means that it would not.
func dpkgFault(v string) string {
	if v == "" {
		return "is empty"
	}
	colon := -1
	for i := range len(v) {
		if !isGraph(v[i]) {
			return "holds a blank or a byte outside printable ASCII"
		}
		if v[i] == ':' && colon < 0 {
			colon = i
		}
	}
	epoch, rest := cutEpoch(v)
	switch cut := lastHyphen(rest); {
	case colon >= 0 && len(epoch) != colon || colon == 0:
		return "has an epoch that is not a number"
	case compareDigits(epoch, "2147483647") > 0: // INT_MAX, as dpkg.
		return "has an epoch that is too big"
	case rest == "":
		return "has nothing after the epoch"
	case cut == 0:
		return "has an empty upstream version"
	case cut == len(rest)-1:
		return "has an empty revision"
	}
	return ""
}

// cutEpoch splits "2:1.0" into "2" and "1.0". Without digits and a colon in front the epoch is empty.
func cutEpoch(v string) (epoch, rest string) {
	i := digits(v, 0)
	if i > 0 && i < len(v) && v[i] == ':' {
		return v[:i], v[i+1:]
	}
	return "", v
}

// lastHyphen returns the index of the last hyphen, the length if there is none.
func lastHyphen(v string) int {
	for i := len(v) - 1; i >= 0; i-- {
		if v[i] == '-' {
			return i
		}
	}
	return len(v)
}

// afterHyphen returns what follows the hyphen at index cut.
func afterHyphen(v string, cut int) string {
	if cut >= len(v) {
		return ""
	}
	return v[cut+1:]
}

// compareRuns compares two upstream versions or two revisions: in turn a run of non-digits, byte by byte in dpkg's own
// order, and a run of digits as a number.
func compareRuns(a, b string) int {
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		for i < len(a) && !isDigit(a[i]) || j < len(b) && !isDigit(b[j]) {
			if c := dpkgOrder(a, i) - dpkgOrder(b, j); c != 0 {
				return sign(c)
			}
			i++
			j++
		}
		for i < len(a) && a[i] == '0' {
			i++
		}
		for j < len(b) && b[j] == '0' {
			j++
		}
		first := 0
		for i < len(a) && j < len(b) && isDigit(a[i]) && isDigit(b[j]) {
			if first == 0 {
				first = int(a[i]) - int(b[j])
			}
			i++
			j++
		}
		switch {
		case i < len(a) && isDigit(a[i]):
			return 1
		case j < len(b) && isDigit(b[j]):
			return -1
		case first != 0:
			return sign(first)
		}
	}
	return 0
}

// dpkgOrder ranks the byte at index i: tilde, then the end or a digit, then letters, then everything else.
func dpkgOrder(s string, i int) int {
	if i >= len(s) {
		return 0
	}
	switch c := s[i]; {
	case isDigit(c):
		return 0
	case isAlpha(c):
		return int(c)
	case c == '~':
		return -1
	default:
		return int(c) + 256
	}
}
