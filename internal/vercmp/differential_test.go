package vercmp

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// pair is two versions and what somebody says about them.
type pair struct {
	a, b string
	want int
}

// generate makes n pairs of valid versions. Most second versions are the first with one to three small changes: versions
// that differ early prove nothing. A piece is what one change inserts.
func generate(n int, seed uint64, pieces []string, valid func(string) bool) []pair {
	rng := rand.New(rand.NewPCG(seed, 2026))
	piece := func() string { return pieces[rng.IntN(len(pieces))] }
	out := make([]pair, 0, n)
	for len(out) < n {
		a := strconv.Itoa(rng.IntN(12))
		for range rng.IntN(7) {
			a += piece()
		}
		b := a
		for range 1 + rng.IntN(3) {
			i := rng.IntN(len(b) + 1)
			j := min(i+rng.IntN(3), len(b))
			if rng.IntN(3) == 0 {
				b = b[:i] + b[j:]
			} else {
				b = b[:i] + piece() + b[j:]
			}
		}
		if rng.IntN(2) == 0 {
			a, b = b, a
		}
		if valid(a) && valid(b) {
			out = append(out, pair{a: a, b: b})
		}
	}
	return out
}

// dpkgPieces keep runs of digits short: Dpkg::Version computes with floating point.
func dpkgPieces() []string {
	return []string{
		"0", "1", "9", "00", "10", "2024", ".", ".", ".0", "~", "~~", "~rc1", "~beta", "+", "+b1", "+dfsg", "-", "-1", "-0", "-0ubuntu1",
		"a", "z", "A", "Z", "ds", ":", "1:", "0:", "+deb12u1", "~bpo12+1", "-1.1", "+really", ".a", "~+", "-~", "-+",
	}
}

func validFor(s Scheme) func(string) bool {
	return func(v string) bool { return Valid(s, v) == nil }
}

// TestAgainstDpkgVersion holds Dpkg against Debian's own Perl library on 100,000 generated pairs.
func TestAgainstDpkgVersion(t *testing.T) {
	pairs := generate(100_000, 1, dpkgPieces(), func(v string) bool { return ValidDpkg(v) == nil && longestNumber(v) <= 15 })
	askPerl(t, pairs)
	report(t, pairs, Dpkg)
}

// TestAgainstDpkg holds Dpkg against the dpkg binary, one process a pair. FETTLE_DPKG_PAIRS=100000 runs the whole
// acceptance number; the default keeps the test short.
func TestAgainstDpkg(t *testing.T) {
	n := 2000
	if env := os.Getenv("FETTLE_DPKG_PAIRS"); env != "" {
		var err error
		if n, err = strconv.Atoi(env); err != nil {
			t.Fatalf("FETTLE_DPKG_PAIRS: %v", err)
		}
	}
	// Everything that dpkg compares, also with a warning, and numbers of any length.
	pieces := append(dpkgPieces(), "_", "^", "9999999999999999999999", "%")
	pairs := generate(n, 2, pieces, func(v string) bool { return validFor(DPKG)(v) && v[0] != '-' })
	counts := map[int]int{}
	inParallel(pairs, func(p pair) {
		c := Dpkg(p.a, p.b)
		relation := map[int]string{-1: "lt", 0: "eq", 1: "gt"}[c]
		if out, err := exec.Command("dpkg", "--compare-versions", p.a, relation, p.b).CombinedOutput(); err != nil {
			t.Errorf("dpkg denies %q %s %q: %v %s", p.a, relation, p.b, err, out)
		}
	})
	for _, p := range pairs {
		counts[Dpkg(p.a, p.b)]++
	}
	t.Logf("%d pairs: %d below, %d equal, %d above", n, counts[-1], counts[0], counts[1])
	if len(counts) < 3 {
		t.Error("the pairs do not cover below, equal and above")
	}
}

