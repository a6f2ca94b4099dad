package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/repo/client"
)

// slice signs a shard of a platform with one patch.
func (s *server) slice(platform string, version int64) {
	s.t.Helper()
	var shard bytes.Buffer
	check(s.t, catalog.Encode(&shard, catalog.Contents{
		Header:  catalog.Header{Format: catalog.Format, Platform: platform, Version: version, Created: time.Unix(1700000000, 0)},
		Patches: []patch.Patch{{ID: patch.ID(platform + ":app"), Platform: platform, Product: "app", Version: "2", Items: []patch.Item{{Kind: "arp", Name: "App", Version: "2"}}}},
	}))
	sum := sha256.Sum256(shard.Bytes())
	custom, err := json.Marshal(shardInfo{Platform: platform, Version: version, SHA256: hex.EncodeToString(sum[:]), Size: int64(shard.Len())})
	check(s.t, err)
	enc, err := zstd.NewWriter(nil)
	check(s.t, err)
	_, err = s.repo.Add(s.t.Context(), shardTarget(platform), bytes.NewReader(enc.EncodeAll(shard.Bytes(), nil)), custom)
	check(s.t, err)
}

// watched notes what is fetched by way of a transport.
type watched struct {
	client.Transport
	paths *[]string
}

func (w watched) Get(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	*w.paths = append(*w.paths, path)
	return w.Transport.Get(ctx, path)
}

func (s *server) signSlices() {
	s.t.Helper()
	_, err := s.repo.Publish(s.t.Context(), time.Now())
	check(s.t, err)
}

func kept(t *testing.T, d Dir) (names []string) {
	t.Helper()
	all, err := os.ReadDir(d.path("shards"))
	check(t, err)
	for _, f := range all {
		if name, is := strings.CutSuffix(f.Name(), ".shard"); is {
			names = append(names, name)
		}
	}
	return names
}

// TestSlices: a machine follows the slices that serve it, whichever of them
// exist, and no others.
func TestSlices(t *testing.T) {
	const release, apps, foreign = "windows-10-1903-amd64", "windows-apps-amd64", "debian-12-amd64"
	snap := inventory.Snapshot{
		OS:       inventory.OS{Family: "windows", ID: "windows-10", Version: "1903", Arch: "amd64"},
		Packages: []inventory.Package{{Kind: "arp", Name: "App", Arch: "amd64", Version: "1"}},
	}
	mine := snap.Platforms()
	s := newServer(t)
	d := Dir(tempDir(t))
	check(t, d.make())
	root, err := s.repo.RootJSON()
	check(t, err)
	check(t, os.WriteFile(d.root(), root, 0o600))
	var fetched []string
	follow := func() (int64, error) {
		t.Helper()
		dir, err := client.OpenDir(s.repoDir)
		check(t, err)
		defer dir.Close()
		return syncCatalog(t.Context(), d, watched{dir, &fetched}, mine, time.Now())
	}
	missing := func() (ids []string) {
		t.Helper()
		set, err := openVerified(d, &snap)
		check(t, err)
		defer set.Close()
		found, err := catalog.Assess(set.list, &snap, nil)
		check(t, err)
		for _, f := range found {
			ids = append(ids, string(f.Patch))
		}
		return ids
	}

	s.slice(foreign, 1)
	s.signSlices()
	if v, err := follow(); v != 0 || !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), release+", "+apps) {
		t.Errorf("with nothing for the machine: %d, %v", v, err)
	}
	if _, err := openVerified(d, &snap); !fault.Is(err, fault.NotFound) {
		t.Errorf("without a catalog: %v", err)
	}
	s.slice(apps, 2) // the applications' alone
	s.signSlices()
	if v, err := follow(); v != 2 || err != nil || !slices.Equal(kept(t, d), []string{apps}) {
		t.Errorf("applications: %d, %v, %v", v, err, kept(t, d))
	}
	if got := missing(); !slices.Equal(got, []string{apps + ":app"}) {
		t.Errorf("missing %v", got)
	}
	s.slice(apps, 3)
	s.slice(release, 3)
	s.slice(foreign, 3)
	s.signSlices()
	if !whole(d, mine) {
		t.Error("what was followed last is there, and is not called whole")
	}
	if v, err := follow(); v != 3 || err != nil || !slices.Equal(kept(t, d), []string{release, apps}) || !whole(d, mine) {
		t.Errorf("both: %d, %v, %v", v, err, kept(t, d))
	}
	if got := missing(); len(got) == 0 {
		t.Error("nothing is missing")
	}
	// A damaged one is refused and fetched again, the other goes on.
	check(t, os.WriteFile(d.Shard(release), []byte("damaged"), 0o600))
	if _, err := openVerified(d, &snap); !fault.Is(err, fault.Untrusted) || whole(d, mine) {
		t.Errorf("a damaged shard gives %v", err)
	}
	if v, err := follow(); v != 3 || err != nil || !whole(d, mine) {
		t.Errorf("after the damage: %d, %v", v, err)
	}
	// The machine becomes another release.
	snap.OS.Version = "22h2"
	mine = snap.Platforms()
	if v, err := follow(); v != 3 || err != nil || !slices.Equal(kept(t, d), []string{apps}) {
		t.Errorf("upgraded: %d, %v, %v", v, err, kept(t, d))
	}
	shards := 0
	for _, path := range fetched {
		if strings.Contains(path, foreign) {
			t.Errorf("an agent of %v fetched %s", mine, path)
		}
		if strings.Contains(path, ".shard.") {
			shards++
		}
	}
	if shards != 4 { // the applications' twice, the release's twice
		t.Errorf("%d shards were fetched: %v", shards, fetched)
	}
}

// TestTaskFolders: no two tasks share a folder, on any file system.
func TestTaskFolders(t *testing.T) {
	long := strings.Repeat("x", maxTaskID)
	seen := map[string]string{}
	for _, id := range []string{"", "a", "A", "a/b", "a_b", "a.b", "..", "ä", long, long[1:], "con", "t-a"} {
		got := strings.ToLower(safe(id))
		if other, twice := seen[got]; twice {
			t.Errorf("%q and %q share %s", id, other, got)
		}
		if strings.ContainsAny(got, `/\.:`) || len(got) > 60 {
			t.Errorf("%q gives %q", id, got)
		}
		seen[got] = id
	}
}
