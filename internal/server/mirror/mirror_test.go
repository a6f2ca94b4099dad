package mirror_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/blob"
	blobfs "github.com/fettlehq/fettle/internal/blob/fs"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/repo/client"
	"github.com/fettlehq/fettle/internal/repo/publish"
	"github.com/fettlehq/fettle/internal/server/mirror"
)

var quiet = slog.New(slog.DiscardHandler)

// world is a publisher with a real signed repository, and a server's data.
type world struct {
	t       *testing.T
	now     time.Time
	dir     string // the repository
	pub     *publish.Repository
	data    string
	blobs   *blobfs.Store
	sources []mirror.PayloadSource
	changed [][]string
	source  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Now().Truncate(time.Second), dir: filepath.Join(t.TempDir(), "repo"), data: t.TempDir()}
	var err error
	if w.pub, err = publish.Init(t.Context(), w.dir, t.TempDir(), w.now, publish.Setup{}); err != nil {
		t.Fatal(err)
	}
	if w.blobs, err = blobfs.Open(filepath.Join(w.data, "blobs")); err != nil {
		t.Fatal(err)
	}
	w.source = w.dir
	return w
}

func (w *world) open() *mirror.Mirror {
	w.t.Helper()
	root, err := w.pub.RootJSON()
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := mirror.New(mirror.Config{
		Dir: filepath.Join(w.data, "mirror"), Source: w.source, Root: root, Blobs: w.blobs, Sources: w.sources,
		Changed: func(p []string) { w.changed = append(w.changed, p) }, Log: quiet,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = m.Close() })
	return m
}

func payloadOf(content string) patch.Payload {
	h := sha256.Sum256([]byte(content))
	return patch.Payload{SHA256: hex.EncodeToString(h[:]), Size: int64(len(content)), Name: content[:min(len(content), 10)]}
}

