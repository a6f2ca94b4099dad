package publisher_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
)

// staged brings the files of a patch into the store and returns their hashes.
func (w *world) staged(id patch.ID) []string {
	w.t.Helper()
	if err := w.p.Stage(w.t.Context(), []patch.ID{id}, nil); err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, it := range w.patch("debian-12-amd64", id).Items {
		out = append(out, it.Payload.SHA256)
	}
	return out
}

func (w *world) payload(hash string) string {
	return filepath.Join(w.cfg.Repository, "payloads/sha256", hash[:2], hash)
}

// rot flips a bit of a file as a bad disk does: size and time stay.
func rot(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, info.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) mustBeWhole(hash string) {
	w.t.Helper()
	data, err := os.ReadFile(w.payload(hash))
	if got := sha256.Sum256(data); err != nil || hex.EncodeToString(got[:]) != hash {
		w.t.Errorf("the payload is not whole: %v", err)
	}
}

// A damaged file is found, set aside and fetched anew: bits that a disk lost
// within a week, a file that somebody changed with the next run.
func TestDamagedPayloadHeals(t *testing.T) {
	w := newWorld(t)
	w.once()
	hash := w.staged(ssl2)[0]
	w.once() // has read it
	rot(t, w.payload(hash))
	w.now = w.now.Add(time.Hour)
	if r := w.once(); len(r.Damaged) != 0 {
		t.Fatalf("every run reads all: %+v", r.Damaged)
	}
	w.now = w.now.Add(7 * 24 * time.Hour)
	w.sec.Date, w.sec.ValidUntil = w.now, w.now.AddDate(0, 0, 30)
	w.archive.Publish(t, w.sec)
	r := w.once()
	if len(r.Damaged) != 1 || r.Damaged[0].SHA256 != hash || !r.Damaged[0].Mended || !strings.Contains(r.Damaged[0].Name, "3.0.17-1~deb12u2") {
		t.Fatalf("%+v", r.Damaged)
	}
	w.mustBeWhole(hash)
	if _, err := os.Stat(filepath.Join(w.cfg.Repository, ".damaged", hash)); err != nil {
		t.Error("nothing is left of what was damaged:", err)
	}
	if err := os.WriteFile(w.payload(hash), []byte("short"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r = w.once(); len(r.Damaged) != 1 || !r.Damaged[0].Mended {
		t.Errorf("a file that was changed: %+v", r.Damaged)
	}
	w.mustBeWhole(hash)
	if r = w.once(); len(r.Damaged) != 0 || len(r.Notes) != 0 {
		t.Errorf("it is mended: %+v, %q", r.Damaged, r.Notes)
	}
}

// Whoever wants a payload gets it whole at once, and a damaged copy says nothing
// about a patch.
func TestDamagedPayloadIsNotUsed(t *testing.T) {
	w := newWorld(t)
	w.once()
	for name, use := range map[string]func() error{
		"stage":   func() error { return w.p.Stage(t.Context(), []patch.ID{ssl2}, nil) },
		"payload": func() error { return w.p.Payload(t.Context(), w.staged(ssl2)[0]) },
		"verify": func() error {
			v, err := w.p.Verify(t.Context(), nil)
			if len(v.Damaged) != 1 || !v.Damaged[0].Mended || v.Payloads != len(w.stored()) {
				t.Errorf("%+v", v)
			}
			return err
		},
		"prove": func() error {
			got, err := w.p.Prove(t.Context(), []patch.ID{ssl2}, "ada", nil)
			if err == nil && !got[0].OK {
				t.Errorf("%+v", got)
			}
			return err
		},
	} {
		hash := w.staged(ssl2)[0]
		rot(t, w.payload(hash))
		if err := use(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		w.mustBeWhole(hash)
	}
}

// What the vendor does not offer any more can't be mended: it is told, and tried
// again.
func TestDamagedPayloadThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.once()
	hash := w.staged(ssl2)[0]
	pool := filepath.Join(w.archive.Dir, "pool")
	if err := os.Rename(pool, pool+".away"); err != nil {
		t.Fatal(err)
	}
	rot(t, w.payload(hash))
	v, err := w.p.Verify(t.Context(), nil)
	if err != nil || len(v.Damaged) != 1 || v.Damaged[0].Mended || v.Damaged[0].Reason == "" {
		t.Fatalf("%+v, %v", v, err)
	}
	told := func(r publisher.Report) bool {
		s, _ := w.shard("debian-12-amd64")
		note := func(n string) bool {
			return strings.HasPrefix(n, "files of patches that were damaged on the repository's disk")
		}
		return slices.ContainsFunc(r.Notes, note) && slices.ContainsFunc(s.Header().Notes, note)
	}
	if r := w.once(); !told(r) || len(r.Damaged) != 1 || r.Damaged[0].Mended {
		t.Errorf("%+v, notes %q", r.Damaged, r.Notes)
	}
	if err := os.Rename(pool+".away", pool); err != nil {
		t.Fatal(err)
	}
	if r := w.once(); len(r.Damaged) != 1 || !r.Damaged[0].Mended {
		t.Errorf("the vendor is back: %+v", r.Damaged)
	}
	if r := w.once(); told(r) || len(r.Damaged) != 0 {
		t.Errorf("%+v, notes %q", r.Damaged, r.Notes)
	}
	w.mustBeWhole(hash)
}

// A damaged index comes from its source's folder; when that is damaged too the
// source is fetched anew.
func TestDamagedIndexHeals(t *testing.T) {
	for _, both := range []bool{false, true} {
		w := newWorld(t)
		w.once()
		s, _ := w.shard("debian-12-amd64")
		for _, a := range s.Header().Archives {
			for _, hash := range []string{a.InRelease.SHA256, a.Indexes[0].Blob.SHA256} {
				rot(t, w.payload(hash))
				if both {
					rot(t, filepath.Join(w.cfg.Data, "sources", a.Path, "blobs", hash))
				}
				v, err := w.p.Verify(t.Context(), nil)
				if err != nil || len(v.Damaged) != 1 || v.Damaged[0].Mended == both {
					t.Fatalf("both %v: %+v, %v", both, v, err)
				}
				if r := w.once(); r.Version > 3 || len(r.Damaged) != 0 {
					t.Errorf("both %v: version %d, %+v", both, r.Version, r.Damaged)
				}
				w.mustBeWhole(hash)
			}
		}
	}
}
