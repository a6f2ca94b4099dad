package server

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// Why the publisher does not give a payload stands where the person looks.
func TestStagingThatFails(t *testing.T) {
	p := newPlace(t)
	p.cfg.Bring = func(context.Context, []string) error {
		return fault.New(fault.Unsupported, "publisher: no source offers svc any more").WithHint("ask its vendor")
	}
	s, err := New(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Now().UTC()
	enrol(t, s, "web1", now)
	list := []patch.Payload{{SHA256: strings.Repeat("a", 64), Size: 1}}
	d := deploy.Deployment{
		ID: "d", Tenant: estate.DefaultTenant, Created: now, Status: deploy.Running, Policy: deploy.DefaultPolicy(),
		Rings: []deploy.Ring{{Name: "all", Endpoints: []estate.EndpointID{"web1"}}},
	}
	task := deploy.Task{
		ID: "t", Deployment: "d", Tenant: d.Tenant, Endpoint: "web1", State: deploy.Staging, Attempt: 1, Created: now, Since: now,
		Plan: &deploy.Plan{Payloads: list}, History: []deploy.Step{{State: deploy.Staging, At: now}},
	}
	in := s.db.In(estate.InTenant(d.Tenant))
	if err := in.CreateDeployment(t.Context(), d, []deploy.Task{task}); err != nil {
		t.Fatal(err)
	}
	args, err := json.Marshal(stageArgs{list})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.runStage(t.Context(), args); !fault.Is(err, fault.Unsupported) {
		t.Fatalf("staging: %v", err)
	}
	if err := s.loop.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := in.Task(t.Context(), "t"); err != nil || !strings.Contains(got.Reason, "no source offers svc any more (ask its vendor)") {
		t.Errorf("the task is %s: %q, %v", got.State, got.Reason, err)
	}
}

// An endpoint that lies about a size can't occupy the place of one that does not.
func TestListKeyKnowsSizes(t *testing.T) {
	sum := strings.Repeat("a", 64)
	if listKey([]patch.Payload{{SHA256: sum, Size: 1}}) == listKey([]patch.Payload{{SHA256: sum, Size: 2}}) {
		t.Error("lists with other sizes are the same job")
	}
}
