package catalog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genContents(t)
		want, err := Normalize(c)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := Encode(&b, c); err != nil {
			t.Fatal(err)
		}
		s, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Contents()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("contents changed on the way (-want +got):\n%s", diff)
		}
		for _, p := range want.Patches {
			q, digest, err := s.Patch(p.ID)
			if err != nil || len(digest) != 64 {
				t.Fatalf("Patch(%s): digest %q, %v", p.ID, digest, err)
			}
			if diff := cmp.Diff(p, q); diff != "" {
				t.Fatalf("Patch(%s) (-want +got):\n%s", p.ID, diff)
			}
		}
		for _, v := range want.Vulnerabilities {
			if r, ok := s.riskOf(v.ID); !ok || r.epss != v.EPSS || r.exploited != (v.KEV != nil) || r.severity != v.Severity {
				t.Fatalf("risk of %+v reads %+v, %v", v, r, ok)
			}
		}
	})
}

func TestSameRecordsSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genContents(t)
		var a, b bytes.Buffer
		if err := Encode(&a, c); err != nil {
			t.Fatal(err)
		}
		d := Contents{
			Header: c.Header, Patches: rapid.Permutation(c.Patches).Draw(t, "patches"),
			Advisories:      rapid.Permutation(c.Advisories).Draw(t, "advisories"),
			Vulnerabilities: rapid.Permutation(c.Vulnerabilities).Draw(t, "vulnerabilities"),
		}
		d.Header.Archives = rapid.Permutation(c.Header.Archives).Draw(t, "archives")
		for i := range d.Patches {
			d.Patches[i].Items = rapid.Permutation(d.Patches[i].Items).Draw(t, "items")
			d.Patches[i].CVEs = rapid.Permutation(d.Patches[i].CVEs).Draw(t, "cves")
		}
		if err := Encode(&b, d); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatal("the same records in another order gave other bytes")
		}
	})
}

