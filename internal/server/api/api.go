// Package api is what people and programs talk to: REST under /api/v1, with
// OpenAPI made from the code (docs/openapi.yaml is the checked-in copy).
//
// Every route stands in one table (routes.go) with the permission that it
// needs and the scope in which it is needed. Nothing is reachable that is not
// in the table. A tenant's rows are reached through Config.Data, which takes
// the scope, so that a handler can't ask for another tenant's by mistake.
// Routes that change something are audited by the same code that lets them
// through, and so are refusals.
//
// Errors are RFC 9457 problems with two more members: code, the fault's code,
// and hint. Lists are pages of at most 1,000 rows: {"items":[...],"next":"..."}.
package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
)

// Hosts reads machines of one scope.
type Hosts interface {
	Endpoint(ctx context.Context, id estate.EndpointID) (estate.Endpoint, error)
	Endpoints(ctx context.Context, f estate.EndpointFilter) ([]estate.Endpoint, string, error)
	EndpointCount(ctx context.Context) (int, error)
	ActiveAmong(ctx context.Context, ids []estate.EndpointID) (map[estate.EndpointID]bool, error)
	Inventory(ctx context.Context, id estate.EndpointID) ([]inventory.Section, time.Time, error)
}

// Scans knows when machines of one scope were scanned.
type Scans interface {
	Scanned(ctx context.Context, ids []estate.EndpointID) (map[estate.EndpointID]time.Time, error)
}

// Groups keeps groups of machines of one scope.
type Groups interface {
	Groups(ctx context.Context) ([]estate.Group, error)
	PutGroup(ctx context.Context, g estate.Group) error
	DeleteGroup(ctx context.Context, t estate.TenantID, id estate.GroupID) error
}

// Tokens keeps enrolment tokens of one scope.
type Tokens interface {
	CreateToken(ctx context.Context, t estate.Token) (estate.Token, string, error)
	Tokens(ctx context.Context) ([]estate.Token, error)
	RevokeToken(ctx context.Context, id string, at time.Time) error
}

// Approvals keeps decisions of one scope.
type Approvals interface {
	PutApproval(ctx context.Context, a approval.Approval) (approval.Approval, error)
	Approval(ctx context.Context, id string) (approval.Approval, error)
	ActiveApprovals(ctx context.Context, now time.Time) ([]approval.Approval, error)
	Approvals(ctx context.Context, of patch.ID, after string, limit int) ([]approval.Approval, string, error)
}

// Work keeps deployments and tasks of one scope.
type Work interface {
	CreateDeployment(ctx context.Context, d deploy.Deployment, tasks []deploy.Task) error
	Deployment(ctx context.Context, id deploy.ID) (deploy.Deployment, error)
	Deployments(ctx context.Context, after string, limit int) ([]deploy.Deployment, string, error)
	TaskCounts(ctx context.Context, ids []deploy.ID) (map[deploy.ID]map[deploy.State]int, error)
	Tasks(ctx context.Context, f deploy.TaskFilter) ([]deploy.Task, string, error)
}

// Tenants keeps tenants and sites of one scope.
type Tenants interface {
	Tenant(ctx context.Context, id estate.TenantID) (estate.Tenant, error)
	Tenants(ctx context.Context) ([]estate.Tenant, error)
	CreateTenant(ctx context.Context, t estate.Tenant) error
	Sites(ctx context.Context) ([]estate.Site, error)
	PutSite(ctx context.Context, site estate.Site) error
}

// Data is everything stored within one scope. store.Scoped is one.
type Data interface {
	Hosts
	Scans
	Groups
	Tokens
	Approvals
	Work
	Tenants
}

// Totals are a tenant's counters, read from the index.
type Totals struct {
	// Security is how many machines lack a security update, Exploited how
	// many of the missing patches' vulnerabilities are exploited somewhere.
	Security, Exploited int
	// Missing is the number of findings, Patches that of distinct patches.
	Missing, Patches int
	// Bulletins are those of Missing that nothing can be installed from;
	// UserOnly are findings about products of single users, not in Missing.
	Bulletins, UserOnly int
}