// TestDpkgValidity holds Valid and ValidDpkg against the dpkg binary on 1,000 strings that are often broken.
func TestDpkgValidity(t *testing.T) {
	graphic := func(v string) bool { return v != "" && v[0] != '-' && !strings.ContainsAny(v, " \t") }
	pairs := generate(500, 3, append(dpkgPieces(), "_", "-", ":", "2147483648:", "é"), graphic)
	refused := [2]int{}
	var mu sync.Mutex
	inParallel(pairs, func(p pair) {
		for _, v := range []string{p.a, p.b} {
			err := exec.Command("dpkg", "--validate-version", v).Run()
			code := 0
			if err != nil {
				code = err.(*exec.ExitError).ExitCode() //nolint:errorlint // The other kinds of error mean that dpkg is missing.
			}
			if ours := ValidDpkg(v); (ours == nil) != (code == 0) {
				t.Errorf("dpkg --validate-version %q: exit %d, ValidDpkg: %v", v, code, ours)
			}
			if ours := Valid(DPKG, v); (ours == nil) != (code < 2 && !strings.ContainsFunc(v, notASCII)) {
				t.Errorf("dpkg --validate-version %q: exit %d, Valid: %v", v, code, ours)
			}
			mu.Lock()
			refused[min(code, 1)]++
			mu.Unlock()
		}
	})
	if refused[0] < 50 || refused[1] < 50 {
		t.Errorf("%d accepted, %d refused: the strings are one-sided", refused[0], refused[1])
	}
}

// TestRealIndex sorts every version of this machine's apt indexes, and of its installed packages, and holds the order
// against Debian's own Perl library.
func TestRealIndex(t *testing.T) {
	versions := realVersions(t)
	slices.SortFunc(versions, Dpkg)
	pairs := make([]pair, 0, 2*len(versions))
	for i := range versions[1:] {
		pairs = append(pairs, pair{a: versions[i], b: versions[i+1]})
	}
	rng := rand.New(rand.NewPCG(4, 2026))
	for range versions {
		pairs = append(pairs, pair{a: versions[rng.IntN(len(versions))], b: versions[rng.IntN(len(versions))]})
	}
	pairs = slices.DeleteFunc(pairs, func(p pair) bool { return longestNumber(p.a) > 15 || longestNumber(p.b) > 15 })
	askPerl(t, pairs)
	report(t, pairs, Dpkg)
	t.Logf("%d different versions", len(versions))
}

// notASCII reports a byte on which we are stricter than dpkg, which only warns.
func notASCII(r rune) bool { return r >= 0x80 }

// realVersions returns every version that this machine's apt and dpkg know, each once.
func realVersions(tb testing.TB) []string {
	tb.Helper()
	text := output(tb, nil, "dpkg-query", "-W", "-f", "Version: ${Version}\n")
	listing := output(tb, nil, "apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages")
	if files := strings.Fields(string(listing)); len(files) > 0 {
		text = append(text, output(tb, nil, "/usr/lib/apt/apt-helper", append([]string{"cat-file"}, files...)...)...)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Version: "); ok {
			seen[v] = true
		}
	}
	versions := make([]string, 0, len(seen))
	for v := range seen {
		if err := ValidDpkg(v); err != nil {
			tb.Errorf("a version from a real index: %v", err)
		}
		versions = append(versions, v)
	}
	if len(versions) < 50 {
		tb.Fatalf("only %d versions: dpkg-query and apt-get gave next to nothing", len(versions))
	}
	slices.Sort(versions)
	return versions
}

// TestAgainstRpm holds Rpm against the rpm binary on 50,000 generated pairs. Without rpm the recorded answers of
// testdata/rpm.txt stand in, see TestRecorded.
func TestAgainstRpm(t *testing.T) {
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("rpm is not installed here (apt-get install rpm); testdata/rpm.txt holds its recorded answers")
	}
	pairs := generate(50_000, 5, rpmPieces(), validFor(RPM))
	var in bytes.Buffer
	for _, p := range pairs {
		fmt.Fprintf(&in, "%s\t%s\n", p.a, p.b)
	}
	file := filepath.Join(t.TempDir(), "pairs")
	if err := os.WriteFile(file, in.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	const lua = `%%{lua: for line in io.lines("%s") do local a, b = line:match("([^\t]*)\t([^\t]*)") print(rpm.vercmp(a, b)) print("\n") end}`
	readAnswers(t, pairs, output(t, nil, "rpm", "--eval", fmt.Sprintf(lua, file)))
	report(t, pairs, Rpm)
}

func rpmPieces() []string {
	return []string{
		"0", "1", "9", "00", "10", "007", "2024", ".", "..", "_", "+", "~", "~~", "~rc1", "^", "^^", "^git1", "-", "-1", "-1.el9", "-0",
		"a", "z", "A", "Z", "el", ".el8_10", ":", "0:", "1:", "99999999999999999999999",
	}
}

