package publish_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

func TestDamagedPayload(t *testing.T) {
	r, dir, _ := initRepo(t, publish.Setup{})
	f, err := r.AddPayload(t.Context(), strings.NewReader("payload"))
	if err != nil {
		t.Fatal(err)
	}
	if _, whole, err := r.CheckPayload(t.Context(), f.SHA256); !whole || err != nil {
		t.Fatalf("%v, %v", whole, err)
	}
	path := filepath.Join(dir, f.Path)
	if err := os.WriteFile(path, []byte("paylo0d"), 0o644); err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, _, err := r.CheckPayload(stopped, f.SHA256); !fault.Is(err, fault.Cancelled) {
		t.Errorf("stopped: %v", err)
	}
	looked, whole, err := r.CheckPayload(t.Context(), f.SHA256)
	if whole || err != nil {
		t.Fatalf("%v, %v", whole, err)
	}

	// What has come since it was looked at stays.
	if _, err := r.AddPayload(t.Context(), strings.NewReader("payload")); err != nil {
		t.Fatal(err)
	}
	if err := r.SetAside(f.SHA256, looked, start); err != nil {
		t.Fatal(err)
	}
	if _, whole, err := r.CheckPayload(t.Context(), f.SHA256); !whole || err != nil {
		t.Fatalf("a good file was set aside: %v", err)
	}

	if err := os.WriteFile(path, []byte("paylo0d"), 0o644); err != nil {
		t.Fatal(err)
	}
	if looked, _, err = r.CheckPayload(t.Context(), f.SHA256); err != nil {
		t.Fatal(err)
	}
	for range 2 { // another may have been faster
		if err := r.SetAside(f.SHA256, looked, start); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.CheckPayload(t.Context(), f.SHA256); !fault.Is(err, fault.NotFound) {
		t.Errorf("it is still there: %v", err)
	}
	got, err := r.Aside()
	if diff := cmp.Diff([]publish.Aside{{SHA256: f.SHA256, At: start}}, got); diff != "" || err != nil {
		t.Errorf("%v, aside (-want +got):\n%s", err, diff)
	}
	if data, err := os.ReadFile(filepath.Join(dir, ".damaged", f.SHA256)); string(data) != "paylo0d" {
		t.Errorf("what was left is %q, %v", data, err)
	}
	for _, c := range []struct {
		before time.Time
		left   int
	}{{start, 1}, {start.Add(time.Second), 0}} {
		if err := r.DropAside(c.before); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Aside(); len(got) != c.left || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
	if _, _, err := r.CheckPayload(t.Context(), "../x"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
