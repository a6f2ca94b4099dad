package vercmp

// WindowsQuad compares two Windows versions a.b.c.d, number by number; a missing number is 0, so "10.0" equals "10.0.0.0".
// Windows itself stores four 16-bit numbers (VS_FIXEDFILEINFO), but products register what they like under
// DisplayVersion: numbers of any size and more than four of them are compared the same way. Strings that are not dotted
// numbers are below all that are. It returns -1, 0 or +1.
func WindowsQuad(a, b string) int {
	okA, okB := isDotted(a), isDotted(b)
	if !okA || !okB {
		return malformedFirst(a, b, okA, okB)
	}
	return compareDotted(a, b)
}

// compareDotted compares two dotted numbers; missing ones are 0.
func compareDotted(a, b string) int {
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		endA, endB := digits(a, i), digits(b, j)
		if c := compareDigits(a[i:endA], b[j:endB]); c != 0 {
			return c
		}
		i, j = min(endA+1, len(a)), min(endB+1, len(b))
	}
	return 0
}

// isDotted reports that v is one or more numbers with single dots between them.
func isDotted(v string) bool {
	after := false // A digit was just read.
	for i := range len(v) {
		switch {
		case isDigit(v[i]):
			after = true
		case v[i] == '.' && after:
			after = false
		default:
			return false
		}
	}
	return after
}

// quadFault says why v is no Windows version; empty means that it is one.
func quadFault(v string) string {
	if !isDotted(v) {
		return "is not made of numbers with dots between them"
	}
	return ""
}
