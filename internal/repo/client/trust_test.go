package client_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/client"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

// Row 1: a compromised server or relay cannot run new code on agents.

func TestTrustRow1FlippedByteInTarget(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	f := w.publish("catalog/debian.json", "the catalog")
	c := w.follow(w.open())
	w.refresh(c)
	data := w.read(f.Path)
	data[3] ^= 1
	w.write(f.Path, data)
	path := filepath.Join(t.TempDir(), "out")
	for _, err := range []error{
		c.Download(t.Context(), "catalog/debian.json", io.Discard),
		c.DownloadFile(t.Context(), "catalog/debian.json", path),
		c.Mirror(t.Context(), t.TempDir(), nil),
	} {
		if !fault.Is(err, fault.Untrusted) || !strings.Contains(fault.Public(err), "SHA-256") {
			t.Errorf("got %v", err)
		}
	}
	for _, p := range []string{path, path + ".part"} {
		if _, err := os.Lstat(p); !os.IsNotExist(err) {
			t.Errorf("%s exists after a refused download", p)
		}
	}
}

func TestTrustRow1FlippedByteInPayload(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	f, err := w.pub.AddPayload(t.Context(), strings.NewReader("vendor bytes"))
	if err != nil {
		t.Fatal(err)
	}
	c := w.follow(w.open())
	var b bytes.Buffer
	if err := c.Payload(t.Context(), f.SHA256, f.Size, &b); err != nil || b.String() != "vendor bytes" {
		t.Fatalf("%q, %v", b.String(), err)
	}
	w.write(f.Path, []byte("vendor bytez"))
	if err := c.Payload(t.Context(), f.SHA256, f.Size, io.Discard); !fault.Is(err, fault.Untrusted) {
		t.Errorf("got %v", err)
	}
}

