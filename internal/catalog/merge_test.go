package catalog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// chain is a patch with edges.
func chain(id string, requires ...patch.ID) patch.Patch {
	return patch.Patch{ID: patch.ID(id), Product: id, Version: "1", Requires: requires}
}

func TestOrder(t *testing.T) {
	for name, c := range map[string]struct {
		in   []patch.Patch
		want []patch.ID
		says string
	}{
		"nothing":             {nil, nil, ""},
		"as given":            {[]patch.Patch{chain("b"), chain("a"), chain("c")}, []patch.ID{"b", "a", "c"}, ""},
		"prerequisites first": {[]patch.Patch{chain("a", "b", "c"), chain("b"), chain("c", "d"), chain("d")}, []patch.ID{"b", "d", "c", "a"}, ""},
		"outside the list":    {[]patch.Patch{chain("a", "z"), chain("b")}, []patch.ID{"a", "b"}, ""},
		"one twice":           {[]patch.Patch{chain("a"), chain("a")}, []patch.ID{"a"}, ""},
		"itself":              {[]patch.Patch{chain("a", "a")}, nil, "a -> a"},
		"a circle":            {[]patch.Patch{chain("x", "a"), chain("a", "b"), chain("b", "c"), chain("c", "a")}, nil, "a -> b -> c -> a"},
	} {
		got, err := Order(c.in)
		if c.says == "" && err != nil || c.says != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestOrderHolds checks random graphs without circles: everything comes once,
// and after what it requires; a chain as long as the catalog is no trouble.
func TestOrderHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "patches")
		var in []patch.Patch
		for i := range n {
			p := chain(fmt.Sprintf("p%02d", i))
			for _, j := range rapid.SliceOfN(rapid.IntRange(0, n), 0, 4).Draw(t, "requires") {
				if j < i {
					p.Requires = append(p.Requires, patch.ID(fmt.Sprintf("p%02d", j)))
				}
			}
			in = append(in, p)
		}
		in = rapid.Permutation(in).Draw(t, "order")
		got, err := Order(in)
		if err != nil || len(got) != n {
			t.Fatalf("%v: %v", got, err)
		}
		for _, p := range in {
			for _, need := range p.Requires {
				if slices.Index(got, need) > slices.Index(got, p.ID) {
					t.Fatalf("%s comes before %s, which it requires: %v", p.ID, need, got)
				}
			}
		}
	})
	long := []patch.Patch{chain("p0")}
	for i := 1; i < 100_000; i++ {
		long = append(long, chain(fmt.Sprintf("p%d", i), patch.ID(fmt.Sprintf("p%d", i-1))))
	}
	slices.Reverse(long)
	if got, err := Order(long); err != nil || got[0] != "p0" || len(got) != 100_000 {
		t.Errorf("a long chain: %v", err)
	}
}