// publish signs a catalog of one shard whose archive has one index.
func (w *world) publish(version int64, index string, tamper func(*custom)) {
	w.t.Helper()
	blobOf := func(text string) catalog.Blob {
		p := payloadOf(text)
		return catalog.Blob{SHA256: p.SHA256, Size: p.Size}
	}
	for _, text := range []string{index, "InRelease of " + index} {
		if text == "" || strings.Contains(text, "lost") {
			continue
		}
		if _, err := w.pub.AddPayload(w.t.Context(), strings.NewReader(text)); err != nil {
			w.t.Fatal(err)
		}
	}
	var shard bytes.Buffer
	err := catalog.Encode(&shard, catalog.Contents{Header: catalog.Header{
		Format: catalog.Format, Platform: "debian-12-amd64", Version: version, Created: w.now,
		Archives: []catalog.Archive{{
			ID: "aaaaaaaaaaaaaaaa", Path: "bookworm", InRelease: blobOf("InRelease of " + index),
			Indexes: []catalog.Index{{Name: "main/binary-amd64/Packages", Blob: blobOf(index)}},
		}},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	h := sha256.Sum256(shard.Bytes())
	c := custom{Platform: "debian-12-amd64", Version: version, SHA256: hex.EncodeToString(h[:]), Size: int64(shard.Len())}
	if tamper != nil {
		tamper(&c)
	}
	says, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.pub.Add(w.t.Context(), "catalog/debian-12-amd64.shard.zst", bytes.NewReader(enc.EncodeAll(shard.Bytes(), nil)), says); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.pub.Publish(w.t.Context(), w.now); err != nil {
		w.t.Fatal(err)
	}
}

type custom struct {
	Platform string `json:"platform"`
	Version  int64  `json:"version"`
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
}

func mustSync(t *testing.T, m *mirror.Mirror, now time.Time, want bool) {
	t.Helper()
	changed, err := m.Sync(t.Context(), now)
	if err != nil || changed != want {
		t.Fatalf("sync: changed %v, %v", changed, err)
	}
}

func TestSync(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	if s := m.Status(w.now); s.Version != 0 || s.Source != w.dir || len(s.Platforms) != 0 {
		t.Errorf("before the first: %+v", s)
	}
	w.publish(1, "index one", nil)
	mustSync(t, m, w.now, true)
	mustSync(t, m, w.now, false)
	shard, ok := m.Shard("debian-12-amd64")
	if !ok || shard.Header().Version != 1 || m.Version() != 1 {
		t.Fatalf("shard %v, version %d", ok, m.Version())
	}
	index := payloadOf("index one")
	if !m.Serves(index.SHA256) || m.Serves(payloadOf("x").SHA256) {
		t.Error("it serves the wrong blobs")
	}
	if all, problem := m.Staged([]patch.Payload{index, payloadOf("InRelease of index one")}); !all || problem != "" {
		t.Errorf("indexes staged: %v %q", all, problem)
	}
	s := m.Status(w.now.Add(time.Hour))
	if s.Age != time.Hour || len(s.Signers) != 1 || s.Threshold != 1 || s.Error != "" || s.Expired || len(s.Platforms) != 1 {
		t.Errorf("status %+v", s)
	}
	// The old shard stays readable while the new one is in use.
	w.publish(2, "index two", nil)
	mustSync(t, m, w.now, true)
	if _, err := shard.Contents(); err != nil {
		t.Errorf("a shard in a reader's hands: %v", err)
	}
	if shard, _ = m.Shard("debian-12-amd64"); shard.Header().Version != 2 {
		t.Error("the old shard is in use")
	}
	files, err := os.ReadDir(filepath.Join(w.data, "mirror", "catalog"))
	if err != nil || len(files) != 1 {
		t.Errorf("unpacked shards: %v, %v", files, err)
	}
	if len(w.changed) != 2 || !slices.Equal(w.changed[0], []string{"debian-12-amd64"}) {
		t.Errorf("told of changes: %v", w.changed)
	}
	// After a restart, without any network, all is as before.
	w.source = filepath.Join(t.TempDir(), "gone")
	again := w.open()
	if shard, ok := again.Shard("debian-12-amd64"); !ok || shard.Header().Version != 2 || again.Version() != m.Version() || !again.Serves(payloadOf("index two").SHA256) {
		t.Error("the catalog is lost after a restart")
	}
	if _, err := again.Sync(t.Context(), w.now); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a repository that is gone: %v", err)
	}
	if s := again.Status(w.now); s.Error == "" || s.Version != m.Version() {
		t.Errorf("status %+v", s)
	}
}

// The copy is a whole repository: an agent's own client verifies it, byte for
// byte what the publisher signed.
func TestCopyIsVerifiedByAgents(t *testing.T) {
	w := newWorld(t)
	w.publish(1, "index one", nil)
	m := w.open()
	mustSync(t, m, w.now, true)
	root, err := m.Root()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{Root: root, Dir: t.TempDir(), Transport: copyTransport{m}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Refresh(t.Context(), w.now); err != nil {
		t.Fatal(err)
	}
	var shard bytes.Buffer
	if err := c.Download(t.Context(), "catalog/debian-12-amd64.shard.zst", &shard); err != nil || shard.Len() == 0 {
		t.Fatal(err)
	}
	for _, path := range []string{"../mirror.json", "/etc/passwd", "metadata/../../mirror.json"} {
		if f, err := m.OpenFile(path); err == nil {
			f.Close()
			t.Errorf("%s can be opened", path)
		}
	}
}

// copyTransport reads the copy as the gateway does.
type copyTransport struct{ m *mirror.Mirror }

func (c copyTransport) Get(_ context.Context, path string) (io.ReadCloser, int64, error) {
	f, err := c.m.OpenFile(path)
	if err != nil {
		return nil, 0, err
	}
	return f, -1, nil
}

// Whatever is wrong with a new catalog, the last good one stays in use and the
// status says what was refused.
func TestTrustRow3LastGoodStays(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world)
		want  fault.Code
		says  string
	}{
		"shard with another hash":     {func(w *world) { w.publish(2, "two", func(c *custom) { c.SHA256 = strings.Repeat("0", 64) }) }, fault.Untrusted, "other bytes than were signed for"},
		"shard larger than announced": {func(w *world) { w.publish(2, "two", func(c *custom) { c.Size-- }) }, fault.Untrusted, "other bytes"},
		"shard of another version":    {func(w *world) { w.publish(2, "two", func(c *custom) { c.Version = 9 }) }, fault.Untrusted, "says that it is of"},
		"shard of another platform":   {func(w *world) { w.publish(2, "two", func(c *custom) { c.Platform = "../x" }) }, fault.Untrusted, "unfit"},
		"index that is lost":          {func(w *world) { w.publish(2, "lost index", nil) }, fault.NotFound, "index of the catalog"},
		"flipped byte in the shard": {func(w *world) {
			w.publish(2, "two", nil)
			flip(w.t, filepath.Join(w.dir, "targets", "catalog"))
		}, fault.Untrusted, "refused"},
		"flipped byte in an index": {func(w *world) {
			w.publish(2, "two", nil)
			p := payloadOf("two").SHA256
			flip(w.t, filepath.Join(w.dir, "payloads", "sha256", p[:2]))
		}, fault.Untrusted, "SHA-256"},
		"expired catalog": {func(w *world) { w.now = w.now.Add(60 * 24 * time.Hour) }, fault.Untrusted, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.publish(1, "index one", nil)
			m := w.open()
			mustSync(t, m, w.now, true)
			version := m.Version()
			c.spoil(w)
			_, err := m.Sync(t.Context(), w.now)
			if !fault.Is(err, c.want) || !strings.Contains(fault.Public(err), c.says) {
				t.Fatalf("%v: %s, want %s about %q", fault.CodeOf(err), fault.Public(err), c.want, c.says)
			}
			shard, ok := m.Shard("debian-12-amd64")
			if !ok || shard.Header().Version != 1 || m.Version() != version || !m.Serves(payloadOf("index one").SHA256) {
				t.Error("the last good catalog is not in use")
			}
			if s := m.Status(w.now); s.Code != c.want || s.Error == "" {
				t.Errorf("status %+v", s)
			}
			if root, err := m.Root(); err == nil { // agents still get a copy that verifies
				cl, err := client.New(client.Options{Root: root, Dir: t.TempDir(), Transport: copyTransport{m}})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := cl.Refresh(t.Context(), w.now.Add(-60*24*time.Hour)); err != nil && name != "expired catalog" {
					t.Errorf("agents: %v", err)
				}
				if tg, err := cl.Target("catalog/debian-12-amd64.shard.zst"); name != "expired catalog" && (err != nil || !strings.Contains(string(tg.Custom), `"version":1`)) {
					t.Errorf("agents are served %s, %v", tg.Custom, err)
				}
			}
		})
	}
}

