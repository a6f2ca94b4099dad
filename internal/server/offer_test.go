package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/pki"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/wire"
)

// Trust, row 6: an agent that plans with a payload which the catalog does not
// offer for its task (another tenant's file, another machine's, one of another
// size) is refused, and the server gives it nothing of that payload, though it
// holds it.
func TestTrustRow6PlanNamesForeignPayload(t *testing.T) {
	p := newPlace(t)
	s, down := p.up()
	defer down()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	in := s.db.In(estate.InTenant(estate.DefaultTenant))
	enrol(t, s, "web1", now)
	snap := inventory.Snapshot{OS: inventory.OS{Family: "linux", ID: "debian", Version: "12", Arch: "amd64"}}
	snap.Packages = []inventory.Package{{Kind: "dpkg", Name: "svc", Arch: "amd64", Version: "1"}}
	sections, err := inventory.Split(snap)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.PutInventory(t.Context(), store.Report{Endpoint: "web1", Tenant: estate.DefaultTenant, Sections: sections, Scanned: now, Now: now, Facts: func(*estate.Endpoint) {}}); err != nil {
		t.Fatal(err)
	}
	good, foreign := payload(svcPayload), payload("another tenant's program")
	for _, x := range []patch.Payload{good, foreign} {
		if err := s.blobs.Put(t.Context(), blob.Key(x.SHA256), x.Size, strings.NewReader(x.Name)); err != nil {
			t.Fatal(err)
		}
	}
	key, err := pki.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := s.ca.IssueAgent(key.CSR, pki.Identity{Tenant: string(estate.DefaultTenant), Endpoint: "web1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.Pair(cert, key.Key)
	if err != nil {
		t.Fatal(err)
	}
	agent := &http.Client{Transport: &http.Transport{TLSClientConfig: pki.ClientConfig(pair, pki.NewTrust(s.ca.Certificate())), ForceAttemptHTTP2: true}}
	get := func(sum string) (int, string) {
		t.Helper()
		resp, err := agent.Get("https://" + p.cfg.Agents + wire.PathBlob + sum)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	lie := good
	lie.Size++
	for i, tc := range []struct {
		name string
		plan []patch.Payload
		want deploy.State
	}{
		{"a payload outside the catalog", []patch.Payload{good, foreign}, deploy.RetryPlanned},
		{"another size", []patch.Payload{lie}, deploy.RetryPlanned},
		{"what the task's patch brings", []patch.Payload{good}, deploy.Staging},
	} {
		id := deploy.TaskID([]string{"t0", "t1", "t2"}[i])
		d := deploy.Deployment{ID: deploy.ID("d" + id), Tenant: estate.DefaultTenant, Created: now, Status: deploy.Halted, Rings: []deploy.Ring{{Endpoints: []estate.EndpointID{"web1"}}}}
		task := deploy.Task{
			ID: id, Deployment: d.ID, Tenant: d.Tenant, Endpoint: "web1", State: deploy.Planning, Attempt: 1, Created: now, Since: now,
			Patches: []deploy.PatchRef{{ID: "debian-12:amd64:svc:2"}}, History: []deploy.Step{{State: deploy.Planning, At: now}},
		}
		if err := in.CreateDeployment(t.Context(), d, []deploy.Task{task}); err != nil {
			t.Fatal(err)
		}
		plan := &deploy.Plan{Changes: []deploy.Change{{Package: "svc", From: "1", To: "2"}, {Package: "no-such", To: "9"}}, Payloads: tc.plan}
		if err := s.loop.Hear(t.Context(), d.Tenant, "web1", []wire.Event{{Seq: int64(i + 1), Task: id, Attempt: 1, State: deploy.Planned, Plan: plan}}); err != nil {
			t.Fatal(err)
		}
		got, err := in.Task(t.Context(), id)
		taken := got.State != deploy.RetryPlanned && got.State != deploy.Failed
		if err != nil || taken != (tc.want == deploy.Staging) {
			t.Errorf("%s: the task is %s (%s), %v", tc.name, got.State, got.Reason, err)
		}
		if tc.want == deploy.RetryPlanned && !strings.Contains(got.Reason, "not what the catalog offers") {
			t.Errorf("%s: %s", tc.name, got.Reason)
		}
		if code, body := get(foreign.SHA256); code != http.StatusNotFound || strings.Contains(body, foreign.Name) {
			t.Errorf("%s: the server gives it (%d)", tc.name, code)
		}
		code, _ := get(good.SHA256)
		if want := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[tc.want == deploy.Staging]; code != want {
			t.Errorf("%s: its own payload: %d", tc.name, code)
		}
	}
}
