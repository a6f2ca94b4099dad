package gateway

import (
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/wire"
)

// TestConfirmed: a scan counts from when the server has what it gave.
func TestConfirmed(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	before, after := now.Add(-time.Minute), now.Add(time.Minute)
	for name, tc := range map[string]struct {
		root, have string
		scanned    time.Time
		want       time.Time
	}{
		"unchanged":            {"a", "a", before, before},
		"changed":              {"b", "a", before, time.Time{}},
		"never scanned":        {"", "", time.Time{}, time.Time{}},
		"unknown here":         {"a", "", before, time.Time{}},
		"a clock that is fast": {"a", "a", after, now},
	} {
		t.Run(name, func(t *testing.T) {
			if got := confirmed(wire.CheckIn{Root: tc.root, Scanned: tc.scanned}, tc.have, now); !got.Equal(tc.want) {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}