// Index answers what machines lack, from memory.
type Index interface {
	// Findings gives NotFound for a machine that was never scanned.
	Findings(t estate.TenantID, e estate.EndpointID) ([]catalog.Finding, error)
	// Covered reports whether the catalog knows the machine's platform.
	Covered(t estate.TenantID, e estate.EndpointID) bool
	// WhoLacks without states means missing or held.
	WhoLacks(t estate.TenantID, id patch.ID, in ...catalog.FindingState) []estate.EndpointID
	// NeededBy counts for each patch the machines that lack it (missing or
	// held); patches that nobody lacks are absent.
	NeededBy(t estate.TenantID) map[patch.ID]int
	Totals(t estate.TenantID) Totals
}

// CatalogStatus says where the catalog comes from and how it stands.
type CatalogStatus struct {
	Version int64     `json:"version"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Source is the address or folder of the repository.
	Source  string   `json:"source"`
	Signers []string `json:"signers" nullable:"false"`
	Notes   []string `json:"notes,omitempty"`
	// Error says why the last synchronisation failed; the last good catalog
	// stays in use.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty" doc:"What to do about the error"`
}

// PayloadStatus says what the server holds of vendors' files and how its disk
// stands; sizes are in bytes.
type PayloadStatus struct {
	// Counted is when the payloads were last counted.
	Counted  time.Time `json:"counted,omitzero" doc:"When the payloads were last counted"`
	Payloads int       `json:"payloads"`
	Bytes    int64     `json:"bytes"`
	Idle     int       `json:"idle" doc:"Payloads that nobody needs now; they are removed once they were idle for the whole time"`
	// IdleBytes is what removing the idle ones will free.
	IdleBytes int64 `json:"idle_bytes"`
	KeepIdle  int64 `json:"keep_idle_seconds" doc:"How long idle payloads are kept; below 0 for ever"`
	Free      int64 `json:"free_bytes" doc:"What may still be written on the disk"`
	Reserve   int64 `json:"reserve_bytes" doc:"What payloads leave free of it"`
	Coming    int64 `json:"coming_bytes" doc:"What payloads that are being received still need"`
	// Error says that the disk has no room for more payloads.
	Error string `json:"error,omitempty"`
	// Damaged are those that the disk damaged within the last week.
	Damaged []DamagedPayload `json:"damaged,omitempty" doc:"Payloads that the server's disk damaged within the last week; they were set aside"`
}

// DamagedPayload is one whose bytes on the server's disk did not have its hash
// any more.
type DamagedPayload struct {
	SHA256 string    `json:"sha256"`
	At     time.Time `json:"at" doc:"When the server found it and set it aside"`
	Mended bool      `json:"mended" doc:"A good copy is here again"`
}

// Catalog is the verified catalog.
type Catalog interface {
	Shards() []*catalog.Shard
	Status() CatalogStatus
	// Sync brings the catalog up to date now and waits for it.
	Sync(ctx context.Context) error
}

// Deployments moves deployments; orchestrate.Loop is one.
type Deployments interface {
	Update(ctx context.Context, tenant estate.TenantID, id deploy.ID, change func(deploy.Deployment) (deploy.Deployment, error)) (deploy.Deployment, error)
	Kick()
}

// Agents reaches machines.
type Agents interface {
	// Scan asks a machine for a fresh scan as soon as it can be reached.
	Scan(tenant estate.TenantID, endpoint estate.EndpointID)
	// Revoke shuts a machine out for good.
	Revoke(ctx context.Context, tenant estate.TenantID, endpoint estate.EndpointID) error
	// Online reports whether the machine is connected now; seen is its last
	// check-in.
	Online(tenant estate.TenantID, endpoint estate.EndpointID, seen time.Time) bool
	// OnlineCount counts the machines of the tenant that are connected now.
	OnlineCount(tenant estate.TenantID) int
}

