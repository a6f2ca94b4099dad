// Package sample has one test of each ending, for the lab's own tests.
package sample

import (
	"flag"
	"os"
	"runtime"
	"testing"
)

func TestPasses(t *testing.T) {
	if *end {
		os.Exit(7)
	}
	if text, err := os.ReadFile(`testdata\file.txt`); err != nil || runtime.GOOS != "windows" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestFails(t *testing.T) {
	t.Run("inner", func(t *testing.T) { t.Error("this is why") })
}

func TestSkips(t *testing.T) { t.Skip("not today") }

// TestLeavesFiles fails in Wine's way alone.
func TestLeavesFiles(t *testing.T) { leave(t) }

func TestFailsAndLeavesFiles(t *testing.T) {
	leave(t)
	t.Error("and this is wrong too")
}

func leave(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(t.TempDir()+`\file`, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// end makes a test end its own process.
var end = flag.Bool("end", false, "end the process in a test")
