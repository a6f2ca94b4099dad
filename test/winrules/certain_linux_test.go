package winrules

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fetch"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/inventory/recorded"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/dotnet"
	"github.com/fettlehq/fettle/internal/publisher/crawl/microsoft/feedtest"
)

// model is a recorded machine with what no record holds: it is the model that
// one package is for, has an old version of each file that the package brings,
// and some versions of .NET.
type model struct {
	detect.Facts
	devices map[string]bool // by query
	files   map[string]bool
	folders []string
}

func (m model) Query(_, wql string) (bool, error) { return m.devices[wql], nil }

func (m model) File(path string) (detect.FileFact, error) {
	for _, folder := range m.folders {
		if strings.Contains(path, folder) {
			return detect.FileFact{Exists: true}, nil
		}
	}
	if m.files[path] {
		return detect.FileFact{Exists: true, Version: "0.0.0.1"}, nil
	}
	return detect.FileFact{}, nil
}

func (m model) Checksum(string) (string, bool, error) { return "", false, nil }

func (m model) Registry(key, view, name string) (detect.RegistryFact, error) {
	fact, err := m.Facts.Registry(key, view, name)
	if err != nil {
		return detect.RegistryFact{}, nil //nolint:nilerr // what is not recorded is not there
	}
	return fact, nil
}

// modelFor makes the machine a model that one of the patches is for.
func modelFor(t *testing.T, s *inventory.Snapshot, all []patch.Patch) (model, patch.ID) {
	t.Helper()
	for _, p := range all {
		m := modelOf(s, p)
		applicable, installed := p.Rules()
		if p.Vendor == "maker" && detect.Eval(applicable, m).Value == detect.True && detect.Eval(installed, m).Value == detect.False {
			return m, p.ID
		}
	}
	t.Fatalf("no package is for %s", s.OS.Name)
	return model{}, ""
}

