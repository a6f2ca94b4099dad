package vercmp

// isDigit, isLower and isAlpha look at ASCII only: every scheme here does, whatever the locale.
func isDigit(c byte) bool { return c-'0' <= 9 }
func isLower(c byte) bool { return c-'a' <= 25 }
func isAlpha(c byte) bool { return c|0x20-'a' <= 25 }

// isGraph reports that c is printable ASCII and not a blank.
func isGraph(c byte) bool { return c > ' ' && c < 0x7f }

// digits returns the index after the run of digits that starts at i.
func digits(s string, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

// compareDigits compares two runs of digits as numbers of any size. No digits at all count as zero.
func compareDigits(a, b string) int {
	for len(a) > 0 && a[0] == '0' {
		a = a[1:]
	}
	for len(b) > 0 && b[0] == '0' {
		b = b[1:]
	}
	if len(a) != len(b) {
		return sign(len(a) - len(b))
	}
	return compareText(a, b)
}

// compareText compares bytes, as strings.Compare does, but is small enough to be cheap on short pieces.
func compareText(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// sign returns -1, 0 or +1.
func sign(n int) int {
	if n < 0 {
		return -1
	}
	if n > 0 {
		return 1
	}
	return 0
}

// malformedFirst orders two strings of which at least one is not a version: below all versions, among themselves by
// bytes. It keeps the order total.
func malformedFirst(a, b string, okA, okB bool) int {
	switch {
	case okA:
		return 1
	case okB:
		return -1
	}
	return compareText(a, b)
}
