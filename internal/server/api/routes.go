package api

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fettlehq/fettle/internal/estate"
)

// route is one row of the table: who may do what, and what it is called in
// the API's description and in the audit log.
type route struct {
	id       string // operation id and action of the audit log: "hosts.scan"
	method   string
	path     string
	access   access
	status   int // of success
	summary  string
	register func(*API, route, huma.Operation)
}

// changes reports whether the route changes something, and so is audited.
func (r route) changes() bool { return r.method != http.MethodGet && r.method != http.MethodHead }

func (r route) tag() string {
	tag, _, _ := strings.Cut(r.id, ".")
	return tag
}

const (
	base  = "/api/v1"
	intoT = base + "/tenants/{t}"
)

const (
	get    = http.MethodGet
	post   = http.MethodPost
	put    = http.MethodPut
	remove = http.MethodDelete
)

// routes is the whole API. What is not here does not exist.
func routes() []route {
	return []route{
		{"status.get", get, base + "/status", within(estate.Read), 200, "Server, catalog and counts", on((*API).status)},
		{"sync.run", post, base + "/sync", server(estate.ManageServer), 200, "Bring the catalog up to date now", on((*API).sync)},

		{"setup.run", post, base + "/setup", public(), 200, "Make the first administrator with the one-time link", on((*API).setup)},
		{"session.create", post, base + "/session", public(), 200, "Sign in", on((*API).signIn)},
		{"session.delete", remove, base + "/session", anyActor(), 204, "Sign out", on((*API).signOut)},
		{"me.get", get, base + "/me", anyActor(), 200, "Who I am and what I may do", on((*API).me)},
		{"users.list", get, base + "/users", within(estate.ManagePeople), 200, "List people", on((*API).users)},
		{"users.create", post, base + "/users", within(estate.ManagePeople), 201, "Add a person", on((*API).createUser)},
		{"users.password", put, base + "/users/{id}/password", within(estate.ManagePeople), 200, "Replace a person's password and end their sessions", on((*API).setPassword)},
		{"users.delete", remove, base + "/users/{id}", within(estate.ManagePeople), 204, "Remove a person", on((*API).deleteUser)},
		{"keys.list", get, base + "/keys", within(estate.ManagePeople), 200, "List API keys", on((*API).keys)},
		{"keys.create", post, base + "/keys", within(estate.ManagePeople), 201, "Make an API key; its secret is shown this once", on((*API).createKey)},
		{"keys.delete", remove, base + "/keys/{id}", within(estate.ManagePeople), 204, "End an API key", on((*API).deleteKey)},
		{"tenants.list", get, base + "/tenants", server(estate.ManageServer), 200, "List tenants", on((*API).tenants)},
		{"tenants.create", post, base + "/tenants", server(estate.ManageServer), 201, "Add a tenant", on((*API).createTenant)},
		{"sites.list", get, intoT + "/sites", tenant(estate.Read), 200, "List sites", on((*API).sites)},
		{"sites.put", post, intoT + "/sites", tenant(estate.ManageHosts), 200, "Add or change a site", on((*API).putSite)},

		{"hosts.list", get, intoT + "/hosts", tenant(estate.Read), 200, "List machines", on((*API).hosts)},
		{"hosts.get", get, intoT + "/hosts/{id}", tenant(estate.Read), 200, "One machine with its inventory", on((*API).host)},
		{"hosts.packages", get, intoT + "/hosts/{id}/packages", tenant(estate.Read), 200, "Packages of a machine", on((*API).hostPackages)},
		{"hosts.missing", get, intoT + "/hosts/{id}/missing", tenant(estate.Read), 200, "What a machine lacks", on((*API).hostMissing)},
		{"hosts.tasks", get, intoT + "/hosts/{id}/tasks", tenant(estate.Read), 200, "What was done on a machine, newest first", on((*API).hostTasks)},
		{"hosts.scan", post, intoT + "/hosts/{id}/scan", tenant(estate.ManageHosts), 202, "Ask a machine for a fresh scan", on((*API).scanHost)},
		{"hosts.revoke", remove, intoT + "/hosts/{id}", tenant(estate.ManageHosts), 204, "Shut a machine out for good", on((*API).revokeHost)},
		{"groups.list", get, intoT + "/groups", tenant(estate.Read), 200, "List groups", on((*API).groups)},
		{"groups.create", post, intoT + "/groups", tenant(estate.ManageHosts), 201, "Add a group", on((*API).createGroup)},
		{"groups.put", put, intoT + "/groups/{id}", tenant(estate.ManageHosts), 200, "Make a group of exactly these machines", on((*API).putGroup)},
		{"groups.delete", remove, intoT + "/groups/{id}", tenant(estate.ManageHosts), 204, "Remove a group; its machines stay", on((*API).deleteGroup)},
		{"tokens.list", get, intoT + "/tokens", tenant(estate.ManageHosts), 200, "List enrolment tokens", on((*API).tokens)},
		{"tokens.create", post, intoT + "/tokens", tenant(estate.ManageHosts), 201, "Make an enrolment token; its secret is shown this once", on((*API).createToken)},
		{"tokens.delete", remove, intoT + "/tokens/{id}", tenant(estate.ManageHosts), 204, "End an enrolment token", on((*API).deleteToken)},

		{"missing.list", get, intoT + "/missing", tenant(estate.Read), 200, "What machines lack, with the reason for each", on((*API).missing)},
		{"patches.list", get, intoT + "/patches", tenant(estate.Read), 200, "List patches", on((*API).patches)},
		{"patches.get", get, intoT + "/patches/{id}", tenant(estate.Read), 200, "One patch with all that is known of it", on((*API).patch)},
		{"patches.hosts", get, intoT + "/patches/{id}/hosts", tenant(estate.Read), 200, "Who lacks a patch", on((*API).patchHosts)},
		{"patches.holders", get, intoT + "/patches/{id}/holders", tenant(estate.Read), 200, "Who has a patch and could take it back", on((*API).holders)},
		{"approvals.list", get, intoT + "/approvals", tenant(estate.Read), 200, "List decisions, newest first", on((*API).approvals)},
		{"approvals.create", post, intoT + "/approvals", tenant(estate.ApprovePatch), 200, "Approve or decline patches", on((*API).decide)},
		{"approvals.withdraw", remove, intoT + "/approvals/{id}", tenant(estate.ApprovePatch), 204, "Withdraw a decision", on((*API).withdraw)},

		{"deployments.list", get, intoT + "/deployments", tenant(estate.Read), 200, "List deployments, newest first", on((*API).deployments)},
		{"deployments.create", post, intoT + "/deployments", tenant(estate.RunDeploy), 201, "Install patches on machines, or plan it", on((*API).deploy)},
		{"deployments.get", get, intoT + "/deployments/{id}", tenant(estate.Read), 200, "One deployment with counts", on((*API).deployment)},
		{"deployments.tasks", get, intoT + "/deployments/{id}/tasks", tenant(estate.Read), 200, "Tasks of a deployment", on((*API).tasks)},
		{"deployments.watch", get, intoT + "/deployments/{id}/watch", tenant(estate.Read), 200, "Follow a deployment (server-sent events)", on((*API).watch)},
		{"deployments.halt", post, intoT + "/deployments/{id}/halt", tenant(estate.RunDeploy), 200, "Start nothing more", on((*API).halt)},
		{"deployments.resume", post, intoT + "/deployments/{id}/resume", tenant(estate.RunDeploy), 200, "Let a halted deployment go on", on((*API).resume)},
		{"deployments.cancel", post, intoT + "/deployments/{id}/cancel", tenant(estate.RunDeploy), 200, "End a deployment", on((*API).cancel)},

		{"reports.get", get, intoT + "/reports/{kind}", tenant(estate.Read), 200, "A report as JSON, CSV or HTML", on((*API).report)},
		{"audit.list", get, intoT + "/audit", tenant(estate.ReadAudit), 200, "Who did what, newest first", on((*API).auditLog)},
		{"audit.export", get, intoT + "/audit/export", tenant(estate.ReadAudit), 200, "The audit log as NDJSON that verifies offline", on((*API).auditExport)},
		{"audit.server", get, base + "/audit", server(estate.ReadAudit), 200, "Who did what to the server: people, keys, tenants, catalog", on((*API).serverAuditLog)},
		{"audit.serverexport", get, base + "/audit/export", server(estate.ReadAudit), 200, "The server's own audit log as NDJSON", on((*API).serverAuditExport)},
		{"audit.verify", get, base + "/audit/verify", server(estate.ReadAudit), 200, "Check the chains of hashes", on((*API).auditVerify)},
	}
}

// listed is a page of a list.
type listed[T any] struct{ Body Page[T] }

// Page is one page of a list.
type Page[T any] struct {
	Items []T `json:"items" nullable:"false"`
	// Next is the cursor of the next page, empty at the end.
	Next string `json:"next" doc:"Give it as 'after' for the next page; empty at the end"`
}

// pageOf returns a page whose items are never null.
func pageOf[T any](items []T, next string) *listed[T] {
	if items == nil {
		items = []T{}
	}
	return &listed[T]{Body: Page[T]{Items: items, Next: next}}
}

// answered is one thing.
type answered[T any] struct{ Body T }

// none is an answer without a body.
type none struct{}

// TenantPath is the tenant in a path. It is exported for huma, which sees no
// other embedded types.
type TenantPath struct {
	Tenant string `path:"t" doc:"Tenant" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
}

func (in TenantPath) tenant() estate.TenantID { return estate.TenantID(in.Tenant) }

// ByID is one thing of a tenant.
type ByID struct {
	TenantPath
	ID string `path:"id" maxLength:"512"`
}

// Paging is where a page begins and how long it is.
type Paging struct {
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Rows in a page"`
	After string `query:"after" maxLength:"4096" doc:"The cursor that the page before gave"`
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
