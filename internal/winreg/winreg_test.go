package winreg

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
)

// sample reads testdata/sample.reg, which the tests under Wine import too.
func sample(t testing.TB) *Memory {
	t.Helper()
	data, err := os.ReadFile("testdata/sample.reg")
	if err != nil {
		t.Fatal(err)
	}
	m := &Memory{}
	if err := m.Parse(data); err != nil {
		t.Fatal(err)
	}
	return m
}

// readings are what each registry must answer of the sample.
func readings(t *testing.T, r Registry) {
	t.Helper()
	k, err := r.Open(`HKEY_LOCAL_MACHINE\\Software\fettle test\`, Native)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close() }() // read only
	got := map[string]string{}
	names, err := k.Values()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		v, err := k.Value(name)
		if err != nil {
			t.Fatal(name, err)
		}
		got[name] = v.Type.String() + "=" + strings.Join(v.Texts(), "|")
	}
	want := map[string]string{
		"": "sz=unnamed", "Text": `sz=back\slash "quotes"`, "Umlaut": "sz=Straße 東", "Empty": "sz=", "Number": "dword=4294967295",
		"Big": "qword=18446744073709551615", "Path": `expand_sz=%ProgramFiles%\X`, "Many": "multi_sz=one||three", "None": "multi_sz=",
		"Bytes": "binary=0001ff", "No end": "sz=ab", "Odd": "sz=a", "Short number": "dword=01", "Reverse": "dword_big_endian=258",
		"Strange": "type 1193046=00",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if keys, err := k.Keys(); err != nil || !slices.Equal(keys, []string{"a", "B", "ç"}) {
		t.Errorf("keys %q, %v", keys, err)
	}
	if got := TextAt(r, `HKLM\SOFTWARE\FETTLE TEST\b\DEEP`, "WHERE"); got != "below" {
		t.Errorf("without case: %q", got)
	}
	var below []string
	err = Sub(r, `HKLM\SOFTWARE\Fettle Test`, Native, func(name string, k Key) error {
		n, _ := Number(k, "N")
		below = append(below, name+string(rune('0'+n)))
		return nil
	})
	if err != nil || !slices.Equal(below, []string{"a1", "B2", "ç0"}) {
		t.Errorf("below: %q, %v", below, err)
	}
	refusals(t, r, k)
}

func refusals(t *testing.T, r Registry, k Key) {
	t.Helper()
	for path, want := range map[string]fault.Code{
		`HKLM\SOFTWARE\Fettle Test\none`: fault.NotFound, `HKLM\SOFTWARE\Fettle Test\a\none\deeper`: fault.NotFound,
		`HKEY_PERFORMANCE_DATA`: fault.Invalid, ``: fault.Invalid, `SOFTWARE`: fault.Invalid, "HKLM\\SOFT\x00WARE": fault.Invalid,
	} {
		if got, err := r.Open(path, Native); !fault.Is(err, want) {
			t.Errorf("%q gives %v, %v, want %s", path, got, err, want)
		}
	}
	if _, err := k.Value("not there"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a value that is not there gives %v", err)
	}
	if err := Sub(r, `HKLM\SOFTWARE\Fettle Test\none`, Native, func(string, Key) error { return fault.New(fault.Internal, "no") }); err != nil {
		t.Errorf("below nothing: %v", err)
	}
	if TextAt(r, `HKLM\none`, "x") != "" || Text(k, "not there") != "" {
		t.Error("what is not there has a text")
	}
	if _, ok := Number(k, "Text"); ok {
		t.Error("a text has a number")
	}
}

func TestMemory(t *testing.T) {
	m := sample(t)
	readings(t, m)
	if _, err := m.Open(`HKLM\SOFTWARE\Fettle Test\gone`, Native); !fault.Is(err, fault.NotFound) {
		t.Errorf("a key that was taken away gives %v", err)
	}
	for view, want := range map[string]string{Native: "64", View64: "64", View32: "32"} {
		k, err := m.Open(`HKLM\Software\Fettle Views`, view)
		if err != nil {
			t.Fatal(view, err)
		}
		if got := Text(k, "View"); got != want {
			t.Errorf("view %q: %q", view, got)
		}
	}
	if k, err := m.Open(`HKLM\SOFTWARE\WOW6432Node\Fettle Views`, View32); err != nil || Text(k, "View") != "32" {
		t.Errorf("the 32-bit view by its other name: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	const head = "Windows Registry Editor Version 5.00\n"
	for name, text := range map[string]string{
		"nothing": "", "another form": "REGEDIT4\n", "a value without a key": head + `"a"="b"`, "no root": head + `[SOFTWARE\x]`,
		"a name without an end": head + "[HKLM\\x]\n\"a=1", "a text without an end": head + "[HKLM\\x]\n\"a\"=\"b", "more behind a text": head + "[HKLM\\x]\n\"a\"=\"b\"c",
		"a large number": head + "[HKLM\\x]\n\"a\"=dword:100000000", "odd hex": head + "[HKLM\\x]\n\"a\"=hex:0", "an unknown form": head + "[HKLM\\x]\n\"a\"=hex(x):00",
		"no form": head + "[HKLM\\x]\n\"a\"=1",
	} {
		if err := (&Memory{}).Parse([]byte(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTexts: what TextValue writes is what Texts reads.
func TestTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOf(rapid.StringMatching(`[^\x00\x{D800}-\x{DFFF}]+`)).Draw(t, "texts")
		if got := TextValue(MultiSZ, all...).Texts(); !slices.Equal(got, all) {
			t.Fatalf("%q became %q", all, got)
		}
		for _, s := range all {
			if got := TextValue(SZ, s).Text(); got != s {
				t.Fatalf("%q became %q", s, got)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/sample.reg")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(append([]byte{0xff, 0xfe}, encode("Windows Registry Editor Version 5.00\r\n[HKLM\\a]\r\n@=hex:\\\r\n  00")...))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &Memory{}
		if err := m.Parse(data); err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		walk(t, &m.top, 0)
	})
}

// walk reads all that a key holds.
func walk(t *testing.T, k Key, depth int) {
	names, err := k.Values()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		v, err := k.Value(name)
		if err != nil {
			t.Fatalf("value %q at depth %d: %v", name, depth, err)
		}
		v.Texts()
	}
	if err := Below(k, func(_ string, sub Key) error { walk(t, sub, depth+1); return nil }); err != nil {
		t.Fatal(err)
	}
}
