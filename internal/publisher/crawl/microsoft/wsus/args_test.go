package wsus

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSplitArgs(t *testing.T) {
	for line, want := range map[string][]string{
		``: nil, `  `: nil, `-s -e cmd.exe -a /c "setup.exe" -s`: {"-s", "-e", "cmd.exe", "-a", "/c", "setup.exe", "-s"},
		`"a b" c`: {"a b", "c"}, `"" x`: {"", "x"}, `a\\b c:\x\`: {`a\\b`, `c:\x\`}, `a\"b`: {`a"b`}, `"a\\" b`: {`a\`, "b"}, `x"y z"w`: {"xy zw"},
	} {
		if got := SplitArgs(line); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) { // quoted as CommandLineToArgvW asks, words come back
		words := rapid.SliceOf(rapid.StringMatching(`[a-c"\\ ]{0,6}`)).Draw(t, "words")
		var line []string
		for _, w := range words {
			line = append(line, quote(w))
		}
		got := SplitArgs(strings.Join(line, " "))
		if len(words) == 0 && len(got) == 0 {
			return
		}
		if !slices.Equal(got, words) {
			t.Fatalf("%q became %q", words, got)
		}
	})
}

func quote(w string) string {
	var b strings.Builder
	b.WriteByte('"')
	slashes := 0
	for _, c := range []byte(w) {
		switch c {
		case '\\':
			slashes++
			continue
		case '"':
			b.WriteString(strings.Repeat(`\`, 2*slashes+1))
		default:
			b.WriteString(strings.Repeat(`\`, slashes))
		}
		slashes = 0
		b.WriteByte(c)
	}
	b.WriteString(strings.Repeat(`\`, 2*slashes) + `"`)
	return b.String()
}
