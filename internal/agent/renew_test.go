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

// TestRenewalByAWrongClock: a server whose clock is wrong for an hour does not
// lock out the machines that it renews in it.
func TestRenewalByAWrongClock(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	s.publish(1, s.thePatch())
	id, err := s.enrolled(root).identity()
	check(t, err)
	mine, err := pki.CertIdentity(id.pair.Leaf)
	check(t, err)
	now := time.Now()
	for what, tc := range map[string]struct {
		is    pki.Identity
		clock time.Time
		code  fault.Code
	}{
		"now":       {mine, now, ""},
		"in future": {mine, now.AddDate(2, 0, 0), fault.Untrusted},
		"in past":   {mine, now.AddDate(-1, 0, 0), fault.Untrusted},
		"another":   {pki.Identity{Tenant: mine.Tenant, Endpoint: "e0"}, now, fault.Untrusted},
	} {
		req, err := pki.NewIdentity()
		check(t, err)
		cert, err := s.ca.IssueAgent(req.CSR, tc.is, tc.clock)
		check(t, err)
		if err := id.replaceable(cert.Raw, now); fault.CodeOf(err) != tc.code {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := id.replaceable([]byte("rubbish"), now); !fault.Is(err, fault.Untrusted) {
		t.Errorf("rubbish gives %v", err)
	}
}

// TestEnrolWhileItWorks: an agent that works goes on as who it was; another
// identity under its feet would mix the two.
func TestEnrolWhileItWorks(t *testing.T) {
	s, root := newServer(t), newMachine(t)
	s.publish(1, s.thePatch())
	d := s.enrolled(root)
	stop := s.agent(d, root)
	s.until("it works", func() bool { return len(s.checkins) > 0 })
	before, err := d.Settings()
	check(t, err)
	o := s.enrolment(d, root)
	o.Force = true
	if _, err := Enroll(t.Context(), o); !fault.Is(err, fault.Conflict) || !strings.Contains(fault.HintOf(err), "stop") {
		t.Errorf("got %v", err)
	}
	if now, err := d.Settings(); err != nil || now.Endpoint != before.Endpoint {
		t.Errorf("it is %s now, %v", now.Endpoint, err)
	}
	stop()
	if _, err := Enroll(t.Context(), o); err != nil {
		t.Error(err)
	}
}
