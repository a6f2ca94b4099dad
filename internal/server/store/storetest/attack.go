package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/wire"
)

// Victim is a tenant with rows in every table. Every text in them that no
// other tenant may read contains "foreign".
type Victim struct {
	Tenant   estate.TenantID
	endpoint estate.EndpointID
	task     deploy.TaskID
	token    estate.Token
	Secret   string
	user     estate.User
	key      estate.Key
	approval approval.Approval
	hash     string // of a section that others do not have
	body     []byte
}

// Furnish makes a victim.
func Furnish(t testing.TB, db *store.DB) Victim {
	t.Helper()
	v := Victim{Tenant: NewTenant(t, db, "foreign"), endpoint: "foreign-ep", task: "foreign-dep-foreign-ep"}
	ctx, in := t.Context(), db.In(estate.InTenant(v.Tenant))
	Enrol(t, db, v.Tenant, estate.DefaultSite, v.endpoint)
	Enrol(t, db, v.Tenant, estate.DefaultSite, "foreign-gone")
	_, err := in.Revoke(ctx, "foreign-gone", epoch)
	must(t, err)
	r := putInventory(t, db, v.Tenant, v.endpoint, "foreign-kernel")
	own := r.Sections[slices.Index(inventory.Sections(), inventory.SectionState)]
	v.hash, v.body = own.Hash, own.Body
	must(t, in.CheckIn(ctx, store.Contact{Endpoint: v.endpoint, Tenant: v.Tenant, Seen: epoch, Problem: "foreign"}))
	must(t, in.PutGroup(ctx, estate.Group{Tenant: v.Tenant, ID: "foreign", Members: []estate.EndpointID{v.endpoint}}))
	v.token, v.Secret, err = in.CreateToken(ctx, estate.Token{
		Tenant: v.Tenant, Site: estate.DefaultSite, Uses: 5, Created: epoch, Expires: epoch.Add(time.Hour), Note: "foreign",
	})
	must(t, err)
	v.approval, err = in.PutApproval(ctx, approval.Approval{Tenant: v.Tenant, Patch: "p-foreign", Decision: approval.Approve, By: "foreign", At: epoch})
	must(t, err)
	deployOne(t, db, v.Tenant, "foreign-dep", v.endpoint)
	must(t, in.SetEventSeq(ctx, v.Tenant, v.endpoint, 3))
	v.user, err = in.PutUser(ctx, estate.User{Tenant: v.Tenant, Name: "foreign-eve"})
	must(t, err)
	v.key, err = in.PutKey(ctx, estate.Key{Tenant: v.Tenant, Name: "foreign", Hash: "foreign-hash"})
	must(t, err)
	must(t, in.AppendAudit(ctx, v.Tenant, epoch, "foreign", "b", "c", seal(`{"foreign":1}`)))
	must(t, in.PutSetting(ctx, v.Tenant, "x", "foreign"))
	must(t, in.PutSchedule(ctx, store.Schedule{Tenant: v.Tenant, ID: "foreign", Due: epoch, Doc: []byte(`{}`)}))
	return v
}

// Attack calls every exported method of Scoped, and of the rooms' views of it,
// with the victim's ids, as somebody who may see the attacker's tenant alone:
// either because in has that scope, or because the database holds it back. It
// fails when a method gives something of the victim's away, when dump, which
// is all of the victim's rows, changes, and when a method is not attacked.
func Attack(t *testing.T, db *store.DB, in store.Scoped, attacker estate.TenantID, v Victim, dump func() string) {
	before := dump()
	if !strings.Contains(before, "foreign") {
		t.Fatal("the victim has nothing: the attack proves nothing")
	}
	a := assault{ctx: t.Context(), in: in, agents: db.Agents(), loop: db.Orchestration(), me: attacker, Victim: v}
	reads, methods := a.reads(), a.reads()
	maps.Copy(methods, a.writes())
	maps.Copy(methods, a.rooms())
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		got, err := methods[name]()
		switch code := fault.CodeOf(err); {
		case err == nil:
			text, err := json.Marshal(got)
			must(t, err)
			if strings.Contains(string(text), "foreign") {
				t.Errorf("%s gives away %s", name, text)
			}
		case code != fault.NotFound && code != fault.Denied && code != fault.Conflict && code != fault.Invalid:
			t.Errorf("%s: %v (%s)", name, err, code)
		}
		if reads[name] != nil {
			continue // all of them are looked at together, by what follows
		}
		if after := dump(); after != before {
			t.Fatalf("%s has changed the victim's rows:\n%s\n%s", name, before, after)
		}
	}
	for prefix, kind := range map[string]reflect.Type{"": reflect.TypeFor[store.Scoped](), "Agents.": reflect.TypeFor[store.Agents](), "Deployments.": reflect.TypeFor[store.Deployments]()} {
		for method := range kind.Methods() {
			if name := prefix + method.Name; methods[name] == nil {
				t.Errorf("%s is not attacked: add it to storetest/attack.go", name)
			}
		}
	}
}

