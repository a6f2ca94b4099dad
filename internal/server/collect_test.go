package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/patch"
)

// A payload goes once nobody has needed it for 30 days; the audit log and the
// status tell of it. What an open task plans with or an approval brings stays.
func TestPayloadsAreCollected(t *testing.T) {
	p := newPlace(t)
	p.publish(2)
	clock := time.Now().UTC()
	p.cfg.Now = func() time.Time { return clock }
	s, err := New(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	put := func(text string) patch.Payload {
		t.Helper()
		x := payload(text)
		if err := s.blobs.Put(t.Context(), blob.Key(x.SHA256), x.Size, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		old := clock.AddDate(0, 0, -31)
		if err := os.Chtimes(filepath.Join(p.cfg.Data, "server", "blobs", "blobs", x.SHA256[:2], x.SHA256), old, old); err != nil {
			t.Fatal(err)
		}
		return x
	}
	planned, approved, idle := put("planned"), put(svcPayload), put("idle")
	in := s.db.In(estate.InTenant(estate.DefaultTenant))
	if _, err := in.PutApproval(t.Context(), approval.Approval{Tenant: estate.DefaultTenant, Patch: "debian-12:amd64:svc:2", Decision: approval.Approve, By: "ada", At: clock}); err != nil {
		t.Fatal(err)
	}
	enrol(t, s, "web1", clock)
	d := deploy.Deployment{ID: "d", Tenant: estate.DefaultTenant, Created: clock, Status: deploy.Running, Rings: []deploy.Ring{{Endpoints: []estate.EndpointID{"web1"}}}}
	task := deploy.Task{
		ID: "t", Deployment: "d", Tenant: d.Tenant, Endpoint: "web1", State: deploy.Staged, Attempt: 1, Created: clock, Since: clock,
		Plan: &deploy.Plan{Payloads: []patch.Payload{planned}}, History: []deploy.Step{{State: deploy.Staged, At: clock}},
	}
	if err := in.CreateDeployment(t.Context(), d, []deploy.Task{task}); err != nil {
		t.Fatal(err)
	}
	if err := s.db.CommitCtx(t.Context(), "ended", []byte("x"), clock.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n, err := s.db.PruneSessions(t.Context(), clock); n != 0 || err != nil {
		t.Errorf("%d sessions that ended were left, %v", n, err)
	}
	for what, want := range map[patch.Payload]bool{planned: true, approved: true, idle: false} {
		if has, err := s.blobs.Has(blob.Key(what.SHA256)); has != want || err != nil {
			t.Errorf("%s: %v, %v", what.Name, has, err)
		}
	}
	if got := s.payloadStatus(); got.Payloads != 2 || got.Idle != 0 || got.Free == 0 || got.Reserve == 0 || got.KeepIdle != 30*24*3600 || got.Error != "" {
		t.Errorf("status %+v", got)
	}
	told := ""
	if err := s.audit.Recent(t.Context(), "", 0, "", "", 10, func(doc []byte) error { told += string(doc); return nil }); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told, `"payloads.collect"`) || !strings.Contains(told, "1 payloads") {
		t.Errorf("the audit log says %s", told)
	}

	// The task ends and the approval is withdrawn: both are idle, and go after
	// 30 days of that, not before.
	task.State, task.History = deploy.Verified, append(task.History, deploy.Step{State: deploy.Verified, At: clock})
	if err := in.SaveProgress(t.Context(), d, []deploy.Task{task}); err != nil {
		t.Fatal(err)
	}
	clock = clock.AddDate(0, 0, 29)
	if err := s.collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := s.payloadStatus(); got.Payloads != 2 || got.Idle != 1 || got.IdleBytes != planned.Size {
		t.Errorf("status after 29 days: %+v", got)
	}
	clock = clock.AddDate(0, 0, 2)
	if err := s.collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := s.payloadStatus(); got.Payloads != 1 || got.Idle != 0 {
		t.Errorf("status after 31 days: %+v", got)
	}
}
