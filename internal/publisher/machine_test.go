package publisher_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/fettlehq/fettle/internal/publisher"
)

// TestThisMachine publishes what this machine's own apt offers, with apt as
// the only one who reaches the network. It is slow and needs apt's mirrors, so
// it runs when FETTLE_MACHINE_TEST is set.
func TestThisMachine(t *testing.T) {
	if os.Getenv("FETTLE_MACHINE_TEST") == "" {
		t.Skip("set FETTLE_MACHINE_TEST=1 to crawl this machine's own apt sources")
	}
	dir := os.Getenv("FETTLE_MACHINE_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	p, err := publisher.New(t.Context(), publisher.Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repo"), Keys: filepath.Join(dir, "keys"), Machine: true,
	}, publisher.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 2 {
		r, err := p.Once(t.Context(), func(e publisher.Event) { t.Log(e) })
		if err != nil {
			t.Fatal(err)
		}
		out, _ := json.MarshalIndent(r, "", " ")
		t.Logf("%s", out)
	}
}