type assault struct {
	Victim
	ctx    context.Context //nolint:containedctx // of the test
	in     store.Scoped
	agents store.Agents
	loop   store.Deployments
	me     estate.TenantID
}

type call = func() (any, error)

// want makes a number that tells of the victim recognisable.
func want[T int | int64](n, want T, err error) (any, error) {
	if n != want {
		return fmt.Sprintf("foreign: %d", n), err
	}
	return n, err
}

func (a assault) reads() map[string]call {
	ctx, in := a.ctx, a.in
	var seen []any
	see := func(err error) (any, error) { return seen, err }
	chain := func(_ int64, hash string, doc []byte) error { seen = append(seen, hash, string(doc)); return nil }
	return map[string]call{
		"Scope":           func() (any, error) { return nil, nil },
		"Approval":        func() (any, error) { return in.Approval(ctx, a.approval.ID) },
		"ActiveApprovals": func() (any, error) { return in.ActiveApprovals(ctx, epoch) },
		"Approvals":       func() (any, error) { all, _, err := in.Approvals(ctx, "p-foreign", "", 0); return all, err },
		"AuditForward":    func() (any, error) { return see(in.AuditForward(ctx, a.Tenant, 0, 10, chain)) },
		"AuditBackward":   func() (any, error) { return see(in.AuditBackward(ctx, a.Tenant, 0, "", "", 10, chain)) },
		"AuditHead":       func() (any, error) { seq, _, err := in.AuditHead(ctx, a.Tenant); return want(seq, 0, err) },
		"Contact":         func() (any, error) { return in.Contact(ctx, a.endpoint) },
		"Deployment":      func() (any, error) { return in.Deployment(ctx, "foreign-dep") },
		"OpenDeployments": func() (any, error) { return in.OpenDeployments(ctx) },
		"Deployments":     func() (any, error) { all, _, err := in.Deployments(ctx, "", 0); return all, err },
		"TaskCounts":      func() (any, error) { return in.TaskCounts(ctx, []deploy.ID{"foreign-dep"}) },
		"Endpoint":        func() (any, error) { return in.Endpoint(ctx, a.endpoint) },
		"Endpoints":       func() (any, error) { all, _, err := in.Endpoints(ctx, estate.EndpointFilter{}); return all, err },
		"EndpointCount":   func() (any, error) { n, err := in.EndpointCount(ctx); return want(n, 1, err) },
		"ActiveAmong":     func() (any, error) { return in.ActiveAmong(ctx, []estate.EndpointID{a.endpoint}) },
		"Scanned":         func() (any, error) { return in.Scanned(ctx, []estate.EndpointID{a.endpoint}) },
		"Groups":          func() (any, error) { return in.Groups(ctx) },
		"Identity":        func() (any, error) { return in.Identity(ctx, a.endpoint) },
		"LackingSections": func() (any, error) {
			n, err := in.LackingSections(ctx, a.Tenant, []string{a.hash})
			return want(len(n), 1, err)
		},
		"SectionHashes":   func() (any, error) { all, err := in.SectionHashes(ctx, a.endpoint); return want(len(all), 0, err) },
		"Inventory":       func() (any, error) { all, _, err := in.Inventory(ctx, a.endpoint); return want(len(all), 0, err) },
		"Section":         func() (any, error) { body, err := in.Section(ctx, a.Tenant, a.hash); return want(len(body), 0, err) },
		"Setting":         func() (any, error) { var text string; err := in.Setting(ctx, a.Tenant, "x", &text); return text, err },
		"Schedules":       func() (any, error) { return in.Schedules(ctx, time.Time{}) },
		"Task":            func() (any, error) { return in.Task(ctx, a.task) },
		"Tasks":           func() (any, error) { all, _, err := in.Tasks(ctx, deploy.TaskFilter{History: true}); return all, err },
		"DeploymentTasks": func() (any, error) { return in.DeploymentTasks(ctx, "foreign-dep") },
		"EndpointTasks":   func() (any, error) { return in.EndpointTasks(ctx, a.endpoint) },
		"OwnTasks":        func() (any, error) { return in.OwnTasks(ctx, a.endpoint, []deploy.TaskID{a.task}) },
		"StartedSince":    func() (any, error) { n, err := in.StartedSince(ctx, epoch); return want(n, 0, err) },
		"EventSeq":        func() (any, error) { n, err := in.EventSeq(ctx, a.endpoint); return want(n, 0, err) },
		"Tenant":          func() (any, error) { return in.Tenant(ctx, a.Tenant) },
		"Tenants":         func() (any, error) { return in.Tenants(ctx) },
		"Sites":           func() (any, error) { return in.Sites(ctx) },
		"Tokens":          func() (any, error) { return in.Tokens(ctx) },
		"User":            func() (any, error) { return in.User(ctx, a.user.ID) },
		"UserByName":      func() (any, error) { return in.UserByName(ctx, a.user.Name) },
		"Users":           func() (any, error) { return in.Users(ctx) },
		"KeyByHash":       func() (any, error) { return in.KeyByHash(ctx, a.key.Hash) },
		"Keys":            func() (any, error) { return in.Keys(ctx) },
		"PlannedPayloads": func() (any, error) {
			return see(in.PlannedPayloads(ctx, func(p *deploy.Plan) { seen = append(seen, p) }))
		},
		"Inventories": func() (any, error) {
			return see(in.Inventories(ctx, time.Time{}, func(c store.Changed) error { seen = append(seen, c); return nil }))
		},
		"Revoked": func() (any, error) {
			return see(in.Revoked(ctx, time.Time{}, func(id estate.EndpointID, _ time.Time) { seen = append(seen, id) }))
		},
	}
}