func modelOf(s *inventory.Snapshot, p patch.Patch) model {
	m := model{Facts: s.Facts(), devices: map[string]bool{}, files: map[string]bool{}, folders: []string{`\Microsoft.NETCore.App\8.0.1\`}}
	applicable, installed := p.Rules()
	applicable.Tests(func(test detect.Rule) {
		if test.WMI != nil {
			m.devices[test.WMI.Query] = true
		}
	})
	installed.Tests(func(test detect.Rule) {
		if test.FileVersion != nil {
			m.files[test.FileVersion.Path] = true
		}
	})
	return m
}

// realPatches are the packages of HP and Dell and the releases of .NET.
func realPatches(t *testing.T) []patch.Patch {
	t.Helper()
	var out []patch.Patch
	rules := realRules(t)
	for i := 0; i < len(rules); i += 2 {
		name, _, _ := strings.Cut(rules[i].Name, " ")
		out = append(out, patch.Patch{
			ID: patch.ID(fmt.Sprintf("sdp:%d:%s", i/2, name)), Vendor: "maker", Platform: "windows-apps-amd64", Product: name, Version: "1", Title: rules[i].Name,
			Classification: patch.Driver, Severity: patch.Unknown, Applicable: &rules[i].Rule, Installed: &rules[i+1].Rule, Install: patch.Manifest{Kind: "exe"},
			Evidence: patch.Evidence{Verdict: patch.Unproven},
		})
	}
	client, err := fetch.New(fetch.Config{UserAgent: "fettle-test", PerHost: -1, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := dotnet.New(dotnet.Config{Location: feedtest.Path(t, "dotnet")}, client)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := s.Fetch(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Parse(t.Context(), dir, got.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all.Patches {
		if p.Platform == "windows-apps-amd64" {
			out = append(out, p)
		}
	}
	return out
}

func shardOf(t *testing.T, all []patch.Patch) *catalog.Shard {
	t.Helper()
	c, err := catalog.Merge(catalog.Contents{Header: catalog.Header{Format: catalog.Format, Platform: "windows-apps-amd64"}, Patches: all})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := catalog.Encode(&b, c); err != nil {
		t.Fatal(err)
	}
	s, err := catalog.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// recordedKinds are recorded machines, one of each build and architecture that
// the packages are for, and one of a later build.
func recordedKinds(t *testing.T) map[string]*inventory.Snapshot {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(feedtest.Path(t, "inventory-samples"), "*systeminfo*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*inventory.Snapshot{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := recorded.Systeminfo(raw)
		if err != nil {
			t.Fatal(err)
		}
		s.Packages = append(s.Packages, inventory.Package{
			Kind: "arp", Name: "dotnet", Arch: s.OS.Arch, Version: "64.4.1", Title: "Microsoft .NET Runtime - 8.0.1 (x64)", Publisher: "Microsoft Corporation",
		})
		slices.SortFunc(s.Packages, inventory.ComparePackages)
		if kind := s.OS.Build + " " + s.OS.Arch; mayApply[kind] > 0 || kind == "10.0.22631 amd64" {
			out[kind] = &s
		}
	}
	if len(out) != len(mayApply)+1 {
		t.Fatalf("%d kinds of machines", len(out))
	}
	return out
}

// outcome is each finding with its state.
func outcome(t *testing.T, shard *catalog.Shard, s *inventory.Snapshot, facts detect.Facts) (all map[string]catalog.Finding, unsure int) {
	t.Helper()
	found, err := catalog.Assess([]*catalog.Shard{shard}, s, facts)
	if err != nil {
		t.Fatal(err)
	}
	all = map[string]catalog.Finding{}
	for _, f := range found {
		all[string(f.Patch)] = f
		if f.State == catalog.Unsure {
			unsure++
		}
	}
	return all, unsure
}

// TestServerIsCertain: of all real packages of HP and Dell and all releases of
// .NET, the server says of each recorded machine what the machine says itself,
// with nothing left unknown, once the machine has answered.
func TestServerIsCertain(t *testing.T) {
	patches := realPatches(t)
	shard := shardOf(t, patches)
	pack, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for kind, s := range recordedKinds(t) {
		live, own := modelFor(t, s, patches)
		_, before := outcome(t, shard, s, nil)
		want, _ := outcome(t, shard, s, live)
		answers, err := catalog.Ask([]*catalog.Shard{shard}, s, live)
		if err != nil {
			t.Fatal(err)
		}
		s.Answers = answers
		sections, err := inventory.Split(*s)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := inventory.Join(sections)
		if err != nil {
			t.Fatal(err)
		}
		got, after := outcome(t, shard, &stored, nil)
		body := sections[len(sections)-1].Body
		t.Logf("%s: %d of %d unknown before, %d after, %d lacking; %d answers, %d bytes, %d packed", kind, before, len(patches), after, len(got), len(answers.Given), len(body), len(pack.EncodeAll(body, nil)))
		same := cmp.Comparer(func(a, b catalog.Finding) bool { return a.State == b.State && a.Patch == b.Patch })
		if diff := cmp.Diff(want, got, same, cmpopts.EquateEmpty()); diff != "" || after > 0 {
			t.Errorf("%s: %d stay unknown; (-the machine +the server):\n%s", kind, after, diff)
		}
		if before == 0 || answers.LeftOut > 0 {
			t.Errorf("%s: %d were unknown before, %d answers were left out", kind, before, answers.LeftOut)
		}
		checkFound(t, kind, got, own)
	}
}

// checkFound wants the model's own package and an update of .NET, by the
// machine's word.
func checkFound(t *testing.T, kind string, got map[string]catalog.Finding, own patch.ID) {
	t.Helper()
	runtime := false
	for id, f := range got {
		byMachine := slices.ContainsFunc(f.Evidence, func(e detect.Evidence) bool { return e.By == detect.ByMachine })
		if f.State != catalog.Missing || !byMachine {
			t.Errorf("%s: %s is %s, by the machine: %v: %s", kind, id, f.State, byMachine, f.Reason)
		}
		runtime = runtime || strings.HasPrefix(id, "dotnet:runtime:8.")
	}
	if !runtime {
		t.Errorf("%s lacks no release of .NET", kind)
	}
	if _, lacks := got[string(own)]; !lacks {
		t.Errorf("%s does not lack %s", kind, own)
	}
}
