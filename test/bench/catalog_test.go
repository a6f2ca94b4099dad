package bench

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
)

// publication is what the publisher makes of this machine's own apt sources.
type publication struct {
	data     string // data folder, with the signed repository
	shard    string // the machine's shard as a plain file, as agents keep it
	packed   string // as it travels
	rich     string // with made-up CVEs, in the size of a full security tracker
	contents catalog.Contents
}

// publish runs the publisher once; the network it uses is apt's.
func publish(t *testing.T) publication {
	t.Helper()
	p := publication{data: t.TempDir()}
	if out, err := exec.Command(program(t, "fettle"), "publisher", "once", "--data", p.data).CombinedOutput(); err != nil {
		t.Fatalf("publisher once: %v\n%s", err, out)
	}
	arch, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(p.data, "repository/targets/catalog/*-"+strings.TrimSpace(string(arch))+".shard.zst"))
	if err != nil || len(found) != 1 {
		t.Fatalf("shards %q, %v", found, err)
	}
	p.packed = found[0]
	packed, err := os.ReadFile(p.packed)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.shard = keep(t, "machine.shard", plain)
	if p.contents, err = open(t, plain).Contents(); err != nil {
		t.Fatal(err)
	}
	p.rich = keep(t, "rich.shard", encode(t, withCVEs(p.contents)))
	return p
}