func (a assault) writes() map[string]call {
	ctx, in := a.ctx, a.in
	other := func(err error) (any, error) { return nil, err }
	return map[string]call{
		"PutApproval": func() (any, error) { _, err := in.PutApproval(ctx, a.approval); return nil, err },
		"AppendAudit": func() (any, error) { return other(in.AppendAudit(ctx, a.Tenant, epoch, "a", "b", "c", seal("{}"))) },
		"CheckIn": func() (any, error) {
			return other(in.CheckIn(ctx, store.Contact{Endpoint: a.endpoint, Tenant: a.me, Seen: epoch.Add(time.Hour)}))
		},
		"CreateDeployment": func() (any, error) {
			return other(in.CreateDeployment(ctx, deploy.Deployment{ID: "new-dep", Tenant: a.Tenant}, nil))
		},
		"SaveProgress": func() (any, error) {
			d := deploy.Deployment{ID: "foreign-dep", Tenant: a.Tenant, Status: deploy.Cancelled}
			return other(in.SaveProgress(ctx, d, nil))
		},
		"Revoke": func() (any, error) { _, err := in.Revoke(ctx, a.endpoint, epoch); return nil, err },
		"Move":   func() (any, error) { return other(in.Move(ctx, a.endpoint, "north")) },
		"PutGroup": func() (any, error) {
			return other(in.PutGroup(ctx, estate.Group{Tenant: a.Tenant, ID: "foreign", Name: "mine"}))
		},
		"DeleteGroup": func() (any, error) { return other(in.DeleteGroup(ctx, a.Tenant, "foreign")) },
		"PutInventory": func() (any, error) {
			if err := in.PutInventory(ctx, report(a.me, a.endpoint, "mine")); !fault.Is(err, fault.NotFound) {
				return "foreign: the report of a foreign machine is taken", err
			}
			return other(in.PutInventory(ctx, report(a.Tenant, a.endpoint, "mine")))
		},
		"PutSetting": func() (any, error) { return other(in.PutSetting(ctx, a.Tenant, "x", "mine")) },
		"PutSchedule": func() (any, error) {
			return other(in.PutSchedule(ctx, store.Schedule{Tenant: a.Tenant, ID: "foreign", Due: epoch.Add(1), Doc: []byte("1")}))
		},
		"AdvanceSchedule": func() (any, error) {
			_, err := in.AdvanceSchedule(ctx, a.Tenant, "foreign", epoch, epoch.Add(time.Hour))
			return nil, err
		},
		"DeleteSchedule": func() (any, error) { return other(in.DeleteSchedule(ctx, a.Tenant, "foreign")) },
		"SetEventSeq": func() (any, error) {
			return other(firstOf(in.SetEventSeq(ctx, a.me, a.endpoint, 9), in.SetEventSeq(ctx, a.Tenant, a.endpoint, 9)))
		},
		"CreateTenant": func() (any, error) { return other(in.CreateTenant(ctx, estate.Tenant{ID: a.Tenant, Name: "mine"})) },
		"EnsureTenant": func() (any, error) { return other(in.EnsureTenant(ctx, estate.Tenant{ID: a.Tenant, Name: "mine"})) },
		"PutSite": func() (any, error) {
			return other(in.PutSite(ctx, estate.Site{Tenant: a.Tenant, ID: "north", Name: "mine"}))
		},
		"CreateToken": func() (any, error) {
			_, _, err := in.CreateToken(ctx, estate.Token{Tenant: a.Tenant, Site: estate.DefaultSite, Uses: 1, Created: epoch, Expires: epoch.Add(1)})
			return nil, err
		},
		"RevokeToken": func() (any, error) { return other(in.RevokeToken(ctx, a.token.ID, epoch)) },
		"PutUser":     func() (any, error) { u := a.user; u.Tenant = a.me; _, err := in.PutUser(ctx, u); return nil, err },
		"ReplaceUser": func() (any, error) {
			u := a.user
			u.Disabled = true
			return other(in.ReplaceUser(ctx, u, u.PasswordHash))
		},
		"DeleteUser": func() (any, error) { return other(in.DeleteUser(ctx, a.user.ID, anybody)) },
		"PutKey":     func() (any, error) { k := a.key; k.Tenant = a.me; _, err := in.PutKey(ctx, k); return nil, err },
		"TouchKey":   func() (any, error) { return other(in.TouchKey(ctx, a.key.ID, epoch.Add(time.Hour))) },
		"DeleteKey":  func() (any, error) { return other(in.DeleteKey(ctx, a.key.ID)) },
	}
}

