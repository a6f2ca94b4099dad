package vercmp

// Apk compares two versions as apk-tools 3 does (apk-package(5)):
// digits{.digits}[letter]{_suffix[digits]}[~hash][-rdigits]. A number after the first that starts with 0 is compared as text. The
// suffixes alpha, beta, pre and rc are below the plain version; cvs, svn, git, hg and p above it. It returns -1, 0 or +1.
func Apk(a, b string) int {
	ta, tb := firstApkToken(a), firstApkToken(b)
	for ta.kind == tb.kind && ta.kind < apkEnd {
		if c := compareApkTokens(ta, tb); c != 0 {
			return c
		}
		ta, tb = nextApkToken(a, ta), nextApkToken(b, tb)
	}
	switch {
	case ta.kind == tb.kind:
		return 0
	case ta.kind == apkSuffix && ta.suffix < suffixNone:
		return -1
	case tb.kind == apkSuffix && tb.suffix < suffixNone:
		return 1
	}
	return sign(int(tb.kind) - int(ta.kind))
}

// apkKind is the kind of a token. The order matters: where two versions part, the lower kind is the higher version.
type apkKind uint8

const (
	apkFirst     apkKind = iota // The digits in front.
	apkNumber                   // Digits after a dot.
	apkLetter                   // One letter after the digits.
	apkSuffix                   // A word after "_".
	apkSuffixNum                // The digits after such a word.
	apkHash                     // Hexadecimal digits after "~".
	apkRevision                 // The digits after "-r".
	apkEnd
	apkInvalid
)

// The suffixes in their order; suffixNone stands for the version without any.
const (
	suffixAlpha = iota + 1
	suffixBeta
	suffixPre
	suffixRc
	suffixNone
	suffixCvs
	suffixSvn
	suffixGit
	suffixHg
	suffixP
)

// apkToken is one piece of a version: its text, its suffix's place in the order, and the index after it.
type apkToken struct {
	text   string
	end    int
	kind   apkKind
	suffix uint8
}

// compareApkTokens compares two tokens of the same kind.
func compareApkTokens(a, b apkToken) int {
	switch a.kind {
	case apkSuffix:
		return sign(int(a.suffix) - int(b.suffix))
	case apkFirst, apkSuffixNum, apkRevision:
		return compareDigits(a.text, b.text)
	case apkNumber:
		if a.text[0] != '0' && b.text[0] != '0' {
			return compareDigits(a.text, b.text)
		}
	}
	return compareText(a.text, b.text)
}

// firstApkToken reads the digits that every version starts with.
func firstApkToken(v string) apkToken { return apkDigits(v, 0, apkFirst) }

// apkDigits reads the digits at index i as a token of the given kind; no digits are invalid.
func apkDigits(v string, i int, kind apkKind) apkToken {
	end := digits(v, i)
	if end == i {
		kind = apkInvalid
	}
	return apkToken{kind: kind, text: v[i:end], end: end}
}

// nextApkToken reads the token after t; what may follow depends on t's kind.
func nextApkToken(v string, t apkToken) apkToken {
	i := t.end
	if i >= len(v) {
		return apkToken{kind: apkEnd}
	}
	switch c := v[i]; {
	case isLower(c) && t.kind <= apkNumber:
		return apkToken{kind: apkLetter, text: v[i : i+1], end: i + 1}
	case c == '.' && t.kind <= apkNumber:
		return apkDigits(v, i+1, apkNumber)
	case isDigit(c) && t.kind == apkSuffix:
		return apkDigits(v, i, apkSuffixNum)
	case c == '_' && t.kind <= apkSuffixNum:
		return apkSuffixWord(v, i+1)
	case c == '~' && t.kind < apkHash:
		return apkHashText(v, i+1)
	case c == '-' && t.kind < apkRevision && i+1 < len(v) && v[i+1] == 'r':
		return apkDigits(v, i+2, apkRevision)
	}
	return apkToken{kind: apkInvalid}
}

// apkSuffixWord reads the lower-case word at index i and finds its place in the order.
func apkSuffixWord(v string, i int) apkToken {
	end := i
	for end < len(v) && isLower(v[end]) {
		end++
	}
	t := apkToken{kind: apkSuffix, text: v[i:end], end: end}
	switch t.text {
	case "alpha":
		t.suffix = suffixAlpha
	case "beta":
		t.suffix = suffixBeta
	case "pre":
		t.suffix = suffixPre
	case "rc":
		t.suffix = suffixRc
	case "cvs":
		t.suffix = suffixCvs
	case "svn":
		t.suffix = suffixSvn
	case "git":
		t.suffix = suffixGit
	case "hg":
		t.suffix = suffixHg
	case "p":
		t.suffix = suffixP
	default:
		t.kind = apkInvalid
	}
	return t
}

// apkHashText reads the lower-case hexadecimal digits at index i; none are invalid.
func apkHashText(v string, i int) apkToken {
	end := i
	for end < len(v) && (isDigit(v[end]) || v[end]-'a' <= 5) {
		end++
	}
	if end == i {
		return apkToken{kind: apkInvalid}
	}
	return apkToken{kind: apkHash, text: v[i:end], end: end}
}

// apkFault says why v is no apk version; empty means that it is one.
func apkFault(v string) string {
	if v == "" {
		return "is empty"
	}
	t := firstApkToken(v)
	for t.kind < apkEnd {
		t = nextApkToken(v, t)
	}
	if t.kind == apkInvalid {
		return "does not follow digits{.digits}[letter]{_suffix[digits]}[~hash][-rdigits]"
	}
	return ""
}
