package deb822_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/deb822"
	"github.com/fettlehq/fettle/internal/fault"
)

type pair struct{ Name, Value string }

func readAll(r io.Reader, opt deb822.Options) ([][]pair, error) {
	var out [][]pair
	rd := deb822.NewReader(r, opt)
	for rd.Next() {
		var st []pair
		for name, value := range rd.All() {
			st = append(st, pair{string(name), string(value)})
		}
		out = append(out, st)
	}
	return out, rd.Err()
}

func TestReader(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		opt      deb822.Options
		want     [][]pair
	}{
		{"empty", "", deb822.Options{}, nil},
		{"only blank lines", "\n\n\r\n\n", deb822.Options{}, nil},
		{"one", "Package: a\nVersion: 1\n", deb822.Options{}, [][]pair{{{"Package", "a"}, {"Version", "1"}}}},
		{"no final line break", "Package: a", deb822.Options{}, [][]pair{{{"Package", "a"}}}},
		{"several blank lines between", "\n\nA: 1\n\n\n\nB: 2\n\n", deb822.Options{}, [][]pair{{{"A", "1"}}, {{"B", "2"}}}},
		{"windows line ends", "A: 1\r\nB: 2\r\n\r\nC: 3\r\n", deb822.Options{}, [][]pair{{{"A", "1"}, {"B", "2"}}, {{"C", "3"}}}},
		{"colon in the value", "Version: 1:2.0-3", deb822.Options{}, [][]pair{{{"Version", "1:2.0-3"}}}},
		{"no blank after the colon", "A:1\nB:\t 2 \n", deb822.Options{}, [][]pair{{{"A", "1"}, {"B", "2"}}}},
		{"empty value", "A:\nB: \n", deb822.Options{}, [][]pair{{{"A", ""}, {"B", ""}}}},
		{"several lines", "SHA256:\n aa 1 f\n bb 2 g\nB: 2\n", deb822.Options{}, [][]pair{{{"SHA256", "\n aa 1 f\n bb 2 g"}, {"B", "2"}}}},
		{"a line of blanks continues, as in apt", "D: x\n \n y\n", deb822.Options{}, [][]pair{{{"D", "x\n \n y"}}}},
		{"tab continues", "D: x\n\ty\n", deb822.Options{}, [][]pair{{{"D", "x\n\ty"}}}},
		{
			"picked fields, in the order asked for, whatever the case", "Package: a\nSize: 3\nversion: 1\nDescription: d\n more\n\nPackage: b\n",
			deb822.Options{Fields: []string{"Version", "Package"}},
			[][]pair{{{"version", "1"}, {"Package", "a"}}, {{"Package", "b"}}},
		},
		{
			"comments", "# top\nA: 1\n# mid\n two\n # not a comment\n#c\n three\nB: 2\n#x\n\n#only\n\nC: 3\n",
			deb822.Options{Comments: true},
			[][]pair{{{"A", "1\n two\n # not a comment\n three"}, {"B", "2"}}, {{"C", "3"}}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
				got, err := readAll(wrap(strings.NewReader(tc.in)), tc.opt)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		opt      deb822.Options
		line     int
		msg      string
	}{
		{"no colon", "A: 1\n\n<html>\n", deb822.Options{}, 3, `expected "Field: value", found "<html>"`},
		{"no colon among picked fields", "A: 1\nfoo\n", deb822.Options{Fields: []string{"A"}}, 2, "expected"},
		{"starts with a continuation", "A: 1\n\n b\n", deb822.Options{}, 3, "continuation"},
		{"no name", ": 1\n", deb822.Options{}, 1, "expected"},
		{"comment where none is allowed", "#A: 1\n", deb822.Options{}, 1, "not a field name"},
		{"blank in the name", "A b: 1\n", deb822.Options{}, 1, "not a field name"},
		{"html", "<a href=x:y>", deb822.Options{Fields: []string{"Package"}}, 1, "not a field name"},
		{"twice", "A: 1\nB: 2\na: 3\n", deb822.Options{}, 3, "field a occurs twice"},
		{"picked twice", "A: 1\nB: 2\na: 3\n", deb822.Options{Fields: []string{"A"}}, 3, "field a occurs twice"},
		{"long line", "A: 1\nB: " + strings.Repeat("x", 100) + "\n", deb822.Options{MaxLine: 64}, 2, "longer than 64 bytes"},
		{"long line without end", "B: " + strings.Repeat("x", 1000), deb822.Options{MaxLine: 64}, 1, "longer than 64 bytes"},
		{"long stanza", "B: 1\n" + strings.Repeat(" x\n", 1000), deb822.Options{MaxStanza: 300}, 100, "stanza longer than 300 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := readAll(iotest.OneByteReader(strings.NewReader(tc.in)), tc.opt)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), fmt.Sprintf("line %d: ", tc.line)) || !strings.Contains(err.Error(), tc.msg) {
				t.Fatalf("got %v, want line %d: %s", err, tc.line, tc.msg)
			}
		})
	}
	var many strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, "F%d: x\n", i)
	}
	if _, err := readAll(strings.NewReader(many.String()), deb822.Options{}); err == nil || !strings.Contains(err.Error(), "more than 1024 fields") {
		t.Errorf("5000 fields: %v", err)
	}
}

func TestReaderKeepsReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := readAll(io.MultiReader(strings.NewReader("A: 1\n"), iotest.ErrReader(broken)), deb822.Options{})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
}