// flip changes a byte of every file in the folder.
func flip(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("nothing to flip in %s: %v", dir, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSyncOverHTTP(t *testing.T) {
	w := newWorld(t)
	w.publish(1, "index one", nil)
	srv := httptest.NewServer(http.FileServer(http.Dir(w.dir)))
	defer srv.Close()
	w.source = srv.URL
	m := w.open()
	mustSync(t, m, w.now, true)
	if err := m.Stage(t.Context(), []patch.Payload{payloadOf("index one")}, nil); err != nil {
		t.Error(err)
	}
}

// flaky is a source that cuts each transfer after some bytes.
type flaky struct {
	content string
	cut     int
	opened  []int64
	mu      sync.Mutex
}

func (f *flaky) Name() string { return "flaky" }

func (f *flaky) Open(_ context.Context, _ patch.Payload, offset int64) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened = append(f.opened, offset)
	return io.NopCloser(io.MultiReader(strings.NewReader(f.content[offset:][:min(f.cut, len(f.content)-int(offset))]), iotestError{})), nil
}

type iotestError struct{}

func (iotestError) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// A payload cut short goes on from where it ended, also in another process.
func TestStageResumes(t *testing.T) {
	w := newWorld(t)
	content := strings.Repeat("0123456789", 100)
	src := &flaky{content: content, cut: 150}
	w.sources = []mirror.PayloadSource{src}
	p := payloadOf(content)
	err := w.open().Stage(t.Context(), []patch.Payload{p}, nil)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.Public(err), "600 of 1000") {
		t.Fatalf("%v: %s", fault.CodeOf(err), fault.Public(err))
	}
	m := w.open()
	if all, _ := m.Staged([]patch.Payload{p}); all {
		t.Error("half a payload counts as staged")
	}
	src.cut = 1000
	var last mirror.Progress
	// The reset comes after the last byte: it does not matter any more.
	if err := m.Stage(t.Context(), []patch.Payload{p, p}, func(p mirror.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if want := []int64{0, 150, 300, 450, 600}; !slices.Equal(src.opened, want) {
		t.Errorf("opened at %v, want %v", src.opened, want)
	}
	if last.Payloads != 1 || last.PayloadsDone != 1 || last.Bytes != 1000 {
		t.Errorf("progress %+v", last)
	}
}

func TestStageSources(t *testing.T) {
	w := newWorld(t)
	good, bad := "good bytes", "evil bytes"
	p := payloadOf(good)
	var asked []string
	source := func(name string, open func(int64) (io.ReadCloser, error)) mirror.PayloadSource {
		return mirror.SourceFunc{Called: name, Get: func(_ context.Context, _ patch.Payload, offset int64) (io.ReadCloser, error) {
			asked = append(asked, fmt.Sprint(name, offset))
			return open(offset)
		}}
	}
	give := func(text string) func(int64) (io.ReadCloser, error) {
		return func(int64) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	}
	w.sources = []mirror.PayloadSource{
		source("down", func(int64) (io.ReadCloser, error) { return nil, fault.New(fault.Unavailable, "down") }),
		source("cut", give("evi")),
		source("evil", give(bad)),
		source("endless", give(strings.Repeat("x", 1000))),
	}
	m := w.open()
	err := m.Stage(t.Context(), []patch.Payload{p}, nil)
	if err == nil {
		t.Fatal("evil bytes are staged")
	}
	if all, problem := m.Staged([]patch.Payload{p}); all || problem == "" {
		t.Errorf("staged %v, problem %q", all, problem)
	}
	if has, _ := w.blobs.Has(blob.Key(p.SHA256)); has {
		t.Fatal("evil bytes are in the store")
	}
	w.sources = append(w.sources, source("good", func(offset int64) (io.ReadCloser, error) {
		if offset > 0 {
			return nil, fault.New(fault.Unsupported, "no ranges")
		}
		return give(good)(0)
	}))
	m = w.open()
	if err := m.Stage(t.Context(), []patch.Payload{p}, nil); err != nil {
		t.Fatalf("%v after %v", err, asked)
	}
	if all, problem := m.Staged([]patch.Payload{p}); !all || problem != "" {
		t.Errorf("staged %v, problem %q", all, problem)
	}
}

// Many who want the same payload at once bring it in once.
func TestStageOnce(t *testing.T) {
	w := newWorld(t)
	var opened atomic.Int64
	w.sources = []mirror.PayloadSource{mirror.SourceFunc{Called: "one", Get: func(context.Context, patch.Payload, int64) (io.ReadCloser, error) {
		opened.Add(1)
		return io.NopCloser(strings.NewReader("the payload")), nil
	}}}
	m := w.open()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := m.Stage(context.Background(), []patch.Payload{payloadOf("the payload")}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if opened.Load() != 1 {
		t.Errorf("fetched %d times", opened.Load())
	}
}
