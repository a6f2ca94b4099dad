// Package collecttest makes machines of files for the tests of collectors.
package collecttest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fettlehq/fettle/internal/agent/collect"
)

// Folder writes files, by their paths with slashes, below a new folder.
func Folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Open opens a folder as a machine's root until the test ends.
func Open(t testing.TB, dir string) *collect.Tree {
	t.Helper()
	tree, err := collect.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() }) // read only
	return tree
}

// Tree is a machine that has just the files.
func Tree(t testing.TB, files map[string]string) *collect.Tree {
	t.Helper()
	return Open(t, Folder(t, files))
}