// Any one byte changed in any metadata file is refused, or leaves the meaning
// as it was signed (JSON has bytes without meaning).
func TestTrustRow1FlippedByteInMetadata(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", "first")
	seen := w.follow(w.open())
	w.refresh(seen)
	w.publish("a", "second")
	want := fmt.Sprintf("%x", sha256.Sum256([]byte("second")))
	for _, path := range []string{"metadata/timestamp.json", "metadata/3.snapshot.json", "metadata/3.targets.json"} {
		good := w.read(path)
		rapid.Check(t, func(rt *rapid.T) {
			bad := bytes.Clone(good)
			bad[rapid.IntRange(0, len(bad)-1).Draw(rt, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
			w.write(path, bad)
			c := w.follow(w.open())
			_, err := c.Refresh(t.Context(), w.now)
			if err == nil {
				if tg, err := c.Target("a"); err != nil || tg.Hashes["sha256"] != want || tg.Length != 6 {
					rt.Fatalf("a changed file was believed: %+v, %v", tg, err)
				}
			} else if !fault.Is(err, fault.Untrusted) && !fault.Is(err, fault.Unavailable) {
				rt.Fatalf("code %s: %v", fault.CodeOf(err), err)
			}
		})
		w.write(path, good)
	}
	w.write("metadata/3.targets.json", bytes.Replace(w.read("metadata/3.targets.json"), []byte("debian-12"), []byte("debian-13"), 1))
	w.refused(seen, "targets version 3", "length or hash differ")
}

func TestTrustRow1WrongRoot(t *testing.T) {
	mine, theirs := newWorld(t, publish.Setup{}), newWorld(t, publish.Setup{})
	theirs.publish("a", "malware")
	c := mine.follow(theirs.open())
	mine.refused(c, "timestamp version", "too few")
	// At enrolment: the fingerprint refuses a root that is not the expected.
	want, err := repo.RootFingerprint(mine.root)
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.CheckRoot(mine.root, "  "+strings.ToUpper(want)); err != nil {
		t.Error(err)
	}
	err = repo.CheckRoot(theirs.root, want)
	if !fault.Is(err, fault.Untrusted) || !strings.Contains(fault.Public(err), want) {
		t.Errorf("got %v", err)
	}
	if err := repo.CheckRoot(mine.root, "sha256:1234"); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
	// The right keys over changed content are no root either.
	forged := bytes.Replace(mine.root, []byte(`"threshold":2`), []byte(`"threshold":1`), 1)
	if bytes.Equal(forged, mine.root) {
		t.Fatal("the forgery changed nothing")
	}
	if _, err := repo.ParseRoot(forged); !fault.Is(err, fault.Untrusted) {
		t.Errorf("got %v", err)
	}
	// A state folder belongs to one repository.
	dir := t.TempDir()
	mine.resume(mine.open(), dir)
	if _, err := client.New(client.Options{Root: theirs.root, Dir: dir}); !fault.Is(err, fault.Conflict) {
		t.Errorf("got %v", err)
	}
}

func TestTrustRow1BelowThreshold(t *testing.T) {
	two := publish.Quorum{Keys: 3, Threshold: 2}
	w := newWorld(t, publish.Setup{Roles: map[repo.Role]publish.Quorum{repo.Targets: two, repo.Snapshot: two, repo.Timestamp: two}})
	w.publish("a", "good")
	c := w.follow(w.open())
	w.refresh(c)
	add := func(ts *metadata.TargetsType) {
		ts.Version++
		evil, err := metadata.TargetFile().FromBytes("a", []byte("evil"))
		if err != nil {
			t.Fatal(err)
		}
		ts.Targets["a"] = evil
	}
	one := w.signers(repo.Targets)[:1]
	// The thief holds all snapshot and timestamp keys, but one targets key.
	genuine := w.read("metadata/timestamp.json")
	w.promise(forge(w, "metadata/2.targets.json", one, add), 3)
	w.refused(c, "targets version 3", "too few of the 2")
	// The same key signing twice does not make two.
	w.write("metadata/timestamp.json", genuine)
	w.promise(forge(w, "metadata/2.targets.json", append(one, one...), add), 3)
	w.refused(c, "targets is refused")
	// One timestamp key.
	w = newWorld(t, publish.Setup{Roles: map[repo.Role]publish.Quorum{repo.Timestamp: two}})
	w.publish("a", "good")
	c = w.follow(w.open())
	w.refresh(c)
	w.write("metadata/timestamp.json", forge(w, "metadata/timestamp.json", w.signers(repo.Timestamp)[:1], func(ts *metadata.TimestampType) { ts.Version++ }))
	w.refused(c, "timestamp version 3", "too few of the 2")
}

// promise signs a snapshot and a timestamp, with all their keys, that vouch
// for the given targets file.
func (w *world) promise(targets []byte, version int64) {
	w.t.Helper()
	v := w.pub.Version()
	w.write(repo.MetadataPath(repo.Targets, version), targets)
	snapshot := forge(w, repo.MetadataPath(repo.Snapshot, v.Snapshot), w.signers(repo.Snapshot), func(s *metadata.SnapshotType) {
		s.Version++
		s.Meta["targets.json"] = metaOf(targets, version)
	})
	w.write(repo.MetadataPath(repo.Snapshot, v.Snapshot+1), snapshot)
	w.write("metadata/timestamp.json", forge(w, "metadata/timestamp.json", w.signers(repo.Timestamp), func(s *metadata.TimestampType) {
		s.Version++
		s.Meta["snapshot.json"] = metaOf(snapshot, v.Snapshot+1)
	}))
}

func metaOf(data []byte, version int64) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	m := metadata.MetaFile(version)
	m.Length, m.Hashes = int64(len(data)), metadata.Hashes{"sha256": sum[:]}
	return m
}

func TestTrustRow1MalformedMetadataDoesNotBringTheAgentDown(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	c := w.follow(w.open())
	w.refresh(c)
	for _, bad := range []string{
		``, `null`, `[]`, `{"signed":null}`, `<html>captive portal</html>`,
		`{"signed":{"_type":"timestamp","meta":{"snapshot.json":null},"version":9,"expires":"2030-01-01T00:00:00Z"},"signatures":[]}`,
		`{"signed":{"_type":"timestamp","meta":null},"signatures":[null]}`,
		`{"signed":` + strings.Repeat(`{"a":`, 3000),
	} {
		w.write("metadata/timestamp.json", []byte(bad))
		w.refused(c, "timestamp")
	}
	// Signed by the real keys, yet malformed: a broken publisher.
	good := w.read("metadata/1.targets.json")
	targets := bytes.Replace(good, []byte(`"targets":{}`), []byte(`"targets":{"x":null}`), 1)
	if bytes.Equal(good, targets) {
		t.Fatal("the forgery changed nothing")
	}
	w = newWorld(t, publish.Setup{})
	c = w.follow(w.open())
	w.promise(targets, 2)
	w.refused(c, "malformed")
}

// Row 3: stale, rolled-back or frozen catalogs are noticed.

func TestTrustRow3RolledBackTimestamp(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", "old and vulnerable")
	old := w.copyRepo()
	w.publish("a", "new")
	state := t.TempDir()
	c := w.resume(w.open(), state)
	w.refresh(c)
	w.dir = old
	w.refused(w.resume(w.open(), state), "offers timestamp version 2, but 3 was seen before: rolled back")
	// The live client as well, not only the restarted one.
	live := w.follow(w.open())
	w.refresh(live)
	if live.Status().Version != 2 {
		t.Errorf("a client that has seen nothing takes version 2, got %d", live.Status().Version)
	}
}

func TestTrustRow3RolledBackSnapshotAndTargets(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", "old")
	old2 := w.read("metadata/2.targets.json")
	oldSnapshot := w.read("metadata/2.snapshot.json")
	w.publish("a", "new")
	c := w.follow(w.open())
	w.refresh(c)
	// The thief holds the timestamp key and points at the old snapshot.
	genuine := w.read("metadata/timestamp.json")
	w.write("metadata/timestamp.json", forge(w, "metadata/timestamp.json", w.signers(repo.Timestamp), func(s *metadata.TimestampType) {
		s.Version++
		s.Meta["snapshot.json"] = metaOf(oldSnapshot, 2)
	}))
	w.refused(c, "older snapshot", "rolled back")
	// The thief holds the snapshot key too and points at the old targets.
	w.write("metadata/timestamp.json", genuine)
	w.promise(old2, 2)
	w.refused(c, "offers catalog version 2, but 3 was seen before: rolled back")
}

func TestTrustRow3Frozen(t *testing.T) {
	for role, after := range map[repo.Role]time.Duration{
		repo.Timestamp: 49 * time.Hour, repo.Root: 366 * 24 * time.Hour,
	} {
		w := newWorld(t, publish.Setup{})
		w.publish("a", "x")
		c := w.follow(w.open())
		w.refresh(c)
		w.now = w.now.Add(after)
		w.refused(c, string(role)+" expired", "ago")
		w.refused(w.follow(w.open()), string(role)+" expired")
		if !c.Status().Expired(w.now) || c.Status().Expired(start) {
			t.Errorf("status %+v", c.Status())
		}
	}
	// Snapshot and targets expire while a thief keeps the timestamp fresh.
	for role, life := range map[repo.Role]repo.Expiry{
		repo.Snapshot: {Snapshot: time.Hour}, repo.Targets: {Targets: time.Hour},
	} {
		w := newWorld(t, publish.Setup{Options: publish.Options{Expiry: life}})
		c := w.follow(w.open())
		w.refresh(c)
		w.now = w.now.Add(2 * time.Hour)
		w.write("metadata/timestamp.json", forge(w, "metadata/timestamp.json", w.signers(repo.Timestamp), func(s *metadata.TimestampType) { s.Version++ }))
		w.refused(c, string(role)+" expired")
	}
}

func TestTrustRow3MixAndMatch(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", "one")
	c := w.follow(w.open())
	w.refresh(c)
	two := w.read("metadata/2.targets.json")
	w.publish("a", "two")
	// Targets of version 2 under the name of version 3: same length, signed
	// by the same key, at another time.
	genuine := w.read("metadata/3.targets.json")
	w.write("metadata/3.targets.json", two)
	w.refused(c, "targets version 3")
	w.write("metadata/3.targets.json", genuine)
	snapshot := w.read("metadata/3.snapshot.json")
	w.write("metadata/3.snapshot.json", w.read("metadata/2.snapshot.json"))
	w.refused(c, "snapshot version 3", "mixed up")
	w.write("metadata/3.snapshot.json", snapshot)
	w.refresh(c)
}

func TestTrustRow3EndlessData(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", "x")
	for _, path := range []string{"metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json"} {
		tr := altered{w.open(), func(p string) (io.ReadCloser, int64, error, bool) { return endless{}, -1, nil, p == path }}
		w.refused(w.follow(tr), "more than the")
	}
	c := w.follow(altered{w.open(), func(p string) (io.ReadCloser, int64, error, bool) {
		return endless{}, -1, nil, strings.HasPrefix(p, "targets/")
	}})
	w.refresh(c)
	var got bytes.Buffer
	err := c.Download(t.Context(), "a", &got)
	if !fault.Is(err, fault.Untrusted) || got.Len() > 2 {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
}

// drip gives one byte now and then, and stops when it is closed.
type drip struct {
	every  time.Duration
	closed chan struct{}
}

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-d.closed:
		return 0, io.ErrClosedPipe
	case <-time.After(d.every):
		p[0] = 'x'
		return 1, nil
	}
}

