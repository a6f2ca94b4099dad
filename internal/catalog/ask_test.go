package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// endpoint is a live machine: what its inventory holds, and files, registry and
// WMI besides. It counts what it is asked.
type endpoint struct {
	detect.Facts
	files    map[string]detect.FileFact // by path; what is not in it is unknown
	registry map[string]detect.RegistryFact
	wmi      map[string]bool
	looks    *int
}

func (e endpoint) File(path string) (detect.FileFact, error) {
	*e.looks++
	fact, known := e.files[path]
	if !known {
		return fact, detect.Unknown("access is denied")
	}
	return fact, nil
}

func (e endpoint) Checksum(path string) (string, bool, error) {
	fact, err := e.File(path)
	return strings.Repeat("a", 64), fact.Exists, err
}

func (e endpoint) Registry(key, _, name string) (detect.RegistryFact, error) {
	*e.looks++
	return e.registry[key+`\`+name], nil
}

func (e endpoint) Query(_, wql string) (bool, error) {
	*e.looks++
	some, known := e.wmi[wql]
	if !known {
		return false, errors.New("WMI does not answer")
	}
	return some, nil
}

func (e endpoint) Packages(kind, name string) ([]detect.PackageFact, error) {
	if kind != "cbs" {
		return e.Facts.Packages(kind, name)
	}
	*e.looks++
	if e.files[name].Exists {
		return []detect.PackageFact{{Version: "1.0", Arch: "amd64"}}, nil
	}
	return nil, nil
}

const currentVersion = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`

// genEndpoint draws a machine. Its registry may contradict its inventory.
func genEndpoint(t *rapid.T) (*inventory.Snapshot, endpoint) {
	var products []inventory.Package
	for _, name := range []string{"Tool", "Half"} {
		if v := rapid.SampledFrom([]string{"", "1.0", "2.0", "odd"}).Draw(t, name); v != "" {
			products = append(products, inventory.Package{Name: name, Arch: "amd64", Version: v})
		}
	}
	snap := windowsMachine(products...)
	snap.OS.Edition = "Professional"
	e := endpoint{Facts: snap.Facts(), files: map[string]detect.FileFact{}, registry: map[string]detect.RegistryFact{}, wmi: map[string]bool{}, looks: new(int)}
	for _, path := range []string{"a.dll", "b.dll", "c.dll"} {
		switch rapid.IntRange(0, 3).Draw(t, path) {
		case 1:
			e.files[path] = detect.FileFact{}
		case 2:
			e.files[path] = detect.FileFact{Exists: true}
		case 3:
			e.files[path] = detect.FileFact{Exists: true, Version: rapid.SampledFrom([]string{"1.0", "2.0", "3.0"}).Draw(t, "version")}
		}
	}
	for _, value := range []string{`HKLM\A\v`, currentVersion + `\EditionID`} {
		if data := rapid.SampledFrom([]string{"", "7", "Professional", "Core"}).Draw(t, value); data != "" {
			e.registry[value] = detect.RegistryFact{Exists: true, Type: "sz", Data: data}
		}
	}
	for _, query := range []string{"SELECT a", "SELECT b"} {
		if answer := rapid.IntRange(0, 2).Draw(t, query); answer > 0 {
			e.wmi[query] = answer == 1
		}
	}
	return snap, e
}

// genTest draws a test of any kind, few enough that rules share them.
func genTest(t *rapid.T) detect.Rule {
	path := rapid.SampledFrom([]string{"a.dll", "b.dll", "c.dll"}).Draw(t, "path")
	op := rapid.SampledFrom([]detect.Op{detect.LT, detect.GE, detect.EQ}).Draw(t, "op")
	switch rapid.IntRange(0, 8).Draw(t, "test") {
	case 0:
		return detect.Rule{File: &detect.File{Path: path}}
	case 1:
		return detect.Rule{FileVersion: &detect.FileVersion{Path: path, Op: op, Version: "2.0"}}
	case 2:
		return detect.Rule{FileChecksum: &detect.FileChecksum{Path: path, SHA256: strings.Repeat(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "sum"), 64)}}
	case 3:
		return detect.Rule{RegistryValue: &detect.RegistryValue{Key: `HKLM\A`, Name: "v", Type: "dword", Op: op, Data: "7"}}
	case 4:
		return detect.Rule{RegistryValue: &detect.RegistryValue{Key: currentVersion, Name: "EditionID", Type: "sz", Op: detect.EQ, Data: "Professional"}}
	case 5:
		return detect.Rule{WMI: &detect.WMI{Namespace: `root\cimv2`, Query: rapid.SampledFrom([]string{"SELECT a", "SELECT b"}).Draw(t, "query")}}
	case 6:
		return detect.Rule{Package: &detect.Package{Kind: rapid.SampledFrom([]string{"cbs", "arp"}).Draw(t, "kind"), Name: rapid.SampledFrom([]string{"a.dll", "Tool"}).Draw(t, "name"), Op: op, Version: "2.0"}}
	case 7:
		return detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Op: op, Build: "10.0.18362.1"}}
	}
	b := rapid.Bool().Draw(t, "always")
	return detect.Rule{Always: &b}
}