// TestDigestOutlivesSnapshots checks that a new snapshot of a suite leaves the
// digests of the patches that it still holds as they were.
func TestDigestOutlivesSnapshots(t *testing.T) {
	c := Contents{Header: testHeader(), Patches: []patch.Patch{debPatch("zlib", "1.0-1", []string{"bbbbbbbbbbbbbbbb"}, "zlib1g")}}
	s, _ := encode(t, c)
	_, before, err := s.Patch(c.Patches[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	c.Patches[0].Archives = []string{"bbbbbbbbbbbbbbbb", "eeeeeeeeeeeeeeee"}
	s, _ = encode(t, c)
	p, after, err := s.Patch(c.Patches[0].ID)
	if err != nil || before != after || len(p.Archives) != 2 {
		t.Errorf("digest %s became %s, archives %v, %v", before, after, p.Archives, err)
	}
	c.Patches[0].Items[0].Payload.SHA256 = payload("zlib1g", "other").SHA256
	s, _ = encode(t, c)
	if _, other, _ := s.Patch(c.Patches[0].ID); other == before {
		t.Error("another payload has the same digest")
	}
}

func TestEncodeRefuses(t *testing.T) {
	good := debPatch("zlib", "1.0-1", []string{"aaaaaaaaaaaaaaaa"}, "zlib1g")
	change := func(f func(*patch.Patch)) patch.Patch {
		p := good
		p.Items = append([]patch.Item{}, good.Items...)
		f(&p)
		return p
	}
	for name, c := range map[string]Contents{
		"a patch twice":          {Header: testHeader(), Patches: []patch.Patch{good, good}},
		"a patch without id":     {Header: testHeader(), Patches: []patch.Patch{change(func(p *patch.Patch) { p.ID = "" })}},
		"an unknown archive":     {Header: testHeader(), Patches: []patch.Patch{change(func(p *patch.Patch) { p.Archives = []string{"ffff"} })}},
		"an item's archive":      {Header: testHeader(), Patches: []patch.Patch{change(func(p *patch.Patch) { p.Items[0].Archives = []string{"ffff"} })}},
		"an item twice":          {Header: testHeader(), Patches: []patch.Patch{change(func(p *patch.Patch) { p.Items = append(p.Items, p.Items[0]) })}},
		"a rollout of 101 %":     {Header: testHeader(), Patches: []patch.Patch{change(func(p *patch.Patch) { p.Items[0].PhasedPercent = 101 })}},
		"a snapshot twice":       {Header: Header{Platform: "debian-12-amd64", Archives: append(testArchives(), testArchives()...)}},
		"a vulnerability twice":  {Header: testHeader(), Vulnerabilities: []patch.Vulnerability{{ID: "CVE-1"}, {ID: "CVE-1"}}},
		"an advisory without id": {Header: testHeader(), Advisories: []patch.Advisory{{}}},
	} {
		if err := Encode(io.Discard, c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	_, good := encode(t, Contents{Header: testHeader(), Patches: []patch.Patch{debPatch("zlib", "1.0-1", nil, "zlib1g")}})
	edit := func(f func([]byte) []byte) []byte { return f(bytes.Clone(good)) }
	for name, c := range map[string]struct {
		file []byte
		want fault.Code
	}{
		"nothing":           {nil, fault.Untrusted},
		"a web page":        {bytes.Repeat([]byte("<html>"), 100), fault.Untrusted},
		"a cut file":        {good[:len(good)-1], fault.Untrusted},
		"a longer file":     {append(bytes.Clone(good), 0), fault.Untrusted},
		"a newer format":    {edit(func(b []byte) []byte { b[14] = '9'; return b }), fault.Unsupported},
		"a section too big": {edit(func(b []byte) []byte { b[len(magic)+7] = 0x7f; return b }), fault.Untrusted},
		"a broken header":   {edit(func(b []byte) []byte { b[preambleSize] = 'x'; return b }), fault.Untrusted},
	} {
		if _, err := Open(bytes.NewReader(c.file), int64(len(c.file))); !fault.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := Open(broken{}, 10_000); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a disk that fails: %v, want Unavailable", err)
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, os.ErrPermission }

// TestFlippedByteNeverPanics flips every byte of a shard in turn: Open refuses
// or every look-up answers without leaving the file.
func TestFlippedByteNeverPanics(t *testing.T) {
	_, good := encode(t, Contents{
		Header: testHeader(), Patches: []patch.Patch{debPatch("zlib", "1.0-1", []string{"aaaaaaaaaaaaaaaa"}, "zlib1g", "zlib1g-dev")},
		Vulnerabilities: []patch.Vulnerability{{ID: "CVE-2026-0001"}},
	})
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= []byte{1, 0x80, 0xff}[i%3]
		exercise(b)
	}
}

// exercise calls everything that reads a shard; errors are fine.
func exercise(b []byte) {
	s, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	_, _ = s.Contents()
	s.Counts()
	s.Available("dpkg", "zlib1g")
	_, _, _ = s.Patch("debian-12:amd64:zlib:1.0-1")
	_, _ = s.Advisory("DSA-1-1")
	_, _, _ = s.Vulnerability("CVE-2026-0001")
	_, _ = Assess([]*Shard{s}, machine("zlib1g", "0.9-1", "openssl0", "0.1-1"), nil)
}

func FuzzOpen(f *testing.F) {
	var b bytes.Buffer
	if err := Encode(&b, Contents{Header: testHeader(), Patches: []patch.Patch{
		debPatch("zlib", "1.0-1", []string{"aaaaaaaaaaaaaaaa"}, "zlib1g"), windowsPatch("KB1", "10.0.1.1"),
	}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, b []byte) { exercise(b) })
}

func TestNotFound(t *testing.T) {
	s, _ := encode(t, Contents{Header: testHeader()})
	_, _, err := s.Patch("debian-12:amd64:zlib:1.0-1")
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("a patch that is not there: %v", err)
	}
	if _, err := s.Advisory("DSA-1-1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an advisory that is not there: %v", err)
	}
	if _, ok, err := s.Vulnerability("CVE-1"); ok || err != nil {
		t.Errorf("a CVE that is not there: %v %v", ok, err)
	}
	if got := s.Available("dpkg", "zlib1g"); len(got) != 0 {
		t.Errorf("a package that is not there: %v", got)
	}
}

func TestAvailable(t *testing.T) {
	phased := debPatch("zlib", "1.1-1", []string{"bbbbbbbbbbbbbbbb"}, "zlib1g")
	phased.Items[0].PhasedPercent = 30
	s, _ := encode(t, Contents{Header: testHeader(), Patches: []patch.Patch{
		debPatch("zlib", "1.0-1", []string{"aaaaaaaaaaaaaaaa"}, "zlib1g", "zlib1g-dev"), phased,
	}})
	got := s.Available("dpkg", "zlib1g")
	h := s.Header()
	want := []Available{
		{Kind: "dpkg", Name: "zlib1g", Arch: "amd64", Version: "1.0-1", Patch: "debian-12:amd64:zlib:1.0-1", Archives: []*Archive{&h.Archives[0]}},
		{Kind: "dpkg", Name: "zlib1g", Arch: "amd64", Version: "1.1-1", Patch: "debian-12:amd64:zlib:1.1-1", Archives: []*Archive{&h.Archives[1]}, Security: true, Phased: 30},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Available (-want +got):\n%s", diff)
	}
}

func TestContentsStopsAtDamage(t *testing.T) {
	s, b := encode(t, Contents{Header: testHeader(), Patches: []patch.Patch{debPatch("zlib", "1.0-1", nil, "zlib1g")}})
	b[s.start[secPatches]] = 'x'
	_, err := reopen(t, b).Contents()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.Untrusted || f.Hint == "" {
		t.Errorf("a damaged record: %v, want Untrusted with a hint", err)
	}
}