func (d drip) Close() error { close(d.closed); return nil }

func TestTrustRow3SlowTransferKeepsPreviousState(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", strings.Repeat("x", 1<<20))
	good := w.open()
	slow := ""
	tr := altered{good, func(p string) (io.ReadCloser, int64, error, bool) {
		return drip{time.Second, make(chan struct{})}, -1, nil, slow != "" && strings.HasPrefix(p, slow)
	}}
	c := w.follow(tr)
	w.refresh(c)
	before, targets := c.Status(), c.Targets()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		slow = "metadata/timestamp"
		if _, err := c.Refresh(t.Context(), w.now); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "in time") {
			t.Errorf("got %v", err)
		}
		slow = "targets/"
		if err := c.Download(t.Context(), "a", io.Discard); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "drips") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("gave up after %s", took)
		}
	})
	w.unmoved(c, before, targets)
}

func TestTrustRow3TruncatedTransferKeepsPreviousState(t *testing.T) {
	w := newWorld(t, publish.Setup{})
	w.publish("a", "one")
	cut := ""
	tr := altered{w.open(), func(p string) (io.ReadCloser, int64, error, bool) {
		if p != cut {
			return nil, 0, nil, false
		}
		data := w.read(p)
		return io.NopCloser(bytes.NewReader(data[:len(data)/2])), int64(len(data)), nil, true
	}}
	c := w.follow(tr)
	w.refresh(c)
	f := w.publish("a", "two")
	for _, cut = range []string{"metadata/timestamp.json", "metadata/3.snapshot.json", "metadata/3.targets.json"} {
		before, targets := c.Status(), c.Targets()
		if _, err := c.Refresh(t.Context(), w.now); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "cut short") {
			t.Errorf("%s: got %v", cut, err)
		}
		w.unmoved(c, before, targets)
	}
	cut = f.Path
	w.refresh(c)
	if err := c.Download(t.Context(), "a", io.Discard); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	cut = ""
	if got := w.download(c, "a"); got != "two" {
		t.Errorf("got %q", got)
	}
}
