package catalog

import (
	"testing"

	"github.com/fettlehq/fettle/internal/patch"
)

// What a publication gives every shard anew does not count, all else does.
func TestContentHash(t *testing.T) {
	hash := func(change func(*Contents)) string {
		t.Helper()
		c := Contents{Header: testHeader(), Patches: []patch.Patch{debPatch("zlib", "1.0-1", []string{release}, "zlib1g")}}
		change(&c)
		s, _ := encode(t, c)
		sum, err := s.ContentHash()
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	first := hash(func(*Contents) {})
	same := hash(func(c *Contents) {
		c.Header.Version, c.Header.Created, c.Header.Notes = 99, c.Header.Created.AddDate(0, 0, 3), []string{"a feed is away"}
	})
	if same != first {
		t.Error("a new version of the same content is other content")
	}
	for name, change := range map[string]func(*Contents){
		"another version of the package": func(c *Contents) { c.Patches[0].Items[0].Version = "2.0-1" },
		"another severity":               func(c *Contents) { c.Patches[0].Severity = patch.Critical },
		"another archive":                func(c *Contents) { c.Header.Archives[0].Security = !c.Header.Archives[0].Security },
		"a known vulnerability":          func(c *Contents) { c.Vulnerabilities = []patch.Vulnerability{{ID: "CVE-2026-1", EPSS: 0.5}} },
	} {
		if hash(change) == first {
			t.Errorf("%s: the same hash", name)
		}
	}
}
