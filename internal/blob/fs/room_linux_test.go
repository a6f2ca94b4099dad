package fs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
)

// smallDisk mounts a disk of so many MiB in memory.
func smallDisk(t *testing.T, mib string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size="+mib+"M", "none", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir
}

// Payloads leave room for the database: what would eat into the reserve is
// refused before a byte of it is written, several at a time counted together.
func TestReserve(t *testing.T) {
	dir := smallDisk(t, "40")
	s := open(t, dir)
	if d, told := s.Disk(); !told || d.Reserve != 2<<20 || d.Free > 40<<20 || d.Free < 30<<20 {
		t.Fatalf("%+v, %v: a twentieth of the disk stays free", d, told)
	}
	s.KeepFree(10 << 20)
	data := bytes.Repeat([]byte("x"), 31<<20)
	refused := func(what string, err error) {
		t.Helper()
		if !fault.Is(err, fault.Exhausted) || !strings.Contains(fault.Public(err), "10 MiB of it stay free") || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("put", s.Put(t.Context(), keyOf(data), int64(len(data)), bytes.NewReader(data)))
	_, err := s.Partial(keyOf(data), int64(len(data)))
	refused("partial", err)
	for _, name := range files(t, dir) {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() > 0 {
			t.Errorf("%s was written: %v", name, err)
		}
	}
	a, err := s.Partial(blob.KeyOf([32]byte{1}), 20<<20)
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := s.Disk(); d.Coming != 20<<20 {
		t.Errorf("%d bytes are awaited", d.Coming)
	}
	_, err = s.Partial(blob.KeyOf([32]byte{2}), 20<<20)
	refused("a second one beside the first", err)
	if _, err := a.Write(data[:15<<20]); err != nil {
		t.Fatal(err)
	}
	if d, _ := s.Disk(); d.Coming != 5<<20 {
		t.Errorf("%d bytes are awaited", d.Coming)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if d, _ := s.Disk(); d.Coming != 0 {
		t.Errorf("%d bytes are awaited from nobody", d.Coming)
	}
	if n, err := s.Missing(blob.KeyOf([32]byte{1}), 20<<20); err != nil || n != 5<<20 {
		t.Errorf("%d bytes are missing: %v", n, err)
	}
	if a, err = s.Partial(blob.KeyOf([32]byte{1}), 20<<20); err != nil || a.Size() != 15<<20 {
		t.Fatalf("the rest of it fits: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// What is used stays; what was of no use for long goes, and so does what has
// come of payloads that nobody asks for any more.
func TestDeleteUnused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	now := time.Now()
	old := now.AddDate(0, 0, -40)
	put := func(text string) blob.Key {
		t.Helper()
		k := keyOf([]byte(text))
		if err := s.Put(t.Context(), k, -1, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, "blobs", string(k[:2]), string(k)), old, old); err != nil {
			t.Fatal(err)
		}
		return k
	}
	used, unused := put("used"), put("unused")
	if has, err := s.Use(used, now); !has || err != nil {
		t.Fatal(has, err)
	}
	if has, err := s.Use(keyOf([]byte("never")), now); has || err != nil {
		t.Error(has, err)
	}
	for info, err := range s.List() {
		if err != nil || info.Used.Before(now.Add(-time.Hour)) != (info.Key == unused) {
			t.Errorf("%+v, %v", info, err)
		}
	}
	cut := now.AddDate(0, 0, -30)
	for k, want := range map[blob.Key]bool{used: false, unused: true, keyOf([]byte("never")): false} {
		if gone, err := s.DeleteUnused(k, cut); gone != want || err != nil {
			t.Errorf("%s: %v, %v", k, gone, err)
		}
		if has, err := s.Has(k); has != (k == used) || err != nil {
			t.Errorf("%s: %v, %v", k, has, err)
		}
	}
	open, err := s.Partial(blob.KeyOf([32]byte{1}), 9)
	if err != nil {
		t.Fatal(err)
	}
	left, err := s.Partial(blob.KeyOf([32]byte{2}), 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	if n, size, err := s.DeletePartials(cut); n != 0 || size != 0 || err != nil {
		t.Errorf("fresh ones: %d, %d, %v", n, size, err)
	}
	if n, size, err := s.DeletePartials(now.Add(time.Hour)); n != 1 || size != 5 || err != nil {
		t.Errorf("%d, %d, %v: the one that is being received stays", n, size, err)
	}
	if err := open.Close(); err != nil {
		t.Error(err)
	}
}
