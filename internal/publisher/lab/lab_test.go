package lab_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian/debtest"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const sum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func archives() []catalog.Archive {
	return []catalog.Archive{
		{ID: "main", Path: "bookworm", Signers: []string{"AAAA"}},
		{ID: "sec", Path: "bookworm-security", Security: true, Signers: []string{"BBBB"}},
		{ID: "unsigned", Path: "apps"},
	}
}

func one(change func(*patch.Patch)) patch.Patch {
	p := patch.Patch{ID: "debian-12:amd64:tool:1", Archives: []string{"main"}, Items: []patch.Item{
		{Kind: "dpkg", Name: "tool", Arch: "amd64", Version: "1", Payload: patch.Payload{SHA256: sum, Size: 1}},
	}}
	change(&p)
	return p
}

// TestJudgeWithoutPayload: a bulletin whose vendor names no file is published
// for what it says; one that names a file without a signed archive is not.
func TestJudgeWithoutPayload(t *testing.T) {
	l, err := lab.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kept, rejected := l.Judge([]patch.Patch{{ID: "windows-11-23h2:amd64:KB5034123"}}, nil)
	if len(kept) != 1 || len(rejected) != 0 || kept[0].Evidence.Verdict != patch.Unproven {
		t.Errorf("kept %+v, rejected %+v", kept, rejected)
	}
	half := one(func(p *patch.Patch) { p.Archives = nil })
	if kept, rejected := l.Judge([]patch.Patch{half}, nil); len(kept) != 0 || len(rejected) != 1 {
		t.Errorf("kept %+v, rejected %+v", kept, rejected)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*patch.Patch)
		evidence string
		reason   string
	}{
		{"main", func(*patch.Patch) {}, "bookworm/InRelease signed by AAAA", ""},
		{"security first", func(p *patch.Patch) { p.Archives = []string{"main", "sec"} }, "bookworm-security/InRelease signed by BBBB", ""},
		{"no archive", func(p *patch.Patch) { p.Archives = nil }, "", "no signed archive"},
		{"unknown archive", func(p *patch.Patch) { p.Archives = []string{"gone"} }, "", "no signed archive"},
		{"unsigned archive", func(p *patch.Patch) { p.Archives = []string{"main", "unsigned"} }, "", "no signed archive"},
		{"no hash", func(p *patch.Patch) { p.Items[0].Payload.SHA256 = "" }, "", "no SHA-256"},
		{"no size", func(p *patch.Patch) { p.Items[0].Payload.Size = 0 }, "", "no size"},
		{"item from elsewhere", func(p *patch.Patch) { p.Items[0].Archives = []string{"sec"} }, "", "not among"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := lab.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			kept, rejected := l.Judge([]patch.Patch{one(c.change)}, archives())
			if c.reason != "" {
				if len(kept) != 0 || len(rejected) != 1 || !strings.Contains(rejected[0].Reason, c.reason) {
					t.Errorf("kept %v, rejected %v, want %q", kept, rejected, c.reason)
				}
				return
			}
			if len(kept) != 1 || kept[0].Evidence.Verdict != patch.Vouched || kept[0].Evidence.Checks[0] != c.evidence {
				t.Errorf("kept %+v, rejected %v", kept, rejected)
			}
		})
	}
}

// shelf holds payloads by hash; what it lacks can't be fetched.
type shelf map[string][]byte

func (s shelf) Fetch(_ context.Context, _ patch.Patch, it patch.Item) error {
	if _, ok := s[it.Payload.SHA256]; !ok {
		return fault.New(fault.Unavailable, "not now")
	}
	return nil
}

func (s shelf) Open(sha256 string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s[sha256])), nil
}

func TestProve(t *testing.T) {
	a := debtest.New(t, now)
	deb, err := os.ReadFile(a.Build(t, debtest.Deb{Name: "tool", Version: "2:1.0-1", Arch: "amd64"}))
	if err != nil {
		t.Fatal(err)
	}
	right := hash(deb)
	for _, c := range []struct {
		name   string
		item   patch.Item
		bytes  []byte
		reason string
	}{
		{"good", patch.Item{Name: "tool", Version: "2:1.0-1", Arch: "amd64"}, deb, ""},
		{"other name", patch.Item{Name: "tools", Version: "2:1.0-1", Arch: "amd64"}, deb, "calls itself tool"},
		{"other version", patch.Item{Name: "tool", Version: "1.0-1", Arch: "amd64"}, deb, "of version 2:1.0-1"},
		{"other architecture", patch.Item{Name: "tool", Version: "2:1.0-1", Arch: "all"}, deb, "architecture amd64"},
		{"other bytes", patch.Item{Name: "tool", Version: "2:1.0-1", Arch: "amd64"}, append(bytes.Clone(deb[:len(deb)-1]), deb[len(deb)-1]^1), "SHA-256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := lab.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			c.item.Kind, c.item.Payload = "dpkg", patch.Payload{SHA256: right, Size: int64(len(deb))}
			p := one(func(p *patch.Patch) { p.Items = []patch.Item{c.item} })
			got, err := l.Prove(t.Context(), shelf{right: c.bytes}, []patch.Patch{p}, now)
			if err != nil || len(got) != 1 || got[0].OK != (c.reason == "") || !strings.Contains(got[0].Reason, c.reason) {
				t.Fatalf("%+v, %v", got, err)
			}
			if l, err = lab.Open(dir); err != nil { // proofs outlive the process
				t.Fatal(err)
			}
			kept, rejected := l.Judge([]patch.Patch{p}, archives())
			if c.reason == "" && (len(kept) != 1 || kept[0].Evidence.Verdict != patch.Proven) {
				t.Errorf("kept %+v", kept)
			}
			if c.reason != "" && (len(rejected) != 1 || !strings.Contains(rejected[0].Reason, c.reason)) {
				t.Errorf("rejected %+v", rejected)
			}
		})
	}
	t.Run("not to be had", func(t *testing.T) {
		l, err := lab.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.Prove(t.Context(), shelf{}, []patch.Patch{one(func(*patch.Patch) {})}, now)
		if err != nil || !got[0].Untried || got[0].OK {
			t.Errorf("%+v, %v", got, err)
		}
		kept, _ := l.Judge([]patch.Patch{one(func(*patch.Patch) {})}, archives())
		if len(kept) != 1 || kept[0].Evidence.Verdict != patch.Vouched {
			t.Errorf("what could not be fetched stays as it was: %+v", kept)
		}
	})
}

func TestDamagedProofs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "proofs.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Open(dir); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}
