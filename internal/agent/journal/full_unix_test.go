//go:build unix

package journal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fettlehq/fettle/internal/fault"
)

// TestFullDisk writes to a device that is always full.
func TestFullDisk(t *testing.T) {
	j := open(t, filepath.Join(tempDir(t), "j"))
	if err := j.Apply(change(1), at(1)); err != nil {
		t.Fatal(err)
	}
	want := lookAt(j)
	good := j.file
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("this test needs /dev/full: %v", err)
	}
	j.file = full
	if err := j.Apply(change(2), at(2)); !fault.Is(err, fault.Exhausted) {
		t.Fatalf("a full disk gives %v", err)
	}
	if got := lookAt(j); got != want {
		t.Fatal("a change that could not be written is visible")
	}
	j.file = good
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Apply(change(2), at(2)); err != nil {
		t.Fatal(err)
	}
	if k := open(t, j.path); lookAt(k) != lookAt(j) {
		t.Fatal("what was written after the disk had room again is not read back")
	}
}
