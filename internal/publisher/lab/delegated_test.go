package lab_test

import (
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

// TestDelegated: only what a source says a signed list names, by one revision and
// without a file of ours, is left to the machines' own updater.
func TestDelegated(t *testing.T) {
	l, err := lab.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	good := func() patch.Patch {
		return patch.Patch{
			ID: "p", Install: patch.Manifest{Kind: "wua", Argv: []string{"33333333-0000-0000-0000-000000000007", "201"}},
			Evidence: patch.Evidence{Verdict: patch.Delegated, Checks: []string{"signed"}},
		}
	}
	kept, rejected := l.Judge([]patch.Patch{good()}, nil)
	if len(rejected) > 0 || kept[0].Bulletin() || kept[0].Evidence.Verdict != patch.Delegated || len(kept[0].Install.Argv) != 2 ||
		strings.Join(kept[0].Evidence.Checks, "; ") != "signed; asks the Windows Update Agent for update 33333333-0000-0000-0000-000000000007, revision 201" {
		t.Errorf("%+v, %+v", kept, rejected)
	}
	for name, change := range map[string]func(*patch.Patch){
		"its source does not say so": func(p *patch.Patch) { p.Evidence.Verdict = "" },
		"it says something else":     func(p *patch.Patch) { p.Evidence.Verdict = patch.Proven },
		"any revision":               func(p *patch.Patch) { p.Install.Argv = p.Install.Argv[:1] },
		"a file of ours":             func(p *patch.Patch) { p.Items = []patch.Item{{Name: "wsusscn2.cab"}} },
		"an archive":                 func(p *patch.Patch) { p.Archives = []string{"a"} },
	} {
		p := good()
		change(&p)
		kept, rejected := l.Judge([]patch.Patch{p}, nil)
		if len(rejected) > 0 || !kept[0].Bulletin() || len(kept[0].Install.Argv) > 0 {
			t.Errorf("%s: %+v, %+v", name, kept, rejected)
		}
	}
	for _, kind := range []string{"msu", "exe", "apt"} { // the verdict is the lab's, but for this kind
		p := good()
		p.Install.Kind = kind
		if kept, _ := l.Judge([]patch.Patch{p}, nil); !kept[0].Bulletin() {
			t.Errorf("%s: %+v", kind, kept)
		}
	}
}
