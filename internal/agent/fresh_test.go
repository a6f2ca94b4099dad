package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/repo/client"
)

// TestTrustRow3ExpiredCatalogInstallsNothing: a server that keeps newer
// catalogs away can't go on choosing from the old one for ever.
func TestTrustRow3ExpiredCatalogInstallsNothing(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	s.publish(1, s.thePatch())
	d := s.enrolled(root)
	s.agent(d, root)
	s.until("catalog 1", func() bool { return last(s.checkins).Catalog == 1 })
	old, err := client.OpenDir(s.repoDir)
	check(t, err)
	defer old.Close()
	now := time.Now()
	if err := fresh(d, old, now); err != nil {
		t.Errorf("a fresh catalog is refused: %v", err)
	}
	later := now.Add(30 * 24 * time.Hour)
	if err := fresh(d, old, later); !fault.Is(err, fault.Untrusted) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired catalog gives %v", err)
	}
	if _, err := syncCatalog(t.Context(), d, old, []string{platform}, later); !fault.Is(err, fault.Untrusted) {
		t.Errorf("following an expired repository gives %v", err)
	}
}
