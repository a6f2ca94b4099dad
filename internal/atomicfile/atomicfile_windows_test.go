package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/fault"
)

// folder is t.TempDir, which can't clean up under Wine (RemoveTree says why).
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fettle-atomicfile-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := atomicfile.RemoveTree(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func holds(t *testing.T, path, content string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("%s holds %q (%v), want %q", path, got, err, content)
	}
}

// TestReplaceOnWindows: a file is replaced, also one that is read-only or that
// somebody, such as a virus scanner, has open for a moment; one that stays open
// is left as it was, and nothing lies beside it.
func TestReplaceOnWindows(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "f")
	for _, text := range []string{"first", "second"} {
		if err := atomicfile.Write(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		holds(t, path, text)
	}
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = reader.Close() }) // read only
	if err := atomicfile.Write(path, []byte("third"), 0o600); err != nil {
		t.Errorf("a file that is open for a moment: %v", err)
	}
	holds(t, path, "third")
	if reader, err = os.Open(path); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, []byte("fourth"), 0o600); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a file that stays open: %v", err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	holds(t, path, "third")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRemoveTreeOnWindows(t *testing.T) {
	dir := folder(t)
	tree := filepath.Join(dir, "tree")
	for _, name := range []string{"a/b/c/deep", "a/read only", "x"} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(tree, "a/read only"), 0o400); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing
		if err := atomicfile.RemoveTree(tree); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(tree); !os.IsNotExist(err) {
			t.Fatalf("it is still there: %v", err)
		}
	}
	if err := atomicfile.RemoveTree(dir); err != nil {
		t.Error(err)
	}
}

func TestSpaceOnWindows(t *testing.T) {
	free, total, err := atomicfile.Space(folder(t))
	if err != nil || free <= 0 || total < free {
		t.Errorf("%d of %d bytes are free, %v", free, total, err)
	}
	if _, _, err := atomicfile.Space(`C:\no such folder`); err == nil {
		t.Error("a folder that is not there has room")
	}
}
