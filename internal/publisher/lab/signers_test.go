package lab_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

// checks is what the evidence of a market's patch says.
func (m *market) checks(p patch.Patch) string {
	m.t.Helper()
	m.run(p)
	kept, refused := m.open().Judge([]patch.Patch{p}, nil)
	if len(kept) != 1 {
		m.t.Fatalf("refused %+v", refused)
	}
	return strings.Join(kept[0].Evidence.Checks, "\n")
}

// TestTrustRow2NewSigner: a new signer is refused, run after run, until a person
// accepts that very name; and what is accepted is for that product alone.
func TestTrustRow2NewSigner(t *testing.T) {
	m := newMarket(t)
	old, taken := m.offer("Maker.Tool", "1.0", "Maker Inc", toolName), m.offer("Maker.Tool", "2.0", "Taker Inc", toolName)
	other := m.offer("Maker.Other", "2.0", "Taker Inc", "app other|maker")
	m.run(old, m.offer("Maker.Other", "1.0", "Maker Inc", "app other|maker"))
	for range 2 {
		got, refused := m.run(old, taken, other)
		m.want("before", got, "Maker.Tool 1.0: app/tool|maker")
		m.says("before", refused, []string{"winget:Maker.Tool:2.0", "signed by Taker Inc (Taker Inc Group), but Maker.Tool must be signed by Maker Inc", `fettle publisher signers accept Maker.Tool "Taker Inc"`}, []string{"Maker.Other"})
	}
	all, err := lab.Signers(m.dir)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	want := lab.Signer{Product: "winget maker.tool", Pin: lab.Pin{
		Names: []string{"Maker Inc"}, Organization: "Maker Inc Group", Since: m.now, Maker: "maker",
		Refused: &lab.Stranger{Name: "Taker Inc", Organization: "Taker Inc Group", Patch: taken.ID, SHA256: taken.Items[0].Payload.SHA256, Since: m.now},
	}}
	if diff := cmp.Diff(want, all[1]); diff != "" || !all[1].Fits() {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for product, name := range map[string]string{"Maker.Tool": "Somebody", "maker.none": "Taker Inc", "": "Taker Inc"} {
		if _, err := lab.Accept(m.dir, product, name, false, m.now); err == nil {
			t.Errorf("%q is accepted for %q", name, product)
		}
	}
	if _, err := lab.Accept(m.dir, "maker.TOOL", "Taker Inc", false, m.now); err != nil {
		t.Fatal(err)
	}
	got, refused := m.run(old, taken, other)
	m.want("accepted", got, "Maker.Tool 1.0: app/tool|maker", "Maker.Tool 2.0: app/tool|maker")
	m.says("accepted", refused, []string{"Maker.Other"})
	if text := m.checks(taken); !strings.Contains(text, "accepted by a person on 2026-11-01") {
		t.Errorf("evidence:\n%s", text)
	}
	if s, err := lab.Accept(m.dir, "winget maker.tool", "Taker Inc", true, m.now); err != nil || len(s.Names) != 1 {
		t.Fatal(s, err)
	}
	got, refused = m.run(old, taken)
	m.want("only", got, "Maker.Tool 2.0: app/tool|maker")
	m.says("only", refused, []string{"winget:Maker.Tool:1.0"})
}

// TestSignersTold: the evidence tells on whose word a signer counts, and whether
// the certificate names the maker whom the manifest names.
func TestSignersTold(t *testing.T) {
	m := newMarket(t)
	fits, other := m.offer("Maker.Tool", "1.0", "Maker Incorporated", toolName), m.offer("Git.Git", "1.0", "Johannes Doe", "app git|the git community")
	bare := m.offer("Bare.Tool.7", "1.0", "Maker", "arp tool 7")
	for p, says := range map[*patch.Patch]string{&fits: "certificate names the maker that", &other: `does not name the maker that the manifest names ("the git community")`, &bare: "gives no name"} {
		if text := m.checks(*p); !strings.Contains(text, says) || !strings.Contains(text, "pinned when its first installer was seen, on 2026-11-01; nobody has confirmed it") {
			t.Errorf("%s: evidence:\n%s", p.ID, text)
		}
	}
	m.run(fits, other, bare)
	doubts := func() []string { return m.open().Doubtful([]patch.Patch{fits, other, bare}) }
	if got := doubts(); len(got) != 1 || !strings.Contains(got[0], `git.git is signed by Johannes Doe (Johannes Doe Group), whose name is not that of the maker in its manifest (the git community)`) {
		t.Errorf("doubts %q", got)
	}
	if _, err := lab.Accept(m.dir, "Git.Git", "Johannes Doe", false, m.now); err != nil { // whom nobody refuses is confirmed
		t.Error(err)
	}
	if text := m.checks(other); !strings.Contains(text, "accepted by a person") || len(doubts()) > 0 {
		t.Errorf("evidence:\n%s", text)
	}
	m.code.Publishers = map[string]string{"maker.tool": "Maker Incorporated Group"}
	if text := m.checks(fits); !strings.Contains(text, "(authenticode.publishers) names this signer") {
		t.Errorf("evidence:\n%s", text)
	}
}

// TestSignersOfFirstPublishers: the file's first form, a name by product, stays
// good, and whoever it pins stays pinned.
func TestSignersOfFirstPublishers(t *testing.T) {
	m := newMarket(t)
	if err := os.WriteFile(filepath.Join(m.dir, "signers.json"), []byte(`{"winget maker.tool": "Maker Inc"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, refused := m.run(m.offer("Maker.Tool", "1.0", "Maker Inc", toolName), m.offer("Maker.Tool", "2.0", "Taker Inc", toolName))
	m.want("published", got, "Maker.Tool 1.0: app/tool|maker")
	m.says("refused", refused, []string{"must be signed by Maker Inc"})
	all, err := lab.Signers(m.dir)
	if err != nil || len(all) != 1 || !all[0].Since.IsZero() || all[0].Organization != "Maker Inc Group" || all[0].Maker != "maker" {
		t.Errorf("%+v %v", all, err)
	}
}

// FuzzSigners: a file of signers that somebody has changed is read or refused.
func FuzzSigners(f *testing.F) {
	f.Add([]byte(`{"winget a.b": "X", "winget c.d": {"names": ["Y"], "refused": {"name": "Z"}}}`))
	f.Add([]byte(`{"": null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "signers.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := lab.Signers(dir)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, s := range all {
			s.Fits()
			_, _ = lab.Accept(dir, s.Product, "Z", true, now)
		}
		if again, err := lab.Signers(dir); err != nil || len(again) != len(all) {
			b, _ := json.Marshal(again)
			t.Errorf("%v %s", err, b)
		}
	})
}
