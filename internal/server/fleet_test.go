package server

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/server/store/sqlite"
)

// TestTrustRow9StoreAway: when the store can't be asked, nothing counts as
// approved and the breaker holds; a fleet of questions makes neither as many
// looks nor as many lines of the log.
func TestTrustRow9StoreAway(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "fettle.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	now := time.Now()
	f := &fleet{db: db, log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }, decisions: map[estate.TenantID]*decisions{}}
	if n := f.Started("main", now.Add(-time.Hour)); n >= 0 {
		t.Errorf("%d machines are said to have begun, which nobody can know", n)
	}
	log.Reset()
	for range 1000 {
		if got := f.Approval("main", "e1", "p1"); got != approval.Awaiting {
			t.Fatalf("a patch is %s", got)
		}
	}
	if lines := bytes.Count(log.Bytes(), []byte("\n")); lines > 1 {
		t.Errorf("%d lines of the log", lines)
	}
	now = now.Add(2 * decisionsLast)
	f.Approval("main", "e1", "p1")
	if lines := bytes.Count(log.Bytes(), []byte("\n")); lines != 2 {
		t.Errorf("a second later it was not asked again: %d lines", lines)
	}
	// What was read while the clock was ahead is not kept until it is again.
	f.decisions["main"] = &decisions{at: now.AddDate(10, 0, 0)}
	f.Approval("main", "e1", "p1")
	if lines := bytes.Count(log.Bytes(), []byte("\n")); lines != 3 {
		t.Error("decisions from the future count")
	}
}