func (a assault) rooms() map[string]call {
	ctx, g, me := a.ctx, a.agents, a.me
	other := func(err error) (any, error) { return nil, err }
	return map[string]call{
		"Agents.PlausibleToken": func() (any, error) { return g.PlausibleToken(a.Secret), nil }, // asks no database
		"Agents.Enrol":          func() (any, error) { return nil, nil },                        // by token: see TestTrustRow7RowSecurity
		"Agents.Revoked":        func() (any, error) { return nil, nil },                        // of all tenants, for the gateway's list
		"Agents.Identity":       func() (any, error) { site, _, _, err := g.Identity(ctx, me, a.endpoint); return site, err },
		"Agents.Revoke":         func() (any, error) { return other(g.Revoke(ctx, me, a.endpoint, epoch)) },
		"Agents.CheckIn": func() (any, error) {
			return other(g.CheckIn(ctx, me, a.endpoint, wire.CheckIn{}, epoch.Add(time.Hour)))
		},
		"Agents.LackingSections": func() (any, error) {
			n, err := g.LackingSections(ctx, me, []string{a.hash})
			return want(len(n), 1, err)
		},
		"Agents.SectionHashes": func() (any, error) { all, err := g.SectionHashes(ctx, me, a.endpoint); return want(len(all), 0, err) },
		"Agents.Section":       func() (any, error) { body, err := g.Section(ctx, me, a.hash); return want(len(body), 0, err) },
		"Agents.PutInventory": func() (any, error) {
			return other(g.PutInventory(ctx, me, a.endpoint, []inventory.Section{{Name: inventory.SectionState, Hash: a.hash, Body: a.body}}, epoch, epoch, nil))
		},
		"Agents.OwnTasks":             func() (any, error) { return g.OwnTasks(ctx, me, a.endpoint, []deploy.TaskID{a.task}) },
		"Agents.EventSeq":             func() (any, error) { n, err := g.EventSeq(ctx, me, a.endpoint); return want(n, 0, err) },
		"Agents.SetEventSeq":          func() (any, error) { return other(g.SetEventSeq(ctx, me, a.endpoint, 9)) },
		"Agents.NeedsPayload":         func() (any, error) { _, needs, err := g.NeedsPayload(ctx, me, a.endpoint, "x"); return needs, err },
		"Deployments.OpenDeployments": func() (any, error) { return nil, nil }, // of all tenants, for the loop
		"Deployments.Deployment":      func() (any, error) { return a.loop.Deployment(ctx, me, "foreign-dep") },
		"Deployments.Tasks":           func() (any, error) { return a.loop.Tasks(ctx, me, "foreign-dep") },
		"Deployments.EndpointTasks":   func() (any, error) { return a.loop.EndpointTasks(ctx, me, a.endpoint) },
		"Deployments.SaveProgress": func() (any, error) {
			return other(a.loop.SaveProgress(ctx, deploy.Deployment{ID: "foreign-dep", Tenant: me}, nil))
		},
	}
}

// firstOf is the first error.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
