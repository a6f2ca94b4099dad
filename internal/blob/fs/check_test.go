package fs_test

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/blob/fs"
	"github.com/fettlehq/fettle/internal/fault"
)

func TestCheckSetsAside(t *testing.T) {
	dir := t.TempDir()
	s, err := fs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const text = "good bytes"
	key := blob.KeyOf(sha256.Sum256([]byte(text)))
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	read := 0
	pace := func(_ context.Context, n int) error { read += n; return nil }
	if _, err := s.Check(t.Context(), key, now, pace); !fault.Is(err, fault.NotFound) {
		t.Errorf("none: %v", err)
	}
	put := func() {
		t.Helper()
		if err := s.Put(t.Context(), key, int64(len(text)), strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	put()
	if good, err := s.Check(t.Context(), key, now, pace); !good || err != nil || read == 0 {
		t.Errorf("good: %v, %v", good, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if good, err := s.Check(gone, key, now, nil); good || !fault.Is(err, fault.Cancelled) {
		t.Errorf("stopped: %v, %v", good, err)
	}
	for _, bad := range []string{"", "good byte", "Good bytes", "good bytes and more"} {
		if err := os.WriteFile(filepath.Join(dir, "blobs", string(key[:2]), string(key)), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if good, err := s.Check(t.Context(), key, now, nil); good || err != nil {
			t.Errorf("%q: %v, %v", bad, good, err)
		}
		if _, _, err := s.Get(key); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q is given: %v", bad, err)
		}
		aside, err := s.Aside()
		if err != nil || len(aside) != 1 || aside[0].Key != key || aside[0].Size != int64(len(bad)) || !aside[0].Used.Equal(now) {
			t.Errorf("%q: aside %+v, %v", bad, aside, err)
		}
		put() // there is room for a good one
	}
	if err := s.DropAside(now); err != nil {
		t.Fatal(err)
	}
	if aside, err := s.Aside(); len(aside) != 1 || err != nil {
		t.Errorf("dropped too early: %v, %v", aside, err)
	}
	if err := s.DropAside(now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if aside, err := s.Aside(); len(aside) != 0 || err != nil {
		t.Errorf("aside %v, %v", aside, err)
	}
}
