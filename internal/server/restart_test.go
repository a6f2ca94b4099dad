package server

import (
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// TestRestartEndsNoTask: after a start the index fills while deployments go on.
// What is not known yet of a machine is not taken for "it lacks nothing", which
// would end every task that waits for an approval.
func TestRestartEndsNoTask(t *testing.T) {
	p := newPlace(t)
	p.publish(2)
	s, err := New(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	in := s.db.In(estate.InTenant(estate.DefaultTenant))
	enrol(t, s, "web1", now)
	d := deploy.Deployment{ID: "d", Tenant: estate.DefaultTenant, Created: now, Status: deploy.Running, Rings: []deploy.Ring{{Endpoints: []estate.EndpointID{"web1"}}}}
	task := deploy.Task{
		ID: "t", Deployment: "d", Tenant: d.Tenant, Endpoint: "web1", State: deploy.AwaitApproval, Attempt: 1, Created: now, Since: now,
		Patches: []deploy.PatchRef{{ID: "debian-12:amd64:svc:2"}}, History: []deploy.Step{{State: deploy.AwaitApproval, At: now}},
	}
	if err := in.CreateDeployment(t.Context(), d, []deploy.Task{task}); err != nil {
		t.Fatal(err)
	}
	if err := s.loop.Once(t.Context()); err != nil { // before a machine is in the index
		t.Fatal(err)
	}
	got, err := in.Task(t.Context(), "t")
	if err != nil || got.State != deploy.AwaitApproval {
		t.Errorf("the task is %s (%s), %v", got.State, got.Reason, err)
	}
}

// TestOneServerOnAFolder: a second server on a data folder would put its own
// address into operator.json and work on the same database.
func TestOneServerOnAFolder(t *testing.T) {
	p := newPlace(t)
	s, err := New(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), p.cfg); !fault.Is(err, fault.Conflict) || fault.HintOf(err) == "" {
		t.Errorf("a second server on the same folder: %v", err)
	}
	s.Close()
	s, err = New(t.Context(), p.cfg)
	if err != nil {
		t.Fatalf("after the first one has ended: %v", err)
	}
	s.Close()
}
