//go:build !race

package winget

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/patch"
)

// feed is a file of the vendors' real documents, which lie beside the
// repository; without them the test is skipped.
func feed(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "../../../../../shared/feeds", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skip("the vendors' real feeds are not here:", path)
	}
	return path
}

// realIndex reads an index file.
func realIndex(t testing.TB, name string) map[string]string {
	t.Helper()
	f, err := os.Open(feed(t, "third-party/winget/"+name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	n, err := ReadIndex(t.Context(), f, info.Size(), func(x Indexed) { out[x.Identifier] = x.Version })
	if err != nil || n != len(out) {
		t.Fatalf("%d rows, %d packages, %v", n, len(out), err)
	}
	return out
}

// realBuild makes the patches of the real manifests, as if all of their
// installers were fetched, with the CVEs of the real records.
func realBuild(t testing.TB, records flaws) (folded, *builder) {
	t.Helper()
	root, err := os.OpenRoot(feed(t, "third-party/winget/manifests"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	all, err := readFolder(t.Context(), root.FS(), follow{"**"})
	if err != nil {
		t.Fatal(err)
	}
	b := (&Source{cfg: Config{Keep: defaultKeep}}).builder()
	b.sizes, b.flaws = map[string]int64{}, records
	b.add(all.Versions)
	for _, r := range b.wanted() {
		b.sizes[r.installer.SHA256] = 1
	}
	b.build()
	return all, b
}

// TestDocs holds the counts in docs/winget.md against the real documents.
func TestDocs(t *testing.T) {
	list, table := realIndex(t, "index.v2.json.zst"), realIndex(t, "index.v2.csv.zst")
	for id, version := range table {
		if list[id] != version {
			t.Errorf("%s is %s in one index and %s in the other", id, list[id], version)
		}
	}
	all, b := realBuild(t, nil)
	for _, r := range all.Rejected {
		t.Errorf("rejected: %+v", r)
	}
	installable := 0
	for _, p := range b.out {
		if fetched(p) {
			installable++
		}
	}
	text, err := os.ReadFile("../../../../docs/winget.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{
		"packages in the index (JSON)": len(list), "packages in the index (CSV)": len(table), "manifest files": all.Files,
		"packages with manifests": b.tally.Packages, "versions": len(all.Versions), "installers in them": b.tally.Installers,
		"installers that can be published": b.tally.Usable, "patches": len(b.out), "patches that can be installed once their installers are proven": installable,
	}
	for why, of := range b.tally.Left {
		rows["left out: "+why] = len(of)
	}
	for label, n := range rows {
		if row := "| " + label + " | " + thousands(n) + " |"; !strings.Contains(string(text), row+"\n") {
			t.Errorf("docs/winget.md lacks %q", row)
		}
	}
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// TestRealManifests looks at what becomes of the manifests that are tricky.
func TestRealManifests(t *testing.T) {
	_, b := realBuild(t, nil)
	byID := map[patch.ID]patch.Patch{}
	for _, p := range b.out {
		byID[p.ID] = p
	}
	seven := byID["winget:7zip.7zip:26.02:amd64:exe"]
	if seven.Install.Restores != "winget:7zip.7zip:25.01:amd64:exe" || !slices.Equal(seven.Install.Argv, []string{"{payload}", "/S"}) || seven.Items[0].Name != "7-zip" {
		t.Errorf("7-Zip: %+v", seven)
	}
	if p := byID["winget:Python.Python.3.13:3.13.15:amd64:burn"]; p.Items[0].Version != "3.13.15150.0" ||
		!slices.Equal(p.Install.Argv, []string{"{payload}", "/quiet", "/norestart", "InstallAllUsers=1", "PrependPath=1"}) {
		t.Errorf("Python: %+v", p)
	}
	if p := byID["winget:Python.Python.3.13:3.13.15:amd64:burn:user"]; fetched(p) || p.Install.Scope != "user" {
		t.Errorf("Python for a user: %+v", p)
	}
	if p := byID["winget:Adobe.Acrobat.Reader.64-bit:26.001.21789:amd64:exe"]; p.Install.ExitCodes[1618] != patch.ExitBusy || p.Install.ExitCodes[1638] != patch.ExitNotNeeded ||
		!slices.Equal(p.Install.Argv, []string{"{payload}", "-sfx_nu", "/sAll", "/rs", "/msi"}) {
		t.Errorf("Acrobat Reader: %+v", p)
	}
	if p := byID["winget:EclipseAdoptium.Temurin.21.JRE:21.0.12.101:amd64:wix"]; !slices.Equal(p.Install.Argv, []string{"ADDLOCAL=ALL"}) ||
		!slices.Equal(p.Install.UninstallArgv, []string{"{A9318AC7-1D29-4AE1-84DB-06C4344D6CE5}"}) {
		t.Errorf("Temurin: %+v", p)
	}
}

// TestRealRecords: 23,975 records of 2024; what is found for Chrome and Firefox
// is what the records say, and nothing else is.
func TestRealRecords(t *testing.T) {
	f, err := os.Open(feed(t, "cve/vulnrichment/vulnrichment-2024-all.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var names []cveName
	for _, n := range cveNames() {
		if n.Identifier == "Google.Chrome" || n.Identifier == "Mozilla.Firefox" || n.Identifier == "Mozilla.Firefox.ESR" || n.Identifier == "Mozilla.Thunderbird" {
			names = append(names, n)
		}
	}
	found, n, err := readRecords(t.Context(), f, names)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, x := range found {
		count[x.Identifier]++
		if x.CVE == "CVE-2024-1557" && (x.Before != "123" || x.From != "" || x.Identifier != "Mozilla.Firefox") {
			t.Errorf("%+v", x)
		}
	}
	text, err := os.ReadFile("../../../../docs/winget.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{"CVE records of 2024": n}
	for id, k := range count {
		rows["CVEs of "+id] = k
	}
	for label, n := range rows {
		if row := "| " + label + " | " + thousands(n) + " |"; !strings.Contains(string(text), row+"\n") {
			t.Errorf("docs/winget.md lacks %q", row)
		}
	}
	_, b := realBuild(t, found)
	for _, p := range b.out {
		want := map[string]int{"Google.Chrome": count["Google.Chrome"], "Mozilla.Firefox": count["Mozilla.Firefox"]}[p.Product]
		if len(p.CVEs) != want || len(p.Advisories) != want {
			t.Errorf("%s answers %d CVEs, want %d", p.ID, len(p.CVEs), want)
		}
	}
}

// TestIndexMemory: the index is read row by row, and the CVE records one by one.
func TestIndexMemory(t *testing.T) {
	index := feed(t, "third-party/winget/index.v2.json.zst")
	records := feed(t, "cve/vulnrichment/vulnrichment-2024-all.tar.zst")
	for _, c := range []struct {
		name string
		most uint64 // MiB
		read func()
	}{
		{"index", 48, func() {
			f, err := os.Open(index)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, _ := f.Stat()
			if _, err := ReadIndex(t.Context(), f, info.Size(), func(Indexed) {}); err != nil {
				t.Fatal(err)
			}
		}},
		{"CVE records", 300, func() { // their packer looks 128 MiB back, and the decoder holds that twice
			f, err := os.Open(records)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, _, err := readRecords(t.Context(), io.Reader(f), testNames()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		if got := peak(c.read); got > c.most<<20 {
			t.Errorf("%s: %d MiB at the most, want %d", c.name, got>>20, c.most)
		} else {
			t.Logf("%s: %.1f MiB at the most", c.name, float64(got)/(1<<20))
		}
	}
}

// peak is how much the heap grows at the most while do runs, in bytes.
func peak(do func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	start := m.HeapInuse
	var most atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), m.HeapInuse))
			}
		}
	}()
	do()
	close(stop)
	<-stopped
	return max(most.Load(), start) - start
}

// TestDocsVersions holds the counts of installers by what their own versions
// would come to against docs/winget.md. The installers themselves are not among
// the documents: each is taken to say what the manifest says, something lower,
// or nothing.
func TestDocsVersions(t *testing.T) {
	_, b := realBuild(t, nil)
	rows := map[string]int{}
	for _, k := range b.order {
		for _, r := range b.lines[k] {
			in, v := r.installer, r.version
			rows["installers that can be published, in their lines"]++
			rows["of them held against their own version: "+map[string]string{"msi": "packages of Windows Installer", "exe": "programs, if they have a version resource"}[in.kind()]]++
			if in.kind() == "msi" && in.ProductCode != "" {
				rows["of them whose manifest names the product code, which must be the package's"]++
			}
			claimed := in.displayVersion(v)
			for label, s := range map[string]said{
				"it says the manifest's version":              says("", "ProductVersion="+claimed),
				"it is lower by one in the last number":       says("", "ProductVersion="+lowered(t, claimed, false)),
				"it is lower by one in the first number":      says("", "ProductVersion="+lowered(t, claimed, true)),
				"it says nothing":                             says(""),
				"it is in 7-Zip's self-extractor, as Firefox": says("7zS.sfx", "ProductVersion=18.05", "FileVersion=18.05"),
				"it has a template's 1.0.0.0":                 says("", "ProductVersion=1.0.0.0"),
			} {
				got, _ := s.versions(in, v, false)
				rows[map[verdict]string{agrees: "level", silent: "not compared", contradicts: "refused"}[got]+" when "+label]++
			}
		}
	}
	text, err := os.ReadFile("../../../../docs/winget.md")
	if err != nil {
		t.Fatal(err)
	}
	for label, n := range rows {
		if row := "| " + label + " | " + thousands(n) + " |"; !strings.Contains(string(text), row+"\n") {
			t.Errorf("docs/winget.md lacks %q", row)
		}
	}
}

// lowered takes one from the first or the last number of a version that isn't 0.
func lowered(t *testing.T, version string, first bool) string {
	t.Helper()
	parts := strings.Split(version, ".")
	for n := range parts {
		i := n
		if !first {
			i = len(parts) - 1 - n
		}
		if k, err := strconv.Atoi(parts[i]); err == nil && k > 0 {
			parts[i] = strconv.Itoa(k - 1)
			return strings.Join(parts, ".")
		}
	}
	t.Fatalf("nothing is lower than %s", version)
	return ""
}

// TestRealMFSA reads Mozilla's advisories of 2025 and 2026.
func TestRealMFSA(t *testing.T) {
	f, err := os.Open(feed(t, "third-party/mozilla/mfsa/mfsa-2025-2026.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found, n, err := readMFSA(t.Context(), f, mozillaNames())
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, x := range found {
		count[x.Identifier]++
	}
	text, err := os.ReadFile("../../../../docs/winget.md")
	if err != nil {
		t.Fatal(err)
	}
	for label, k := range map[string]int{
		"Mozilla's advisories of 2025 and 2026": n, "CVEs of Mozilla.Firefox in them": count["Mozilla.Firefox"], "CVEs of Mozilla.Firefox.ESR in them, by branch": count["Mozilla.Firefox.ESR"],
	} {
		if row := "| " + label + " | " + thousands(k) + " |"; !strings.Contains(string(text), row+"\n") {
			t.Errorf("docs/winget.md lacks %q", row)
		}
	}
	_, b := realBuild(t, found)
	for _, p := range b.out {
		if p.Product == "Mozilla.Firefox" && (len(p.CVEs) != count["Mozilla.Firefox"] || !slices.Contains(p.Advisories, "MFSA2026-57")) {
			t.Errorf("%s answers %d CVEs of %d", p.ID, len(p.CVEs), count["Mozilla.Firefox"])
		}
	}
}
