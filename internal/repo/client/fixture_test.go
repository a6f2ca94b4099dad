package client_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo"
	"github.com/fettlehq/fettle/internal/repo/client"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// world is a publisher's repository that a test may tamper with.
type world struct {
	t    *testing.T
	dir  string // the repository
	keys string // the publisher's keys
	pub  *publish.Repository
	root []byte // what clients pin
	now  time.Time
}

func newWorld(t *testing.T, setup publish.Setup) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "repo"), keys: t.TempDir(), now: start}
	var err error
	if w.pub, err = publish.Init(t.Context(), w.dir, w.keys, w.now, setup); err != nil {
		t.Fatal(err)
	}
	if w.root, err = w.pub.RootJSON(); err != nil {
		t.Fatal(err)
	}
	return w
}

// publish adds one target and publishes.
func (w *world) publish(name, content string) publish.File {
	w.t.Helper()
	f, err := w.pub.Add(w.t.Context(), name, strings.NewReader(content), json.RawMessage(`{"platform":"debian-12"}`))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.pub.Publish(w.t.Context(), w.now); err != nil {
		w.t.Fatal(err)
	}
	return f
}

// open opens the repository's folder as a transport.
func (w *world) open() *client.Dir {
	w.t.Helper()
	d, err := client.OpenDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = d.Close() })
	return d
}

// follow returns a client with an empty state folder.
func (w *world) follow(tr client.Transport) *client.Client {
	w.t.Helper()
	return w.resume(tr, w.t.TempDir())
}

func (w *world) resume(tr client.Transport, state string) *client.Client {
	w.t.Helper()
	c, err := client.New(client.Options{Root: w.root, Dir: state, Transport: tr})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) refresh(c *client.Client) {
	w.t.Helper()
	if _, err := c.Refresh(w.t.Context(), w.now); err != nil {
		w.t.Fatalf("refresh: %v", err)
	}
}

func (w *world) file(path string) string { return filepath.Join(w.dir, filepath.FromSlash(path)) }

func (w *world) read(path string) []byte {
	w.t.Helper()
	data, err := os.ReadFile(w.file(path))
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *world) write(path string, data []byte) {
	w.t.Helper()
	if err := os.WriteFile(w.file(path), data, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// copyRepo returns a copy of the repository as it is now.
func (w *world) copyRepo() string {
	w.t.Helper()
	dst := filepath.Join(w.t.TempDir(), "old")
	if err := os.CopyFS(dst, os.DirFS(w.dir)); err != nil {
		w.t.Fatal(err)
	}
	return dst
}

// signers gives a thief's view: the stolen keys of a role.
func (w *world) signers(role repo.Role) []signature.Signer {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.keys, string(role)+"-*.key.json"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("no keys of %s: %v", role, err)
	}
	var out []signature.Signer
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			w.t.Fatal(err)
		}
		var key struct{ Seed []byte }
		if err := json.Unmarshal(data, &key); err != nil {
			w.t.Fatal(err)
		}
		s, err := signature.LoadED25519Signer(ed25519.NewKeyFromSeed(key.Seed))
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// forge changes a metadata file and signs it with the given keys.
func forge[T metadata.Roles](w *world, path string, signers []signature.Signer, change func(*T)) []byte {
	w.t.Helper()
	m, err := new(metadata.Metadata[T]).FromBytes(w.read(path))
	if err != nil {
		w.t.Fatal(err)
	}
	change(&m.Signed)
	m.ClearSignatures()
	for _, s := range signers {
		if _, err := m.Sign(s); err != nil {
			w.t.Fatal(err)
		}
	}
	data, err := m.ToBytes(false)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// refused checks that a refresh is refused as untrusted in the given words and
// that the client still holds what it held.
func (w *world) refused(c *client.Client, words ...string) {
	w.t.Helper()
	before, targets := c.Status(), c.Targets()
	_, err := c.Refresh(w.t.Context(), w.now)
	if !fault.Is(err, fault.Untrusted) {
		w.t.Fatalf("got %v (%s), want it refused as untrusted", err, fault.CodeOf(err))
	}
	for _, word := range words {
		if !strings.Contains(fault.Public(err), word) {
			w.t.Errorf("the message %q does not say %q", fault.Public(err), word)
		}
	}
	w.unmoved(c, before, targets)
}

func (w *world) unmoved(c *client.Client, before client.Status, targets []client.Target) {
	w.t.Helper()
	if after := c.Status(); after.Version != before.Version || !after.Refreshed.Equal(before.Refreshed) || !after.Expires.Equal(before.Expires) {
		w.t.Errorf("the last good state moved from %+v to %+v", before, after)
	}
	if got := c.Targets(); len(got) != len(targets) {
		w.t.Errorf("the targets changed from %v to %v", targets, got)
	}
	for _, tg := range targets {
		if got, err := c.Target(tg.Name); err != nil || got.Hashes["sha256"] != tg.Hashes["sha256"] {
			w.t.Errorf("target %s changed: %v, %v", tg.Name, got, err)
		}
	}
}

// download returns the bytes of a target.
func (w *world) download(c *client.Client, name string) string {
	w.t.Helper()
	var b bytes.Buffer
	if err := c.Download(w.t.Context(), name, &b); err != nil {
		w.t.Fatalf("download %s: %v", name, err)
	}
	return b.String()
}

// altered is a transport that lets a test replace answers.
type altered struct {
	client.Transport
	answer func(path string) (io.ReadCloser, int64, error, bool)
}

func (a altered) Get(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	if body, size, err, ok := a.answer(path); ok {
		return body, size, err
	}
	return a.Transport.Get(ctx, path)
}

// endless gives the byte x for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func (endless) Close() error { return nil }

func bump(ts *metadata.TimestampType) { ts.Version++ }

func bumpRoot(r *metadata.RootType) { r.Version++ }
