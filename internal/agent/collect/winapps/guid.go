package winapps

import "strings"

// unpacked turns the form in which the Windows Installer names its registry
// keys into a GUID "{XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX}" in upper case. The
// form is 32 digits: those of the first three groups in reverse, those of each
// byte of the rest swapped. false for what is none.
func unpacked(p string) (string, bool) {
	if len(p) != 32 || strings.Trim(p, hexDigits) != "" {
		return "", false
	}
	s := swap(strings.ToUpper(p))
	return "{" + s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:] + "}", true
}

const hexDigits = "0123456789abcdefABCDEF"

// swap reverses the digits within each field; it is its own inverse.
func swap(s string) string {
	out := make([]byte, 0, len(s))
	at := 0
	for _, width := range []int{8, 4, 4, 2, 2, 2, 2, 2, 2, 2, 2} {
		for i := at + width - 1; i >= at; i-- {
			out = append(out, s[i])
		}
		at += width
	}
	return string(out)
}

func isGUID(s string) bool {
	if len(s) != 38 || s[0] != '{' || s[37] != '}' {
		return false
	}
	for i, c := range []byte(s[1:37]) {
		switch dash := i == 8 || i == 13 || i == 18 || i == 23; {
		case dash && c != '-', !dash && !strings.ContainsRune(hexDigits, rune(c)):
			return false
		}
	}
	return true
}
