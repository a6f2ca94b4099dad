package publisher_test

import (
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher"
	"github.com/fettlehq/fettle/internal/repo"
)

// TestRotateKeys replaces a daily key and a root key, renews root, and follows
// all of it with a client that pinned the very first root.
func TestRotateKeys(t *testing.T) {
	w := newWorld(t)
	w.once()
	follower := w.follower()
	before := w.keys()
	if _, err := w.p.RotateKey(t.Context(), repo.Targets, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.RotateKey(t.Context(), repo.Root, ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("one of several root keys must be named: %v", err)
	}
	if _, err := w.p.RotateKey(t.Context(), repo.Root, idOf(before, repo.Root)); err != nil {
		t.Fatal(err)
	}
	if err := w.p.RenewRoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.RotateKey(t.Context(), repo.Targets, "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown key: %v", err)
	}
	w.p.Close()
	w.open() // reads the new keys from their files and trusts what it signed
	w.once()
	after := w.keys()
	if len(after) != len(before) || idOf(after, repo.Targets) == idOf(before, repo.Targets) {
		t.Errorf("keys %v, then %v", before, after)
	}
	if _, err := follower.Refresh(t.Context(), w.now); err != nil {
		t.Errorf("a machine of the first hour can't follow: %v", err)
	}
}

func (w *world) keys() []publisher.KeyStatus {
	w.t.Helper()
	keys, expires, err := w.p.Keys()
	if err != nil || !expires.After(w.now) {
		w.t.Fatalf("keys until %s: %v", expires, err)
	}
	return keys
}

func idOf(keys []publisher.KeyStatus, role repo.Role) string {
	for _, k := range keys {
		if k.Role == role {
			return k.ID
		}
	}
	return ""
}
