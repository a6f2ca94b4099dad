package mirror_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/blob"
	blobfs "github.com/fettlehq/fettle/internal/blob/fs"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/server/mirror"
)

// A list that would fill the disk is refused before the first byte of it is
// asked for, and whoever waits for it reads why.
func TestStageSaysWhatIsMissing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("mounting a small disk needs root")
	}
	w := newWorld(t)
	disk := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=20M", "none", disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	var err error
	if w.blobs, err = blobfs.Open(disk); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.blobs.Close() })
	w.blobs.KeepFree(4 << 20)
	asked := 0
	bodies := map[string][]byte{}
	w.sources = []mirror.PayloadSource{mirror.SourceFunc{Called: "test", Get: func(_ context.Context, p patch.Payload, offset int64) (io.ReadCloser, error) {
		asked++
		return io.NopCloser(bytes.NewReader(bodies[p.SHA256][offset:])), nil
	}}}
	w.publish(1, "index one", nil)
	m := w.open()
	mustSync(t, m, w.now, true)
	var list []patch.Payload
	for i := range 2 {
		body := bytes.Repeat([]byte{byte(i + 1)}, 9<<20)
		p := payloadOf(string(body))
		p.Name = "part.deb"
		bodies[p.SHA256] = body
		list = append(list, p)
	}
	err = m.Stage(t.Context(), list, nil)
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(fault.Public(err), "no room for 18 MiB of payloads") || asked != 0 {
		t.Fatalf("%v, %d requests", err, asked)
	}
	if all, problem := m.Staged(list); all || !strings.Contains(problem, "18 MiB") || !strings.Contains(problem, "free space") {
		t.Errorf("%v, %q", all, problem)
	}
	if err := m.Stage(t.Context(), list[:1], nil); err != nil || asked != 1 {
		t.Errorf("one of them fits: %v, %d requests", err, asked)
	}
	w.blobs.KeepFree(1 << 20)
	if err := m.Stage(t.Context(), list, nil); err != nil {
		t.Errorf("with a smaller reserve both fit: %v", err)
	}
}

// What nobody needs goes once it was of no use for long; the catalog's indexes
// and what is needed or asked for stay.
func TestCollect(t *testing.T) {
	w := newWorld(t)
	w.publish(1, "index one", nil)
	m := w.open()
	mustSync(t, m, w.now, true)
	var sums []string
	for _, text := range []string{"needed", "asked for", "idle", "fresh"} {
		p := payloadOf(text)
		sums = append(sums, p.SHA256)
		if err := w.blobs.Put(t.Context(), blob.Key(p.SHA256), p.Size, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	needed := func(sum string) bool { return sum == sums[0] }
	age := func(days int, which ...string) {
		t.Helper()
		at := time.Now().AddDate(0, 0, -days)
		for _, sum := range which {
			if err := os.Chtimes(filepath.Join(w.data, "blobs", "blobs", sum[:2], sum), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	age(40, sums[0], sums[1], sums[2], payloadOf("index one").SHA256, payloadOf("InRelease of index one").SHA256)
	if all, _ := m.Staged([]patch.Payload{payloadOf("asked for")}); !all {
		t.Fatal("it is here")
	}
	got, err := m.Collect(t.Context(), needed, time.Now().AddDate(0, 0, -30))
	want := mirror.Collected{Payloads: 5, Bytes: 6 + 9 + 5 + 9 + 22, Idle: 2, IdleBytes: 14, Removed: 1, Freed: 4}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	for i, sum := range sums {
		if has, err := w.blobs.Has(blob.Key(sum)); has != (i != 2) || err != nil {
			t.Errorf("payload %d is here: %v, %v", i, has, err)
		}
	}
	// What was needed until now begins its time only now.
	got, err = m.Collect(t.Context(), func(string) bool { return false }, time.Now().AddDate(0, 0, -30))
	want = mirror.Collected{Payloads: 5, Bytes: 51, Idle: 3, IdleBytes: 20}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}
