package gateway_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/wire"
)

// TestTrustRow5CopiedMachine: two machines with one identity, from a disk that
// was copied after it was enrolled, are told and get no orders: what one of them
// proves would be believed of the other.
func TestTrustRow5CopiedMachine(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	w.mu.Lock()
	w.orders[a.id] = []wire.Order{{Task: "t", Attempt: 1, Action: wire.ActPlan}}
	w.mu.Unlock()
	problem := func() string {
		t.Helper()
		c, err := w.db.In(estate.InTenant("acme")).Contact(t.Context(), a.id)
		if err != nil {
			t.Fatal(err)
		}
		return c.Problem
	}
	says := func(boot string, orders int) {
		t.Helper()
		if got := a.checkIn(wire.CheckIn{BootID: boot}).Orders; len(got) != orders {
			t.Errorf("boot %s gets %d orders", boot, len(got))
		}
	}
	for _, boot := range []string{"1", "1", "2", "2", "3", "4", "4"} { // restarts
		says(boot, 1)
	}
	says("3", 1) // set back to a live snapshot
	says("3", 1)
	says("5", 1)
	if p := problem(); p != "" {
		t.Errorf("one machine has the problem %q", p)
	}
	says("3", 1)
	says("5", 0) // for the third time in an earlier boot: there are two
	says("3", 0)
	says("5", 0)
	if p := problem(); !strings.Contains(p, "disk was copied") {
		t.Errorf("the problem is %q", p)
	}
	if !slices.Contains(w.audit, "endpoint.copied by agent:"+string(a.id)) {
		t.Errorf("audited: %q", w.audit)
	}
	w.mu.Lock()
	w.clock += 25 * time.Hour // the copies have got identities of their own
	w.mu.Unlock()
	if got := a.checkIn(wire.CheckIn{BootID: "5", Now: time.Now().Add(25 * time.Hour)}); len(got.Orders) != 1 {
		t.Error("no orders a day later")
	}
	if p := problem(); p != "" {
		t.Errorf("a day later: %q", p)
	}
}