func TestMerge(t *testing.T) {
	main := debPatch("zlib", "1.1-1", []string{release}, "zlib1g")
	sec := debPatch("zlib", "1.1-1", []string{security}, "zlib1g")
	got, err := Merge(
		Contents{Header: testHeader(), Patches: []patch.Patch{main}, Vulnerabilities: []patch.Vulnerability{{ID: "CVE-1", Severity: patch.Unknown, EPSS: 0.1}}},
		Contents{Header: testHeader(), Patches: []patch.Patch{sec}, Vulnerabilities: []patch.Vulnerability{{ID: "CVE-1", Severity: patch.Low, CVSS: 7, CVSSVector: "x", KEV: &patch.KEV{Added: "2026-01-01"}}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := debPatch("zlib", "1.1-1", []string{release, security}, "zlib1g")
	if diff := cmp.Diff([]patch.Patch{want}, got.Patches); diff != "" {
		t.Errorf("the archives of both add up (-want +got):\n%s", diff)
	}
	vuln := []patch.Vulnerability{{ID: "CVE-1", Severity: patch.Low, EPSS: 0.1, CVSS: 7, CVSSVector: "x", KEV: &patch.KEV{Added: "2026-01-01"}}}
	if diff := cmp.Diff(vuln, got.Vulnerabilities); diff != "" {
		t.Errorf("vulnerabilities (-want +got):\n%s", diff)
	}
}

func TestMergeRefuses(t *testing.T) {
	a := debPatch("zlib", "1.1-1", nil, "zlib1g")
	b := debPatch("zlib", "1.1-1", nil, "zlib1g")
	b.Items[0].Payload.SHA256 = payload("other", "1").SHA256
	other := testHeader()
	other.Platform = "debian-12-arm64"
	edited := testHeader()
	edited.Archives[0].Label = "Mirror"
	of := func(p ...patch.Patch) Contents { return Contents{Header: testHeader(), Patches: p} }
	super := func(id string, s ...patch.ID) patch.Patch { p := chain(id); p.Supersedes = s; return p }
	for name, c := range map[string]struct {
		parts []Contents
		want  fault.Code
	}{
		"one id, two payloads":   {[]Contents{of(a), of(b)}, fault.Conflict},
		"two platforms":          {[]Contents{{Header: testHeader()}, {Header: other}}, fault.Invalid},
		"one snapshot, two ways": {[]Contents{{Header: testHeader()}, {Header: edited}}, fault.Conflict},
		"one advisory, two ways": {[]Contents{{Advisories: []patch.Advisory{{ID: "DSA-1"}}}, {Advisories: []patch.Advisory{{ID: "DSA-1", Title: "x"}}}}, fault.Conflict},
		"a circle of needs":      {[]Contents{of(chain("a", "b")), of(chain("b", "a"))}, fault.Invalid},
		"a circle of successors": {[]Contents{of(super("a", "b")), of(super("b", "a"))}, fault.Invalid},
		"an empty id":            {[]Contents{of(chain(""))}, fault.Invalid},
	} {
		if _, err := Merge(c.parts...); !fault.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestMergeClosesPrerequisites(t *testing.T) {
	successor := chain("b2")
	successor.Supersedes = []patch.ID{"b1"}
	got, err := Merge(Contents{Patches: []patch.Patch{
		chain("a", "b1"), successor, chain("lost", "gone"), chain("lost too", "lost"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, p := range got.Patches {
		ids = append(ids, fmt.Sprint(p.ID, p.Requires))
	}
	if diff := cmp.Diff([]string{"a[b2]", "b2[]"}, ids); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
	if len(got.Header.Notes) != 2 || !strings.Contains(got.Header.Notes[0], "requires gone") {
		t.Errorf("notes: %q", got.Header.Notes)
	}
}

func TestMergeInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := genContents(t)
		var parts []Contents
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			parts = append(parts, Contents{Header: whole.Header})
		}
		pick := rapid.IntRange(0, len(parts)-1)
		for _, p := range whole.Patches {
			i := pick.Draw(t, "part")
			parts[i].Patches = append(parts[i].Patches, p)
		}
		for _, v := range whole.Vulnerabilities { // in two parts, halved
			i, j := pick.Draw(t, "part"), pick.Draw(t, "part")
			parts[i].Vulnerabilities = append(parts[i].Vulnerabilities, v)
			if i != j {
				parts[j].Vulnerabilities = append(parts[j].Vulnerabilities, patch.Vulnerability{ID: v.ID})
			}
		}
		for _, a := range whole.Advisories {
			for i := range parts {
				parts[i].Advisories = append(parts[i].Advisories, a)
			}
		}
		var want, got bytes.Buffer
		if err := Encode(&want, whole); err != nil {
			t.Fatal(err)
		}
		merged, err := Merge(rapid.Permutation(parts).Draw(t, "order")...)
		if err != nil {
			t.Fatal(err)
		}
		if err := Encode(&got, merged); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want.Bytes(), got.Bytes()) {
			t.Fatal("merging the parts did not give the whole")
		}
	})
}
