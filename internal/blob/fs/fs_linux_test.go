package fs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/blob/fs"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
)

func open(t *testing.T, dir string) *fs.Store {
	t.Helper()
	s, err := fs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func keyOf(data []byte) blob.Key { return blob.KeyOf(sha256.Sum256(data)) }

// files lists every file under dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	out := []string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, s *fs.Store, k blob.Key) []byte {
	t.Helper()
	r, size, err := s.Get(k)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil || int64(len(data)) != size {
		t.Fatalf("%d bytes of %d, %v", len(data), size, err)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPutGetDelete(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	data := []byte("payload")
	k := keyOf(data)
	if _, _, err := s.Get(k); !fault.Is(err, fault.NotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	if err := s.Put(t.Context(), k, 7, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, k); !bytes.Equal(got, data) {
		t.Errorf("got %q", got)
	}
	if d := cmp.Diff([]string{"blobs/" + string(k[:2]) + "/" + string(k)}, files(t, dir)); d != "" {
		t.Error(d)
	}
	if err := s.Put(t.Context(), k, 7, iotest.ErrReader(errors.New("must not be read"))); err != nil {
		t.Errorf("second put: %v", err)
	}
	for range 2 {
		if err := s.Delete(k); err != nil {
			t.Fatal(err)
		}
	}
	if has, err := s.Has(k); has || err != nil {
		t.Error(has, err)
	}
}

func TestPutRefuses(t *testing.T) {
	data := []byte("payload")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name string
		ctx  context.Context
		key  blob.Key
		size int64
		r    io.Reader
		code fault.Code
	}{
		{"another payload", t.Context(), keyOf([]byte("x")), 7, bytes.NewReader(data), fault.Untrusted},
		{"shorter", t.Context(), keyOf(data), 8, bytes.NewReader(data), fault.Untrusted},
		{"longer", t.Context(), keyOf(data), 6, bytes.NewReader(data), fault.Untrusted},
		{"endless", t.Context(), keyOf(data), 7, rand{}, fault.Untrusted},
		{"broken", t.Context(), keyOf(data), 7, io.MultiReader(bytes.NewReader(data[:3]), iotest.ErrReader(io.ErrUnexpectedEOF)), fault.Unavailable},
		{"cancelled", cancelled, keyOf(data), 7, bytes.NewReader(data), fault.Cancelled},
		{"no key", t.Context(), "../../etc/passwd", 7, bytes.NewReader(data), fault.Invalid},
		{"short key", t.Context(), "a", 7, bytes.NewReader(data), fault.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := open(t, dir).Put(tc.ctx, tc.key, tc.size, tc.r); !fault.Is(err, tc.code) {
				t.Errorf("got %v", err)
			}
			if d := cmp.Diff([]string{}, files(t, dir)); d != "" {
				t.Errorf("left behind: %s", d)
			}
		})
	}
}

type rand struct{}

func (rand) Read(p []byte) (int, error) { return len(p), nil }

// TestFullDisk fills a real file system of 256 kB.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("this test mounts a tmpfs and needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := open(t, dir)
	s.KeepFree(-1)
	small, big := []byte("small"), bytes.Repeat([]byte("big"), 1<<20)
	if err := s.Put(t.Context(), keyOf(big), int64(len(big)), bytes.NewReader(big)); !fault.Is(err, fault.Exhausted) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("full disk: %v", err)
	}
	if d := cmp.Diff([]string{}, files(t, dir)); d != "" {
		t.Errorf("left behind: %s", d)
	}
	if err := s.Put(t.Context(), keyOf(small), 5, bytes.NewReader(small)); err != nil {
		t.Errorf("after the disk is free again: %v", err)
	}
	p, err := s.Partial(keyOf(big), int64(len(big)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(p, bytes.NewReader(big)); !fault.Is(err, fault.Exhausted) {
		t.Errorf("partial on a full disk: %v", err)
	}
	had := p.Size()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err = s.Partial(keyOf(big), int64(len(big))); err != nil || p.Size() != had || had == 0 {
		t.Errorf("kept %d of %d, %v", p.Size(), had, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestConcurrentPutOfOneKey(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	data := bytes.Repeat([]byte("payload"), 10000)
	k := keyOf(data)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			bad := i%4 == 0
			in := data
			if bad {
				in = append(bytes.Clone(data), 0)
			}
			err := s.Put(t.Context(), k, -1, iotest.HalfReader(bytes.NewReader(in)))
			if err != nil && !(bad && fault.Is(err, fault.Untrusted)) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if !bytes.Equal(read(t, s, k), data) || len(files(t, dir)) != 1 {
		t.Errorf("files: %v", files(t, dir))
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	rapid.Check(t, func(t *rapid.T) {
		want := map[blob.Key]int64{}
		for info, err := range s.List() {
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(info.Key); err != nil {
				t.Fatal(err)
			}
		}
		for _, data := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 50), 0, 8).Draw(t, "payloads") {
			want[keyOf(data)] = int64(len(data))
			if err := s.Put(context.Background(), keyOf(data), int64(len(data)), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}
		got, last := map[blob.Key]int64{}, blob.Key("")
		for info, err := range s.List() {
			if err != nil || info.Key <= last {
				t.Fatalf("%v, %s after %s", err, info.Key, last)
			}
			got[info.Key], last = info.Size, info.Key
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "blobs", "stray"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for info, err := range s.List() {
		if err != nil || info.Key == "stray" {
			t.Error(info, err)
		}
		break
	}
}

func TestPartial(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	data := []byte("a payload in pieces")
	k, size := keyOf(data), int64(19)
	p, err := s.Partial(k, size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Partial(k, size); !fault.Is(err, fault.Conflict) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := p.Write(data[:5]); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); !fault.Is(err, fault.Conflict) {
		t.Errorf("commit of a part: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p, err = open(t, dir).Partial(k, size) // a new process
	if err != nil || p.Size() != 5 {
		t.Fatal(p.Size(), err)
	}
	if _, err := p.Write(append(bytes.Clone(data[5:]), '!')); !fault.Is(err, fault.Untrusted) || p.Size() != 5 {
		t.Errorf("too long: %v, %d bytes", err, p.Size())
	}
	if _, err := p.Write(bytes.Repeat([]byte("x"), 14)); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); !fault.Is(err, fault.Untrusted) || p.Size() != 0 {
		t.Errorf("wrong payload: %v, %d bytes left", err, p.Size())
	}
	if _, err := p.Write(data); err != nil {
		t.Fatal(err)
	}
	if has, err := s.Has(k); has || err != nil {
		t.Error("visible before commit", err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); !fault.Is(err, fault.Internal) {
		t.Errorf("second commit: %v", err)
	}
	if !bytes.Equal(read(t, s, k), data) || len(files(t, dir)) != 1 {
		t.Errorf("files: %v", files(t, dir))
	}
}

// TestPartialIsASinkOfFetch brings a payload in over a connection that breaks.
func TestPartialIsASinkOfFetch(t *testing.T) {
	data := bytes.Repeat([]byte("payload "), 20000)
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			w.Header().Set("Content-Length", "160000")
			_, _ = w.Write(data[:50000])
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer srv.Close()
	c, err := fetch.New(fetch.Config{UserAgent: "x", Proxy: "direct", Backoff: time.Microsecond, PerHost: -1})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, t.TempDir())
	p, err := s.Partial(keyOf(data), 160000)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(t.Context(), fetch.Request{URL: srv.URL}, p, 160000); err != nil || n != 2 {
		t.Fatal(err, n)
	}
	if err := p.Commit(); err != nil || !bytes.Equal(read(t, s, keyOf(data)), data) {
		t.Error(err)
	}
}

func TestOpenRemovesWhatCrashesLeft(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	old := filepath.Join(dir, "incoming", ".x.tmp")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, time.Now(), time.Now().AddDate(0, 0, -2)); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if d := cmp.Diff([]string{}, files(t, dir)); d != "" {
		t.Error(d)
	}
}
