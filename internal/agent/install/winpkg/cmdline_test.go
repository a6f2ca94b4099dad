package winpkg

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestSplitCommandLine(t *testing.T) {
	for line, want := range commandLines() {
		if d := cmp.Diff(want, SplitCommandLine(line)); d != "" {
			t.Errorf("%s (-want +got):\n%s", line, d)
		}
	}
	if got := SplitCommandLine(" \t"); got != nil {
		t.Errorf("%q", got)
	}
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

// FuzzSplitCommandLine: no line breaks it, and what is written as one argument
// comes back as that.
func FuzzSplitCommandLine(f *testing.F) {
	for line := range commandLines() {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := SplitCommandLine(text)
		if (len(got) == 0) != (strings.Trim(text, " \t") == "") {
			t.Fatalf("%q gives %q", text, got)
		}
		if got := SplitCommandLine("a.exe " + escape(text) + " end"); len(got) != 3 || got[1] != text || got[2] != "end" {
			t.Fatalf("%q came back as %q", text, got)
		}
	})
}
