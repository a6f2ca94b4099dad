package catalog

import (
	"encoding/json"
	"testing"

	"gotest.tools/v3/golden"

	"github.com/fettlehq/fettle/internal/patch"
)

// The forms in testdata are read by other programs and by older builds.
// Changing one is a change of the catalog's format or of the API.
func TestGolden(t *testing.T) {
	p := debPatch("zlib", "1.1-1", []string{security}, "zlib1g")
	p.Severity, p.CVEs = patch.Important, []patch.CVEFix{{ID: "CVE-2026-0001", FixedIn: "1.1-1"}}
	c := Contents{Header: testHeader(), Patches: []patch.Patch{p}, Vulnerabilities: []patch.Vulnerability{{ID: "CVE-2026-0001", Severity: patch.Critical, EPSS: 0.5, KEV: &patch.KEV{Added: "2026-01-01"}}}}
	c.Header.Archives = c.Header.Archives[1:2]
	c.Header.Notes = []string{"the tracker could not be reached"}
	s, file := encode(t, c)
	found, err := Assess([]*Shard{s}, machine("zlib1g", "1.0-1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	asBefore(t, "header.json", s.Header())
	asBefore(t, "finding.json", found)
	asBefore(t, "counts.json", s.Counts())
	sum, _, err := s.Hash()
	if err != nil {
		t.Fatal(err)
	}
	asBefore(t, "file.json", map[string]any{"sha256": sum, "size": len(file)})
}

func asBefore(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Assert(t, string(got)+"\n", name)
}
