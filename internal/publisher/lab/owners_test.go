package lab_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

// market is a lab with packages of several makers, whose installers count as
// examined already.
type market struct {
	t      testing.TB
	dir    string
	code   lab.Code
	proofs map[string]lab.Proof
	now    time.Time
	notes  []string // of the last run
}

func newMarket(t testing.TB) *market {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	return &market{t: t, dir: dir, proofs: map[string]lab.Proof{}, now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
}

// offer is a package's installer with what its manifest claims ("kind name");
// without signer it is not proven.
func (m *market) offer(id, version, signer string, claims ...string) patch.Patch {
	p := patch.Patch{
		ID: patch.ID("winget:" + id + ":" + version), Vendor: "winget", Product: id, Version: version,
		Install: patch.Manifest{Kind: "exe", Argv: []string{"{payload}", "/S"}, Scope: "machine"},
	}
	pay := patch.Payload{SHA256: hash([]byte(string(p.ID) + signer)), Size: 1, Name: id + ".exe"}
	if signer == "" {
		pay, p.Evidence.Checks = patch.Payload{}, []string{"nothing is installed from it: it was not fetched"}
	} else { // Trust is what stands for no roots
		m.proofs[pay.SHA256] = lab.Proof{OK: true, Signer: signer, Organization: signer + " Group", Checks: []string{"signed"}, Trust: hash([]byte{0, 0})[:16]}
	}
	for _, c := range claims {
		kind, name, _ := strings.Cut(c, " ")
		p.Items = append(p.Items, patch.Item{Kind: kind, Name: name, Version: version, Payload: pay})
	}
	return p
}

// open is the lab as a publisher's next start finds it.
func (m *market) open() *lab.Lab {
	m.t.Helper()
	data, err := json.Marshal(m.proofs)
	if err == nil {
		err = os.WriteFile(filepath.Join(m.dir, "proofs.json"), data, 0o600)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	l, err := lab.Open(m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	l.Believe(m.code)
	return l
}

// run is one run of a publisher: what is published of each patch ("-" before
// what nothing is installed from), and what is refused.
func (m *market) run(ps ...patch.Patch) (published []string, refused []lab.Rejection) {
	m.t.Helper()
	l := m.open()
	if err := l.Examine(m.t.Context(), ps, func(string) (lab.File, error) { return nil, fault.New(fault.NotFound, "test: gone") }, m.now); err != nil {
		m.t.Fatal(err)
	}
	kept, refused := l.Judge(ps, nil)
	settled, err := l.Settle(kept)
	if err != nil {
		m.t.Fatal(err)
	}
	m.notes = settled.Notes
	for _, p := range settled.Patches {
		text := p.Product + " " + p.Version + ":"
		if p.Evidence.Verdict != patch.Proven {
			text = "-" + text
		}
		for _, it := range p.Items {
			if (it.Payload.SHA256 != "") != (p.Evidence.Verdict == patch.Proven) {
				m.t.Errorf("%s is %s with the payload %+v", p.ID, p.Evidence.Verdict, it.Payload)
			}
			text += " " + it.Kind + "/" + it.Name
		}
		published = append(published, text)
	}
	return published, append(refused, settled.Rejected...)
}

func (m *market) want(what string, got []string, want ...string) {
	m.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// says checks that each refusal holds all of its words, in order.
func (m *market) says(what string, got []lab.Rejection, want ...[]string) {
	m.t.Helper()
	if len(got) != len(want) {
		m.t.Errorf("%s: refused %+v, want %q", what, got, want)
		return
	}
	for i, words := range want {
		for _, w := range words {
			if text := string(got[i].Patch) + ": " + got[i].Reason; !strings.Contains(text, w) {
				m.t.Errorf("%s: refused %q, want %q in it", what, text, w)
			}
		}
	}
}

const toolName = "app tool|maker"

// TestTrustRow2ProductOfTheMaker: who claims a product that its own maker signs
// gets no part of it, whatever version he calls higher, also when he was first.
func TestTrustRow2ProductOfTheMaker(t *testing.T) {
	m := newMarket(t)
	evil := m.offer("Evil.Thing", "99.0", "Evil Inc", toolName, "arp thing")
	tool := m.offer("Maker.Tool", "2.0", "Maker GmbH", toolName, "arp tool")
	got, _ := m.run(evil)
	m.want("evil alone", got, "Evil.Thing 99.0: app/tool|maker arp/thing")
	got, refused := m.run(evil, tool)
	m.want("both", got, "Evil.Thing 99.0: arp/thing", "Maker.Tool 2.0: app/tool|maker arp/tool")
	m.says("both", refused, []string{"product app tool|maker", "Evil.Thing (signed by Evil Inc) claims", "belongs to Maker.Tool (signed by Maker GmbH), which the maker in the product's name signs", `winget.products: {"app tool|maker": Evil.Thing}`})
	if got, refused = m.run(evil); len(got) != 1 || strings.Contains(got[0], "tool|maker") || len(refused) != 1 { // and it stays so
		t.Errorf("once the maker's is gone: %q %+v", got, refused)
	}
	for _, version := range []string{"99.0", "1.0"} { // higher, or what machines have: both would hide the fix
		only := m.offer("Evil.Thing", version, "Evil Inc", toolName)
		got, refused = m.run(only, tool)
		m.want("nothing else is claimed", got, "Maker.Tool 2.0: app/tool|maker arp/tool")
		m.says("nothing else is claimed", refused, []string{toolName}, []string{string(only.ID), "no product is left that it is for", "Maker.Tool"})
	}
	bare := m.offer("Bare.Thing", "99.0", "", toolName) // a bulletin hides no less
	got, refused = m.run(bare, tool)
	m.want("a bulletin", got, "Maker.Tool 2.0: app/tool|maker arp/tool")
	m.says("a bulletin", refused, []string{"whose signer is not known"}, []string{string(bare.ID)})
}

// TestTrustRow2ProductOfTheFirst: where names don't tell whose a product is (an
// Uninstall key, an upgrade code), it stays with the package that had it.
func TestTrustRow2ProductOfTheFirst(t *testing.T) {
	const family = "upgrade {AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA}"
	m := newMarket(t)
	git := m.offer("Git.Git", "2.0", "Johannes Doe", "arp git_is1", family, "app git|the git community")
	evil := m.offer("Evil.Thing", "99.0", "Evil Inc", "arp Git_is1", strings.ToLower(family), "app thing|evil")
	m.run(git)
	got, refused := m.run(evil, git)
	m.want("the second", got, "Evil.Thing 99.0: app/thing|evil", "Git.Git 2.0: arp/git_is1 upgrade/{AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA} app/git|the git community")
	m.says("the second", refused, []string{"arp git_is1", "Evil.Thing", "belongs to git.git (signed by Johannes Doe), which had it first"}, []string{family, "Evil.Thing"})
	// An installer that can't be fetched for once doesn't lose the product.
	away := m.offer("Git.Git", "2.1", "", "arp git_is1")
	got, _ = m.run(evil, away)
	m.want("the first is away", got, "Evil.Thing 99.0: app/thing|evil", "-Git.Git 2.1: arp/git_is1")
	// Nor does a package that is gone: what is on machines is still its.
	if got, refused = m.run(evil); len(got) != 1 || got[0] != "Evil.Thing 99.0: app/thing|evil" || len(refused) != 2 {
		t.Errorf("the first is gone: %q %+v", got, refused)
	}
	// A new identifier of the same signer is the same maker's.
	renamed := m.offer("GitCommunity.Git", "2.2", "Johannes Doe", "arp git_is1")
	got, refused = m.run(renamed)
	m.want("renamed", got, "GitCommunity.Git 2.2: arp/git_is1")
	m.says("renamed", refused)
	m.code.Products = map[string]string{"arp Git_is1": "evil.thing"} // and a person may say otherwise
	got, refused = m.run(m.offer("Evil.Thing", "99.0", "Evil Inc", "arp Git_is1"), git)
	m.want("by the configuration", got, "Evil.Thing 99.0: arp/Git_is1", "Git.Git 2.0: upgrade/{AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA} app/git|the git community")
	m.says("by the configuration", refused, []string{"Git.Git (signed by Johannes Doe) claims", "by the configuration (winget.products)"})
}

// TestTrustRow2ProductOfNobody: of two strangers that come together neither is
// installed for the product, and machines still see that they lack something.
func TestTrustRow2ProductOfNobody(t *testing.T) {
	m := newMarket(t)
	a, b := m.offer("A.App", "2.0", "Anna", "arp app"), m.offer("B.App", "99.0", "Bert", "arp app", "arp b")
	got, refused := m.run(a, b)
	m.want("two strangers", got, "-A.App 2.0: arp/app", "-B.App 99.0: arp/app arp/b")
	m.says("two strangers", refused, []string{"product arp app", "A.App (signed by Anna) and B.App (signed by Bert) claim", `set winget.products: {"arp app": whose it is}`})
	l := m.open()
	kept, _ := l.Judge([]patch.Patch{a, b}, nil)
	settled, err := l.Settle(kept)
	if err != nil || !strings.Contains(settled.Patches[0].Evidence.Checks[0], "nothing is installed from it: A.App (signed by Anna) and B.App (signed by Bert) claim") {
		t.Errorf("%v %+v", err, settled)
	}
	m.code.Products = map[string]string{"arp App": "a.app"}
	got, refused = m.run(a, b)
	m.want("decided", got, "A.App 2.0: arp/app", "B.App 99.0: arp/b")
	m.says("decided", refused, []string{"B.App (signed by Bert) claims", "belongs to a.app by the configuration"})
}

// TestTrustRow2SiblingsProduct: of packages of one signer one has the product,
// the first, else the one of the shortest name: a genuine program must not come
// as another's fix either. It is told, and the others keep what is theirs alone.
func TestTrustRow2SiblingsProduct(t *testing.T) {
	m := newMarket(t)
	msi, exe := m.offer("Goo.Browser", "2.0", "Goo LLC", "app browser|goo", "arp {11111111-1111-1111-1111-111111111111}"), m.offer("Goo.Browser.EXE", "2.1", "Goo LLC", "app browser|goo", "arp goo browser")
	next := m.offer("Goo.Browser.EXE", "2.2", "", "app browser|goo")
	got, refused := m.run(exe, msi, next)
	m.want("siblings", got, "Goo.Browser.EXE 2.1: arp/goo browser", "Goo.Browser 2.0: app/browser|goo arp/{11111111-1111-1111-1111-111111111111}")
	m.says("siblings", refused, []string{string(next.ID), "no product is left that it is for"})
	if len(m.notes) != 1 || !strings.Contains(m.notes[0], `Goo.Browser.EXE (signed by Goo LLC) claims the product "app browser|goo", which belongs to Goo.Browser (signed by Goo LLC), a package of the same signer; to give it to the other, set winget.products: {"app browser|goo": Goo.Browser.EXE}`) {
		t.Errorf("notes %q", m.notes)
	}
	short := m.offer("G.B", "99.0", "Goo LLC", "app browser|goo", "app drive|goo") // genuine, higher, and shorter
	got, refused = m.run(short, msi)
	m.want("a newcomer", got, "G.B 99.0: app/drive|goo", "Goo.Browser 2.0: app/browser|goo arp/{11111111-1111-1111-1111-111111111111}")
	m.says("a newcomer", refused)
	m.code.Products = map[string]string{"app browser|goo": "Goo.Browser.EXE"}
	got, refused = m.run(exe, msi)
	m.want("by the configuration", got, "Goo.Browser.EXE 2.1: app/browser|goo arp/goo browser", "Goo.Browser 2.0: arp/{11111111-1111-1111-1111-111111111111}")
	m.says("by the configuration", refused, []string{"Goo.Browser (signed by Goo LLC) claims", "by the configuration"})
	got, refused = m.run(m.offer("X.One", "1", "", "arp x"), m.offer("X.Two", "2", "", "arp x"))
	m.want("unproven", got, "-X.One 1: arp/x", "-X.Two 2: arp/x")
	m.says("unproven", refused)
}

// TestOwnersDamaged: who had a product is not forgotten in silence.
func TestOwnersDamaged(t *testing.T) {
	m := newMarket(t)
	if err := os.WriteFile(filepath.Join(m.dir, "products.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.open().Settle(nil); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "backup") {
		t.Errorf("%v", err)
	}
}

// TestTrustRow2OneOwner: whatever is claimed by whom and in which order it
// comes, nothing of two packages can be installed for one product.
func TestTrustRow2OneOwner(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newMarket(t)
		for run := range rapid.IntRange(1, 3).Draw(r, "runs") {
			var ps []patch.Patch
			for i := range rapid.IntRange(1, 5).Draw(r, "patches") {
				who := rapid.SampledFrom([]string{"A", "B", "C"}).Draw(r, "package")
				signer := map[string]string{"A": "Maker Inc", "B": "Bert", "C": "Bert"}[who]
				if rapid.Bool().Draw(r, "unproven") {
					signer = ""
				}
				claims := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"app tool|maker", "arp tool", "arp Tool2", "upgrade {AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA}"}), 1, 3, rapid.ID[string]).Draw(r, "claims")
				ps = append(ps, m.offer("X."+who, fmt.Sprintf("%d.%d", run, i), signer, claims...))
			}
			l := m.open()
			if err := l.Examine(t.Context(), ps, func(string) (lab.File, error) { return nil, fault.New(fault.NotFound, "test: gone") }, m.now); err != nil {
				r.Fatal(err)
			}
			kept, _ := l.Judge(ps, nil)
			settled, err := l.Settle(kept)
			if err != nil {
				r.Fatal(err)
			}
			by := map[string][]string{}
			for _, p := range settled.Patches {
				if len(p.Items) == 0 {
					r.Fatalf("%s is for nothing", p.ID)
				}
				for _, it := range p.Items {
					if id := strings.ToLower(it.Kind + it.Name); p.Evidence.Verdict == patch.Proven && !slices.Contains(by[id], p.Product) {
						by[id] = append(by[id], p.Product)
					}
				}
			}
			for what, packages := range by {
				if len(packages) > 1 {
					r.Fatalf("%s is installed from %v", what, packages)
				}
			}
		}
	})
}
