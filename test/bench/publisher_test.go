package bench

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher/crawl/debian/debtest"
)

// The suites of the archive on loopback.
const (
	releaseSuite  = "bookworm"
	securitySuite = "bookworm-security"
)

// publisherDay runs the real publisher twice, a day apart, against an archive
// on loopback that offers what this machine's archives offer, signed by a key
// of its own: crawl, verify, assemble, delta, sign.
func publisherDay(t *testing.T, b *table, p publication) {
	archive := debtest.New(t, time.Now().Add(-48*time.Hour))
	web := httptest.NewServer(debtest.Handler(archive.Dir))
	defer web.Close()
	var base, security []patch.Patch
	secure := p.contents.Header.Archives
	for _, x := range p.contents.Patches {
		if slices.ContainsFunc(secure, func(a catalog.Archive) bool { return a.Security && slices.Contains(x.Archives, a.ID) }) {
			security = append(security, x)
		} else {
			base = append(base, x)
		}
	}
	putSuite(t, archive, releaseSuite, base, -24*time.Hour)
	putSuite(t, archive, securitySuite, security, -24*time.Hour)
	dir := t.TempDir()
	config := publisherConfig(t, dir, web.URL, archive.Keyring)
	first := publishOnce(t, config)
	rnd := rand.New(rand.NewPCG(5, 6))
	all := slices.Clone(security)
	for i := range updates {
		all = append(all, updated(rnd, p.contents, base[i*len(base)/updates], ""))
	}
	putSuite(t, archive, securitySuite, all, -time.Hour)
	second := publishOnce(t, config)
	if len(first.Shards) != 1 || len(second.Shards) != 1 || second.Version != first.Version+1 {
		t.Fatalf("%+v, then %+v", first, second)
	}
	s := second.Shards[0]
	if s.Delta == 0 {
		t.Fatal("the publisher made no delta")
	}
	judgeDelta(b, fmt.Sprintf("the publisher's own, %d of %d sources new", updates, first.Shards[0].Patches), int(s.Delta), int(s.Packed))
	b.add("the publisher's run: first", first.Took.Round(time.Millisecond).String(), "", "")
	b.add("the publisher's run: a day later", second.Took.Round(time.Millisecond).String(), "", "")
}

// putSuite writes and signs a suite with these patches.
func putSuite(t *testing.T, a *debtest.Archive, suite string, all []patch.Patch, age time.Duration) {
	t.Helper()
	var index, packed bytes.Buffer
	for _, p := range all {
		for _, it := range p.Items {
			fmt.Fprintf(&index, "Package: %s\nSource: %s (%s)\nVersion: %s\nArchitecture: %s\nFilename: %s\nSize: %d\nSHA256: %s\nDescription: as published\n\n",
				it.Name, p.Product, p.Version, it.Version, it.Arch, it.Payload.Name, it.Payload.Size, it.Payload.SHA256)
		}
	}
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(index.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s := debtest.Suite{Path: suite, Date: time.Now().Add(age)}
	text := fmt.Sprintf("Origin: Debian\nLabel: Debian\nSuite: %s\nCodename: %s\nDate: %s\nArchitectures: amd64\nComponents: main\nSHA256:\n",
		suite, suite, s.Date.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	dir := filepath.Join(a.Dir, "dists", suite, "main/binary-amd64")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{"Packages", index.Bytes()}, {"Packages.gz", packed.Bytes()}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.data, 0o644); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf(" %x %d main/binary-amd64/%s\n", sha256.Sum256(f.data), len(f.data), f.name)
	}
	a.Sign(t, s, text)
}

func publisherConfig(t *testing.T, dir, uri, keyring string) string {
	t.Helper()
	var s strings.Builder
	fmt.Fprintf(&s, "data: %[1]s/state\nrepository: %[1]s/repository\nkeys: %[1]s/keys\n", dir)
	s.WriteString("feeds: {debian_tracker: \"\", debian_dsa: \"\", kev: \"\", epss: \"\"}\narchives:\n")
	for _, suite := range []string{releaseSuite, securitySuite} {
		fmt.Fprintf(&s, "  - {name: %s, uri: %q, suite: %s, components: [main], architectures: [amd64], keyring: %q, security: %t, release: debian-12}\n",
			suite, uri, suite, keyring, suite == securitySuite)
	}
	path := filepath.Join(dir, "publisher.yml")
	if err := os.WriteFile(path, []byte(s.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// publishReport is what `fettle publisher once --json` prints of itself.
type publishReport struct {
	Version int64         `json:"version"`
	Took    time.Duration `json:"took_ns"`
	Shards  []struct {
		Patches       int
		Packed, Delta int64
	}
}

func publishOnce(t *testing.T, config string) publishReport {
	t.Helper()
	cmd := exec.Command(program(t, "fettle"), "publisher", "once", "--json", "--config", config)
	var note bytes.Buffer
	cmd.Stderr = &note
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("publisher once: %v\n%s\n%s", err, out, note.String())
	}
	var r publishReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	return r
}