// TestRecorded holds the comparison against answers recorded from the vendors' own programs; the files say which.
func TestRecorded(t *testing.T) {
	for file, compare := range map[string]func(a, b string) int{"rpm.txt": Rpm, "apk.txt": Apk} {
		pairs := readVectors(t, filepath.Join("testdata", file))
		if len(pairs) < 1000 {
			t.Errorf("%s holds only %d pairs", file, len(pairs))
		}
		report(t, pairs, compare)
	}
}

// TestSharedVectors reads the vectors that other projects publish, where the workspace has them.
func TestSharedVectors(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "feeds", "versions")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("needs the vectors in shared/feeds/versions beside the repository: %v", err)
	}
	for file, s := range map[string]Scheme{"osv-debian-versions.txt": DPKG, "osv-semver-versions.txt": SemVer, "osv-nuget-versions.txt": Windows} {
		pairs := readVectors(t, filepath.Join(dir, file))
		// Some vectors lie outside a scheme: NuGet's pre-releases, OSV's tolerance for semantic versions of one or five numbers.
		inside := slices.DeleteFunc(pairs, func(p pair) bool { return Valid(s, p.a) != nil || Valid(s, p.b) != nil })
		t.Logf("%s: %d pairs are versions of %s", file, len(inside), s)
		if len(inside) < 9 {
			t.Errorf("%s: only %d pairs are versions of %s", file, len(inside), s)
		}
		report(t, inside, all()[s])
	}
}

// readVectors reads lines "a < b", "a = b", "a > b"; "#" and "//" start a remark.
func readVectors(t *testing.T, file string) []pair {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []pair
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		f := strings.Fields(line)
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "//") {
			continue
		}
		if len(f) != 3 || !strings.Contains("<=>", f[1]) {
			t.Fatalf("%s: %q is not a comparison", file, line)
		}
		out = append(out, pair{a: f[0], b: f[2], want: strings.Index("<=>", f[1]) - 1})
	}
	return out
}

// askPerl fills in what Dpkg::Version says.
func askPerl(t *testing.T, pairs []pair) {
	t.Helper()
	var in bytes.Buffer
	for _, p := range pairs {
		fmt.Fprintf(&in, "%s\t%s\n", p.a, p.b)
	}
	const script = `while (<STDIN>) { chomp; my ($a, $b) = split /\t/; print Dpkg::Version::version_compare($a, $b), "\n" }`
	readAnswers(t, pairs, output(t, &in, "perl", "-MDpkg::Version", "-e", script))
}

// readAnswers puts one number a line into the pairs.
func readAnswers(t *testing.T, pairs []pair, answers []byte) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(answers))
	n := 0
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		c, err := strconv.Atoi(lines.Text())
		if err != nil || n >= len(pairs) {
			t.Fatalf("answer %d of %d: %q", n, len(pairs), lines.Text())
		}
		pairs[n].want = c
		n++
	}
	if n != len(pairs) {
		t.Fatalf("%d answers to %d questions", n, len(pairs))
	}
}

// report fails the test for every pair that compares otherwise than wanted, and if the pairs are one-sided.
func report(t *testing.T, pairs []pair, compare func(a, b string) int) {
	t.Helper()
	counts, wrong := map[int]int{}, 0
	for _, p := range pairs {
		counts[p.want]++
		if got := compare(p.a, p.b); got != p.want {
			if wrong++; wrong < 20 {
				t.Errorf("%q against %q: got %d, want %d", p.a, p.b, got, p.want)
			}
		}
	}
	t.Logf("%d pairs: %d below, %d equal, %d above; %d wrong", len(pairs), counts[-1], counts[0], counts[1], wrong)
	if counts[-1] == 0 || counts[0] == 0 {
		t.Error("the pairs do not cover below and equal")
	}
}

// output runs a program and returns what it prints. A program that is missing fails the test.
func output(tb testing.TB, in *bytes.Buffer, name string, args ...string) []byte {
	tb.Helper()
	cmd := exec.Command(name, args...)
	if in != nil {
		cmd.Stdin = in
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v\n%s", name, err, errs.String())
	}
	return out
}

// inParallel calls do for each pair, four at a time.
func inParallel(pairs []pair, do func(pair)) {
	var group sync.WaitGroup
	work := make(chan pair)
	for range 4 {
		group.Go(func() {
			for p := range work {
				do(p)
			}
		})
	}
	for _, p := range pairs {
		work <- p
	}
	close(work)
	group.Wait()
}

// longestNumber returns the length of the longest run of digits.
func longestNumber(v string) int {
	longest := 0
	for i := 0; i < len(v); i++ {
		end := digits(v, i)
		longest = max(longest, end-i)
		i = end
	}
	return longest
}
