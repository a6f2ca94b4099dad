package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/pki"
)

// TestTrustRow5RenewalKeepsThePinnedCA: a renewal can't move a machine to the
// CA of somebody who owned its server for a day.
func TestTrustRow5RenewalKeepsThePinnedCA(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	s.publish(1, s.thePatch())
	d := s.enrolled(root)
	other, err := pki.CreateCA(tempDir(t), "another", time.Now())
	check(t, err)
	if err := d.sameCA(s.ca.Certificate().Raw); err != nil {
		t.Errorf("the pinned CA is refused: %v", err)
	}
	err = d.sameCA(other.Certificate().Raw)
	if !fault.Is(err, fault.Untrusted) || !strings.Contains(err.Error(), "enrolled with") {
		t.Errorf("another CA gives %v", err)
	}
	if err := d.sameCA([]byte("rubbish")); !fault.Is(err, fault.Untrusted) {
		t.Errorf("rubbish gives %v", err)
	}
}