func keep(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, data []byte) *catalog.Shard {
	t.Helper()
	s, err := catalog.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func encode(t *testing.T, c catalog.Contents) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := catalog.Encode(&out, c); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// pack compresses as the publisher does.
func pack(t *testing.T, plain []byte) int {
	t.Helper()
	z, err := zstd.NewWriter(io.Discard, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(2<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return len(z.EncodeAll(plain, nil))
}

// withCVEs adds what a security tracker would: 40,000 CVEs and 5,000
// advisories. Every fourth source has fixed some. The texts are made up.
func withCVEs(c catalog.Contents) catalog.Contents {
	rnd := rand.New(rand.NewPCG(1, 2))
	c.Patches = slices.Clone(c.Patches)
	for i := range 40_000 {
		c.Vulnerabilities = append(c.Vulnerabilities, patch.Vulnerability{
			ID: fmt.Sprintf("CVE-%d-%05d", 2010+i%17, 10_000+i), Severity: patch.Moderate, CVSS: 5.5, EPSS: float64(rnd.IntN(1000)) / 1e5,
			CVSSVector: "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H", Description: text(rnd, 30),
		})
	}
	for i := range c.Patches {
		p := &c.Patches[i]
		if i%4 != 0 && !p.IsSecurity() {
			continue
		}
		for range 1 + rnd.IntN(20) {
			v := c.Vulnerabilities[rnd.IntN(40_000)]
			p.CVEs = append(slices.Clone(p.CVEs), patch.CVEFix{ID: v.ID, FixedIn: p.Version})
		}
		if i%7 == 0 || p.IsSecurity() {
			id := fmt.Sprintf("DSA-%d-1", 10_000+i)
			p.Advisories = append(slices.Clone(p.Advisories), id)
			c.Advisories = append(c.Advisories, patch.Advisory{
				ID: id, Vendor: p.Vendor, Title: text(rnd, 6), Severity: patch.Important,
				Fixes: []patch.Fix{{Product: p.Product, Release: "bookworm", Version: p.Version}},
			})
		}
	}
	return c
}

func text(rnd *rand.Rand, n int) string {
	list := []string{"kernel", "overflow", "parser", "buffer", "remote", "memory", "allows", "crafted", "library", "denial", "service", "python", "image", "network"}
	out := make([]string, n)
	for i := range out {
		out[i] = list[rnd.IntN(len(list))]
	}
	return strings.Join(out, " ")
}

// updates is how many sources have a new version on the day that is measured.
const updates = 60

// nextDay is the catalog a day later: the security suite has a new snapshot
// with new versions of 60 sources, spread over the archive, and with CVEs known,
// 2,000 of them have another EPSS score.
func nextDay(t *testing.T, c catalog.Contents) catalog.Contents {
	t.Helper()
	rnd := rand.New(rand.NewPCG(3, 4))
	c.Header.Version++
	c.Header.Archives, c.Patches, c.Vulnerabilities = slices.Clone(c.Header.Archives), slices.Clone(c.Patches), slices.Clone(c.Vulnerabilities)
	at := slices.IndexFunc(c.Header.Archives, func(a catalog.Archive) bool { return a.Security })
	if at < 0 {
		t.Fatal("this machine's apt has no security suite")
	}
	older := c.Header.Archives[at].ID
	fresh := c.Header.Archives[at]
	fresh.ID, fresh.InRelease.SHA256 = hexes(rnd, 16), hexes(rnd, 64)
	c.Header.Archives[at].Superseded = true
	c.Header.Archives = append(c.Header.Archives, fresh)
	for i := range c.Patches {
		if slices.Contains(c.Patches[i].Archives, older) {
			c.Patches[i].Archives = append(slices.Clone(c.Patches[i].Archives), fresh.ID)
		}
	}
	step := len(c.Patches) / updates
	for i := range updates {
		c.Patches = append(c.Patches, updated(rnd, c, c.Patches[i*step+step/2], fresh.ID))
	}
	for range min(len(c.Vulnerabilities), 2000) {
		c.Vulnerabilities[rnd.IntN(len(c.Vulnerabilities))].EPSS = float64(rnd.IntN(1000)) / 1e5
	}
	return c
}

// updated is a security update of a source: other versions, files and CVEs.
func updated(rnd *rand.Rand, c catalog.Contents, p patch.Patch, archive string) patch.Patch {
	older := p.Version
	p.Version += "+deb12u99"
	p.ID = patch.ID(strings.TrimSuffix(string(p.ID), older) + p.Version)
	p.Classification, p.Archives, p.Advisories, p.CVEs = patch.Security, []string{archive}, nil, nil
	p.Items = slices.Clone(p.Items)
	for i := range p.Items {
		it := &p.Items[i]
		it.Payload.Name = strings.Replace(it.Payload.Name, "_"+it.Version+"_", "_"+it.Version+"+deb12u99_", 1)
		it.Version += "+deb12u99"
		it.Archives, it.Payload.SHA256, it.Payload.Size = nil, hexes(rnd, 64), it.Payload.Size+int64(rnd.IntN(4096))
	}
	for range min(len(c.Vulnerabilities), 2) {
		p.CVEs = append(p.CVEs, patch.CVEFix{ID: c.Vulnerabilities[rnd.IntN(len(c.Vulnerabilities))].ID, FixedIn: p.Version})
	}
	return p
}

func hexes(rnd *rand.Rand, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = "0123456789abcdef"[rnd.IntN(16)]
	}
	return string(out)
}

// delta holds a day's delta against the whole shard, both as they travel.
func delta(t *testing.T, b *table, p publication) {
	for _, d := range []struct {
		name string
		c    catalog.Contents
	}{{"this machine's catalog", p.contents}, {"with 40,000 made-up CVEs", withCVEs(p.contents)}} {
		older := open(t, encode(t, d.c))
		plain := encode(t, nextDay(t, d.c))
		newer := open(t, plain)
		var diff, made bytes.Buffer
		if err := catalog.MakeDelta(&diff, older, newer); err != nil {
			t.Fatal(err)
		}
		size := diff.Len()
		if err := catalog.ApplyDelta(&made, older, &diff); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made.Bytes(), plain) {
			t.Fatal("the delta does not make the new shard")
		}
		judgeDelta(b, fmt.Sprintf("%s, %d of %d sources new", d.name, updates, len(d.c.Patches)), size, pack(t, plain))
	}
}

func judgeDelta(b *table, name string, size, whole int) {
	b.judge("a day's delta: "+name, fmt.Sprintf("%d bytes", size), fmt.Sprintf("%d bytes (whole shard)", whole),
		fmt.Sprintf("1/%d", whole/max(size, 1)), "at most 1/100", size*100 <= whole)
}
