package endpoint

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/pefile"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/wsus/sdp"
	"github.com/fettlehq/fettle/internal/vercmp"
	"github.com/fettlehq/fettle/test/lab"
	"github.com/fettlehq/fettle/test/lab/wine"
)

// realRules are all rules of a maker's real catalog.
func realRules(t *testing.T) (rules []detect.Rule) {
	t.Helper()
	packages := 0
	for name, text := range feedtest.Packages(t) {
		p, err := sdp.ParsePackage(text)
		if err != nil {
			t.Fatal(name, err)
		}
		packages++
		rules = append(rules, p.Applicable)
		for _, i := range p.Items {
			rules = append(rules, i.Applicable, i.Installed)
		}
	}
	t.Logf("%d packages, %d rules", packages, len(rules))
	return rules
}

// leaves are the distinct tests of files and of the registry within rules, at
// most limit of each.
func leaves(rules []detect.Rule, limit int) (files, values []detect.Rule) {
	seen := map[string]bool{}
	var walk func(detect.Rule)
	walk = func(r detect.Rule) {
		for _, child := range append(append([]detect.Rule{}, r.All...), r.Any...) {
			walk(child)
		}
		switch {
		case r.Not != nil:
			walk(*r.Not)
		case r.FileVersion != nil && !seen[r.FileVersion.Path] && len(files) < limit:
			seen[r.FileVersion.Path] = true
			files = append(files, r)
		case r.RegistryValue != nil && !seen[r.RegistryValue.Name+r.RegistryValue.Data] && len(values) < limit:
			seen[r.RegistryValue.Name+r.RegistryValue.Data] = true
			values = append(values, r)
		}
	}
	for _, r := range rules {
		walk(r)
	}
	return files, values
}

// place is where a rule's file lies on Wine's Windows.
func place(t *testing.T, path string) string {
	t.Helper()
	for name, folder := range map[string]string{
		"{CSIDL_SYSTEM}": `C:\windows\system32`, "{CSIDL_SYSTEMX86}": `C:\windows\syswow64`, "{CSIDL_WINDOWS}": `C:\windows`,
		"{CSIDL_PROGRAM_FILES}": `C:\Program Files`, "{CSIDL_PROGRAM_FILESX86}": `C:\Program Files (x86)`,
	} {
		if rest, ok := strings.CutPrefix(path, name); ok {
			return folder + rest
		}
	}
	t.Fatalf("the folder of %s is not known to this test", path)
	return ""
}

// TestRealRulesOnWindows evaluates every rule of a maker's real catalog on a
// Windows machine, and makes some come true with files and values.
func TestRealRulesOnWindows(t *testing.T) {
	t.Parallel()
	rules := realRules(t)
	files, values := leaves(rules, 40)
	if len(files) < 20 || len(values) < 3 {
		t.Fatalf("only %d tests of files and %d of values: this proves little", len(files), len(values))
	}
	fleet, err := lab.NewFleet(t.Context(), "", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Close(); err != nil {
			t.Error(err)
		}
	})
	h, err := wine.Start(t.Context(), fleet, "rules", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(t.TempDir(), "ruleprobe.exe")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", exe, "./ruleprobe")
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.CopyIn(exe, `C:\lab\ruleprobe.exe`))
	ask := func(rules []detect.Rule) (verdicts []detect.Verdict) {
		t.Helper()
		data, err := json.Marshal(rules)
		must(err)
		must(h.WriteFile(`C:\lab\rules.json`, data))
		out, err := h.Run(t.Context(), `C:\lab\ruleprobe.exe`, `C:\lab\rules.json`)
		must(err)
		must(json.Unmarshal([]byte(out), &verdicts))
		if len(verdicts) != len(rules) {
			t.Fatalf("%d verdicts for %d rules", len(verdicts), len(rules))
		}
		return verdicts
	}

	for i, v := range ask(rules) {
		if v.Value == detect.Undetermined {
			t.Errorf("rule %d: %s", i, v.Reason())
		}
	}
	for i, v := range ask(slices.Concat(files, values)) {
		if v.Value != detect.False {
			t.Errorf("before: %d: %s %+v", i, v.Value, v.Evidence)
		}
	}

	const program = "../../internal/pefile/testdata/version-amd64.dll"
	f, err := os.Open(program)
	must(err)
	defer f.Close()
	info, err := f.Stat()
	must(err)
	pe, err := pefile.Read(f, info.Size())
	must(err)
	version := pe.Version.FileVersion.String()
	for _, r := range files {
		must(h.CopyIn(program, place(t, r.FileVersion.Path)))
	}
	last := values[len(values)-1].RegistryValue
	must(h.SetRegistry(t.Context(), last.Key, last.Name, last.Data))
	reached := 0
	verdicts := ask(slices.Concat(files, values))
	for i, r := range files {
		c, err := vercmp.Compare(vercmp.Windows, version, r.FileVersion.Version)
		must(err)
		want := detect.False
		if r.FileVersion.Op != detect.GE {
			t.Fatalf("the test knows no operator %s", r.FileVersion.Op)
		}
		if c >= 0 {
			want = detect.True
			reached++
		}
		if verdicts[i].Value != want {
			t.Errorf("%s: %s, want %s: %+v", r.FileVersion.Path, verdicts[i].Value, want, verdicts[i].Evidence)
		}
	}
	for i, r := range values {
		same := r.RegistryValue.Name == last.Name && r.RegistryValue.Key == last.Key
		want := map[bool]detect.Value{true: detect.True, false: detect.False}[same && r.RegistryValue.Data == last.Data]
		if got := verdicts[len(files)+i].Value; r.RegistryValue.Op == detect.EQ && got != want {
			t.Errorf("%+v: %s, want %s", *r.RegistryValue, got, want)
		}
	}
	t.Logf("%d of %d files reach their version with %s", reached, len(files), version)
	if reached == 0 || reached == len(files) {
		t.Error("all files compare alike: this proves little")
	}
}