// Door proves who asks.
type Door interface {
	// Sessions wraps the whole API and carries the console's session.
	Sessions(next http.Handler) http.Handler
	// Actor returns who sent the request: Unauthenticated when nobody is
	// proven, Denied when the request came from another site's page.
	Actor(r *http.Request) (estate.Actor, error)
	// Still is Actor for a request that is being served for long: a session
	// that was ended meanwhile proves nobody any more.
	Still(r *http.Request) (estate.Actor, error)
	SignIn(ctx context.Context, address, name, password string) (estate.Actor, error)
	SignOut(ctx context.Context) error
	// Setup makes the first administrator and signs in.
	Setup(ctx context.Context, address, token, name, password string) (estate.Actor, error)
}

// Users keeps people.
type Users interface {
	Users(ctx context.Context, scope estate.Scope) ([]estate.User, error)
	CreateUser(ctx context.Context, scope estate.Scope, u estate.User, password string) (estate.User, error)
	// SetPassword also ends the person's sessions.
	SetPassword(ctx context.Context, scope estate.Scope, id estate.UserID, password string) (estate.User, error)
	DeleteUser(ctx context.Context, scope estate.Scope, id estate.UserID) error
}

// Keys keeps API keys.
type Keys interface {
	Keys(ctx context.Context, scope estate.Scope) ([]estate.Key, error)
	// CreateKey returns the key's secret, which is shown this once.
	CreateKey(ctx context.Context, scope estate.Scope, k estate.Key) (made estate.Key, secret string, err error)
	DeleteKey(ctx context.Context, scope estate.Scope, id string) error
}

// Auth is all about people; auth.Service is one.
type Auth interface {
	Door
	Users
	Keys
}

// Audit keeps who did what; audit.Log is one. Tenant "" is the server's chain.
type Audit interface {
	Append(ctx context.Context, tenant estate.TenantID, actor estate.Actor, action, object, detail string) error
	// Recent calls each with entries as JSON, newest first, those before the
	// number (0: from the end). Empty actor and beginning of the action do not
	// narrow.
	Recent(ctx context.Context, tenant estate.TenantID, before int64, actor, action string, limit int, each func(doc []byte) error) error
	// Verify checks every chain; problem names the first entry that does not
	// fit, "" when all do.
	Verify(ctx context.Context) (entries int64, head, problem string, err error)
	// Export writes one chain as NDJSON.
	Export(ctx context.Context, tenant estate.TenantID, w io.Writer) error
}

// Reports writes reports; report.Writer is one. kind and format are checked
// before; from and to are zero when open, of is "" for all deployments.
type Reports interface {
	Write(ctx context.Context, w io.Writer, tenant estate.TenantID, kind, format string, of deploy.ID, from, to time.Time) error
}

// Enrolment is how machines find this server and know it for the right one.
type Enrolment struct {
	Server string `json:"server" doc:"The address for agents"`
	CA     string `json:"ca" doc:"Fingerprint of the CA that proves the server"`
	Root   string `json:"root" doc:"Fingerprint of the catalog's root keys"`
	// Command enrols a machine that has the agent.
	Command string `json:"command"`
	// CommandWindows installs the agent's package on Windows and enrols.
	CommandWindows string `json:"command_windows"`
}

// Config is what the wing's root hands in. All fields are needed but those
// that say otherwise.
type Config struct {
	Data        func(estate.Scope) Data
	Index       Index
	Catalog     Catalog
	Deployments Deployments
	Agents      Agents
	Auth        Auth
	Audit       Audit
	Reports     Reports
	// Enrolment says how a machine enrols with the token's secret.
	Enrolment func(secret string) Enrolment
	// Payloads tells of the vendors' files that are here; nil: nothing.
	Payloads func() PayloadStatus
	// Database names the database server; nil: nothing.
	Database func(ctx context.Context) (string, error)
	// Console serves everything outside the API; nil answers NotFound.
	Console http.Handler
	// Ready reports whether the server can do its work; nil: always.
	Ready func(ctx context.Context) error
	Log   *slog.Logger
	Now   func() time.Time
	// Poll is how often a watched deployment is looked at (0: 500 ms),
	// Heartbeat how often a silent stream says that it lives (0: 15 s).
	Poll, Heartbeat time.Duration
}
