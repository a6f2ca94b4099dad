package gateway_test

import (
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/wire"
)

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