func genTree(t *rapid.T, depth int) *detect.Rule {
	r := genTest(t)
	if depth > 0 {
		var children []detect.Rule
		for range rapid.IntRange(1, 3).Draw(t, "children") {
			children = append(children, *genTree(t, depth-1))
		}
		switch rapid.IntRange(0, 3).Draw(t, "node") {
		case 0:
			r = detect.Rule{All: children}
		case 1:
			r = detect.Rule{Any: children}
		case 2:
			r = detect.Rule{Not: &children[0]}
		}
	}
	return &r
}

// genRuled draws patches with rules of their own, some of which replace others,
// and applications that run only where a rule holds.
func genRuled(t *rapid.T) []patch.Patch {
	var out []patch.Patch
	for i := range rapid.IntRange(0, 4).Draw(t, "ruled") {
		p := app(fmt.Sprintf("ruled:%d", i), "1", "amd64", "exe")
		p.Product = fmt.Sprintf("Ruled%d", i)
		p.Applicable, p.Installed = genTree(t, 2), genTree(t, 2)
		if i > 0 && rapid.Bool().Draw(t, "replaces") {
			p.Supersedes = []patch.ID{out[0].ID}
		}
		out = append(out, p)
	}
	for _, name := range []string{"Tool", "Half"} {
		p := app(name+":2", "2.0", "amd64", "exe", "arp "+name)
		if rapid.Bool().Draw(t, "conditional") {
			p.Applicable = genTree(t, 2)
		}
		out = append(out, p)
	}
	return out
}

// said is what people and deployments go by, and the outcome of each test.
func said(t *rapid.T, shard *Shard, snap *inventory.Snapshot, facts detect.Facts) (out []string) {
	found, err := Assess([]*Shard{shard}, snap, facts)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		line := fmt.Sprint(f.Patch, f.State, f.Package, f.Installed, f.Available)
		for _, e := range f.Evidence {
			line += fmt.Sprint("; ", e.Test, " ", e.Want, " ", e.Value)
		}
		out = append(out, line)
	}
	return out
}

// TestServerIsAsCertainAsTheMachine is what the answers are for: whatever rules
// a catalog brings and whatever a machine is like, the server finds over the
// stored inventory with the machine's answers what the machine finds itself.
func TestServerIsAsCertainAsTheMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		snap, live := genEndpoint(t)
		shard := ruledShard(t, genRuled(t))
		if rapid.Bool().Draw(t, "keep") {
			if err := shard.Keep(); err != nil {
				t.Fatal(err)
			}
		}
		want := said(t, shard, snap, live)
		answers, err := Ask([]*Shard{shard}, snap, live)
		if err != nil {
			t.Fatal(err)
		}
		snap.Answers = answers
		sections, err := inventory.Split(*snap)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := inventory.Join(sections)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, said(t, shard, &stored, nil), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-the machine +the server):\n%s\nanswers: %+v", diff, answers)
		}
		shard.Forget()
		if diff := cmp.Diff(want, said(t, shard, &stored, nil), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("read anew (-the machine +the server):\n%s", diff)
		}
	})
}

