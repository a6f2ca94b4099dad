package publisher_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/publisher"
)

// TestThisMachine publishes what this machine's own apt offers, with apt as
// the only one who reaches the network, and fetches one package. It needs
// apt's mirrors and some seconds, so it runs when FETTLE_MACHINE_TEST is set;
// FETTLE_MACHINE_DIR keeps the results.
func TestThisMachine(t *testing.T) {
	if os.Getenv("FETTLE_MACHINE_TEST") == "" {
		t.Skip("set FETTLE_MACHINE_TEST=1 to crawl this machine's own apt sources")
	}
	dir := os.Getenv("FETTLE_MACHINE_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	cfg := publisher.Config{
		Data: filepath.Join(dir, "data"), Repository: filepath.Join(dir, "repo"), Keys: filepath.Join(dir, "keys"), Machine: true,
	}
	if feeds, err := filepath.Abs("../../../shared/feeds"); err == nil {
		if _, err := os.Stat(feeds); err == nil {
			cfg.Feeds.KEV = "file://" + feeds + "/cisa/kev/known_exploited_vulnerabilities.2026-08-22.json"
			cfg.Feeds.CVSS = "file://" + feeds + "/cve/vulnrichment/vulnrichment-2024-all.tar.zst"
			cfg.Feeds.DebianTracker = os.Getenv("FETTLE_MACHINE_TRACKER")
		}
	}
	p, err := publisher.New(t.Context(), cfg, publisher.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 2 {
		r, err := p.Once(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Sources = nil
		out, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s", out)
		if len(r.Rejected) > 0 || len(r.Shards) == 0 {
			t.Errorf("%d rejected, %d shards", len(r.Rejected), len(r.Shards))
		}
	}
	if id := os.Getenv("FETTLE_MACHINE_PROVE"); id != "" {
		got, err := p.Prove(t.Context(), []patch.ID{patch.ID(id)}, "ada", nil)
		if err != nil || !got[0].OK {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
