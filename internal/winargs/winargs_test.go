package winargs

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// commandLines are lines with what Windows makes of them; the test under Wine
// asks Windows' own function about the same.
func commandLines() map[string][]string {
	return map[string][]string{
		`"C:\Program Files\X\uninst.exe" /S`:     {`C:\Program Files\X\uninst.exe`, "/S"},
		`C:\X\uninst.exe /S  _?=C:\X`:            {`C:\X\uninst.exe`, "/S", `_?=C:\X`},
		`MsiExec.exe /X{AC76BA86-0000}`:          {"MsiExec.exe", "/X{AC76BA86-0000}"},
		`a.exe "b c" d"e f"g`:                    {"a.exe", "b c", "de fg"},
		`a.exe b\\\"c d\\"e f" g`:                {"a.exe", `b\"c`, `d\e f`, "g"},
		`a.exe C:\dir\ "C:\dir two\\" end`:       {"a.exe", `C:\dir\`, `C:\dir two\`, "end"},
		`a.exe "" x`:                             {"a.exe", "", "x"},
		"a.exe\tb":                               {"a.exe", "b"},
		`"a b\" c`:                               {`a b\`, "c"},
		`a.exe "x`:                               {"a.exe", "x"},
		`a.exe --arg="v w" --x='y z'`:            {"a.exe", "--arg=v w", "--x='y", "z'"},
		`rundll32.exe dfshim.dll,ShArp "a, b c"`: {"rundll32.exe", "dfshim.dll,ShArp", "a, b c"},
	}
}

func TestSplit(t *testing.T) {
	for line, want := range commandLines() {
		if d := cmp.Diff(want, Split(line)); d != "" {
			t.Errorf("%s (-want +got):\n%s", line, d)
		}
	}
	if got := Split(" \t"); got != nil {
		t.Errorf("%q", got)
	}
}

func TestSplitArguments(t *testing.T) {
	for rest, want := range map[string][]string{
		``: nil, `  `: nil, `-s -e cmd.exe -a /c "setup.exe" -s`: {"-s", "-e", "cmd.exe", "-a", "/c", "setup.exe", "-s"},
		`"a b" c`: {"a b", "c"}, `"" x`: {"", "x"}, `a\\b c:\x\`: {`a\\b`, `c:\x\`}, `a\"b`: {`a"b`}, `"a\\" b`: {`a\`, "b"}, `x"y z"w`: {"xy zw"},
		`"a""b c" d`: {`a"b`, "c d"}, `/x"" y`: {"/x", "y"},
	} {
		if got := SplitArguments(rest); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", rest, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) { // written as Microsoft asks, words come back
		words := rapid.SliceOf(rapid.StringMatching(`[a-c"\\ ]{0,6}`)).Draw(t, "words")
		var line []string
		for _, w := range words {
			line = append(line, escape(w))
		}
		if got := SplitArguments(strings.Join(line, " ")); !slices.Equal(got, words) && len(got)+len(words) > 0 {
			t.Fatalf("%q became %q", words, got)
		}
	})
}

// escape writes an argument so that Windows reads it back, as Microsoft
// describes it ("Everyone quotes command line arguments the wrong way").
func escape(arg string) string {
	var b strings.Builder
	b.WriteByte('"')
	slashes := 0
	for _, c := range []byte(arg) {
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

// FuzzSplit: no line breaks it, and what is written as one argument
// comes back as that.
func FuzzSplit(f *testing.F) {
	for line := range commandLines() {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Split(text)
		if (len(got) == 0) != (strings.Trim(text, " \t") == "") {
			t.Fatalf("%q gives %q", text, got)
		}
		if got := Split("a.exe " + escape(text) + " end"); len(got) != 3 || got[1] != text || got[2] != "end" {
			t.Fatalf("%q came back as %q", text, got)
		}
	})
}