func ruledShard(t *rapid.T, all []patch.Patch) *Shard {
	c, err := Merge(Contents{Header: Header{Format: Format, Platform: "windows-apps-amd64"}, Patches: all})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := Encode(&b, c); err != nil {
		t.Fatal(err)
	}
	s, err := Open(strings.NewReader(b.String()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAskIsBrief: what the inventory decides is not asked, one answer that
// decides is enough, and only of what is lacking everything is shown.
func TestAskIsBrief(t *testing.T) {
	file := func(path string) detect.Rule { return detect.Rule{File: &detect.File{Path: path}} }
	version := func(path string) detect.Rule {
		return detect.Rule{FileVersion: &detect.FileVersion{Path: path, Op: detect.GE, Version: "2.0"}}
	}
	build := func(op detect.Op) detect.Rule {
		return detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Op: op, Build: "10.0.18362.1"}}
	}
	for name, c := range map[string]struct {
		applicable, installed detect.Rule
		want                  map[string]detect.Answer
		looks                 int
	}{
		"another release": {
			detect.Rule{All: []detect.Rule{file("a.dll"), build(detect.LT)}},
			file("a.dll"),
			nil, 0,
		},
		"not its model": {
			detect.Rule{All: []detect.Rule{build(detect.EQ), file("none"), file("a.dll")}},
			version("a.dll"),
			map[string]detect.Answer{file("none").Key(): {Value: detect.False}},
			1,
		},
		"installed": {
			detect.Rule{Any: []detect.Rule{file("none"), file("a.dll"), file("b.dll")}},
			version("b.dll"),
			map[string]detect.Answer{
				file("none").Key(): {Value: detect.False}, file("a.dll").Key(): {Value: detect.True}, version("b.dll").Key(): {Value: detect.True},
			},
			3,
		},
		"lacking": {
			detect.Rule{Any: []detect.Rule{file("a.dll"), file("b.dll")}},
			detect.Rule{All: []detect.Rule{version("a.dll"), version("b.dll")}},
			map[string]detect.Answer{
				file("a.dll").Key(): {Value: detect.True}, file("b.dll").Key(): {Value: detect.True},
				version("a.dll").Key(): {Value: detect.False, Found: "1.0"}, version("b.dll").Key(): {Value: detect.True, Found: "2.0"},
			},
			4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			snap := windowsMachine()
			live := endpoint{Facts: snap.Facts(), looks: new(int), files: map[string]detect.FileFact{
				"none": {}, "a.dll": {Exists: true, Version: "1.0"}, "b.dll": {Exists: true, Version: "2.0"},
			}}
			p := app("ruled:1", "1", "amd64", "exe")
			p.Applicable, p.Installed = &c.applicable, &c.installed
			answers, err := Ask([]*Shard{appShard(t, p)}, snap, live)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]detect.Answer{}
			for _, a := range answers.Given {
				got[a.Test.Key()] = a.Answer
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" || *live.looks != c.looks {
				t.Errorf("%d looks, want %d; (-want +got):\n%s", *live.looks, c.looks, diff)
			}
		})
	}
}

// TestAskedLater: with a newer catalog the server is unsure of what the machine
// has not answered yet, says so, and goes on with what it has.
func TestAskedLater(t *testing.T) {
	ruled := func(id, path string) patch.Patch {
		p := app(id, "1", "amd64", "exe")
		p.Product = id
		p.Applicable, p.Installed = &detect.Rule{File: &detect.File{Path: path}}, &detect.Rule{Not: &detect.Rule{File: &detect.File{Path: path}}}
		return p
	}
	snap := windowsMachine()
	live := endpoint{Facts: snap.Facts(), looks: new(int), files: map[string]detect.FileFact{"a.dll": {Exists: true}, "b.dll": {Exists: true}}}
	old, next := appShard(t, ruled("a", "a.dll")), appShard(t, ruled("a", "a.dll"), ruled("b", "b.dll"))
	answers, err := Ask([]*Shard{old}, snap, live)
	if err != nil {
		t.Fatal(err)
	}
	snap.Answers = answers
	found, err := Assess([]*Shard{next}, snap, nil)
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	slices.SortFunc(found, func(a, b Finding) int { return strings.Compare(string(a.Patch), string(b.Patch)) })
	if f := found[0]; f.State != Missing || f.Evidence[0].By != detect.ByMachine || f.Evidence[0].Found != "present" {
		t.Errorf("what was asked: %+v", f)
	}
	if f := found[1]; f.State != Unsure || !strings.Contains(f.Reason, "the machine has not been asked yet") || f.Evidence[0].By != "" {
		t.Errorf("what was not: %+v", f)
	}
}
