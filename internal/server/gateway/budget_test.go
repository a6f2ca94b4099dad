package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

// Row 6: an agent that sends another large inventory again and again fills
// neither the disk nor anybody else's budget.
func TestTrustRow6EndlessInventories(t *testing.T) {
	w := newWorld(t)
	a, honest := w.enrol("acme"), w.enrol("acme")
	kept, refused := 0, 0
	for i := range 12 {
		s := snapshot(3, fmt.Sprint(i))
		s.Packages[0].Source = strings.Repeat(fmt.Sprintf("%07d", i), 10<<20/7)
		all, _ := split(t, s)
		code, no := a.send("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: inventory.Root(all), Sections: all})), nil)
		switch code {
		case http.StatusNoContent:
			kept++
		case http.StatusServiceUnavailable:
			refused++
		default:
			t.Fatalf("inventory %d: %d %+v", i, code, no)
		}
	}
	if kept == 0 || kept > 9 || refused == 0 {
		t.Errorf("%d inventories of 10 MB are kept, %d refused", kept, refused)
	}
	all, _ := split(t, snapshot(3, "x"))
	honest.mustSend("PUT", wire.PathSection, pack(t, encode(t, wire.Sections{Root: inventory.Root(all), Sections: all})), nil)
}

// Row 6: renewals stand in the audit log for ever, so they have a pace.
func TestTrustRow6EndlessRenewals(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("acme")
	key, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		code, no := a.send("POST", wire.PathRenew, encode(t, wire.RenewRequest{CSR: key.CSR}), nil)
		if want := map[bool]int{true: 200, false: 503}[i == 0]; code != want {
			t.Fatalf("renewal %d: %d %+v", i, code, no)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := strings.Count(strings.Join(w.audit, "\n"), "endpoint.renew"); n != 1 {
		t.Errorf("%d renewals in the audit log", n)
	}
}