func TestRawAndLine(t *testing.T) {
	r := deb822.NewReader(strings.NewReader("\nA: 1\n b\n\n\nC: 3"), deb822.Options{Fields: []string{"X"}})
	type rawLine struct {
		Raw  string
		Line int
	}
	var got []rawLine
	for r.Next() {
		got = append(got, rawLine{string(r.Raw()), r.Line()})
	}
	if d := cmp.Diff([]rawLine{{"A: 1\n b", 2}, {"C: 3", 6}}, got); d != "" {
		t.Error(d)
	}
}

func TestLines(t *testing.T) {
	var got []string
	for l := range deb822.Lines([]byte("short text\n long\n .\n\t end \r")) {
		got = append(got, string(l))
	}
	if d := cmp.Diff([]string{"short text", "long", "", "end"}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"a", "b", "c"}, deb822.Words([]byte("a  b\n c"))); d != "" {
		t.Error(d)
	}
}

// TestAgreesWithDpkgQuery reads this machine's own status file and compares with what dpkg itself says.
func TestAgreesWithDpkgQuery(t *testing.T) {
	want, err := exec.Command("dpkg-query", "-W", "-f", "${Package} ${Architecture} ${Version} ${Status}\n").Output()
	if err != nil {
		t.Fatalf("dpkg-query is needed: %v", err)
	}
	f, err := os.Open("/var/lib/dpkg/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]bool{}
	r := deb822.NewReader(f, deb822.Options{Fields: []string{"Package", "Architecture", "Version", "Status"}})
	for r.Next() {
		seen[fmt.Sprintf("%s %s %s %s", r.At(0), r.At(1), r.At(2), r.At(3))] = true
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	n := 0
	for sc := bufio.NewScanner(bytes.NewReader(want)); sc.Scan(); n++ {
		if !seen[sc.Text()] {
			t.Errorf("dpkg-query names %q, the reader does not", sc.Text())
		}
	}
	if n == 0 || n != len(seen) {
		t.Errorf("dpkg-query names %d packages, the reader %d", n, len(seen))
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("Package: a\nVersion: 1\n\nPackage: b\n"), true)
	f.Add([]byte("# c\nA: 1\n# d\n e\n\n"), true)
	f.Add([]byte("SHA256:\n aa 1 f\n bb 2 g\r\n\r\nB:2"), false)
	f.Add([]byte(" x\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, comments bool) {
		all, err := readAll(bytes.NewReader(data), deb822.Options{Comments: comments})
		slow, slowErr := readAll(iotest.OneByteReader(bytes.NewReader(data)), deb822.Options{Comments: comments})
		if d := cmp.Diff(all, slow); d != "" || fmt.Sprint(err) != fmt.Sprint(slowErr) {
			t.Fatalf("depends on how the bytes arrive: %s\n%v\n%v", d, err, slowErr)
		}
		if err != nil {
			return
		}
		if len(all) > 0 {
			first := all[0][0].Name
			pick, err := readAll(bytes.NewReader(data), deb822.Options{Comments: comments, Fields: []string{first}})
			if err != nil || len(pick) != len(all) {
				t.Fatalf("picking %q: %d stanzas, %v; all: %d", first, len(pick), err, len(all))
			}
		}
		// What was read, written out again, reads the same.
		var out bytes.Buffer
		for _, st := range all {
			for _, p := range st {
				fmt.Fprintf(&out, "%s: %s\n", p.Name, p.Value)
			}
			out.WriteByte('\n')
		}
		again, err := readAll(&out, deb822.Options{})
		if d := cmp.Diff(all, again); err != nil || d != "" {
			t.Fatalf("round trip: %v %s", err, d)
		}
	})
}

func index(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "Package: libexample%d-dev\nSource: example\nVersion: 1:%d.2.3-4+deb12u%d\nInstalled-Size: 1234\nMaintainer: Someone <someone@archive.example>\n"+
			"Architecture: amd64\nDepends: libc6 (>= 2.34), libexample%d (= 1.2.3), libfoo-dev, libbar-dev (>= 2.0~), libbaz1 | libqux2\nDescription: library for examples - development files\n"+
			"Multi-Arch: same\nHomepage: https://www.archive.example/example\nDescription-md5: 0123456789abcdef0123456789abcdef\nTag: devel::library, role::devel-lib, implemented-in::c, field::examples\n"+
			"Section: libdevel\nPriority: optional\nFilename: pool/main/e/example/libexample%d-dev_1.2.3-4_amd64.deb\nSize: 123456\nMD5sum: 0123456789abcdef0123456789abcdef\n"+
			"SHA256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\n", i, i%30, i%9, i, i)
	}
	return b.Bytes()
}

// TestPickingDoesNotAllocate keeps the promise that the agent's scan rests on: the cost of a stanza is its bytes.
func TestPickingDoesNotAllocate(t *testing.T) {
	data := index(1000)
	opt := deb822.Options{Fields: []string{"Package", "Version", "Architecture"}}
	allocs := testing.AllocsPerRun(10, func() {
		r := deb822.NewReader(bytes.NewReader(data), opt)
		for r.Next() {
		}
	})
	if allocs > 8 {
		t.Errorf("%.0f allocations for 1000 stanzas, want a handful for the whole reader", allocs)
	}
}

func BenchmarkReader(b *testing.B) {
	data := index(60000)
	for name, opt := range map[string]deb822.Options{"all": {}, "pick6": {Fields: []string{"Package", "Version", "Architecture", "Filename", "Size", "SHA256"}}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				r, n := deb822.NewReader(bytes.NewReader(data), opt), 0
				for r.Next() {
					n++
				}
				if r.Err() != nil || n != 60000 {
					b.Fatal(n, r.Err())
				}
			}
		})
	}
}
