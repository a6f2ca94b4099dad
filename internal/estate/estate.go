// Package estate names whom and what Fettle serves: tenants, their sites, the
// endpoints (machines) that stand there, and groups of endpoints; and the
// scopes and roles that say who may touch which.
package estate

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// TenantID identifies a tenant: one customer of a managed-service provider, or
// the only organisation of a self-hosted server.
type TenantID string

// SiteID identifies a site within a tenant.
type SiteID string

// EndpointID identifies a machine. It is random, given at enrolment, and never
// derived from a host name.
type EndpointID string

// GroupID identifies a group of endpoints within a tenant.
type GroupID string

// DefaultTenant and DefaultSite exist on every server from its first start.
const (
	DefaultTenant TenantID = "main"
	DefaultSite   SiteID   = "main"
)

// idPattern is what every identifier of this package must match, so that it
// can stand in a URL path, a file name and a certificate URI as it is.
var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ValidID returns an Invalid fault when s can't be an identifier: 1 to 63
// lower-case letters, digits and hyphens, not starting with a hyphen.
func ValidID(kind, s string) error {
	if !idPattern.MatchString(s) {
		return fault.New(fault.Invalid, "%q is not a valid %s id", s, kind).
			WithHint("use 1 to 63 lower-case letters, digits and hyphens")
	}
	return nil
}

// Tenant is one customer.
type Tenant struct {
	ID      TenantID  `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

// Site is a place of a tenant: a data centre, an office, a cloud region.
type Site struct {
	Tenant TenantID `json:"tenant"`
	ID     SiteID   `json:"id"`
	Name   string   `json:"name"`
	// Zone is the IANA time zone of the site, such as "Europe/Berlin".
	Zone string `json:"zone,omitempty"`
}

// EndpointState says where a machine stands in its life with Fettle.
type EndpointState string

// The states of an endpoint.
const (
	Active  EndpointState = "active"
	Revoked EndpointState = "revoked" // tombstone: the id never comes back
)

// Endpoint is one machine as the server knows it. Facts about its software
// live in inventory; this is identity and contact.
type Endpoint struct {
	Tenant       TenantID      `json:"tenant"`
	Site         SiteID        `json:"site"`
	ID           EndpointID    `json:"id"`
	Hostname     string        `json:"hostname"`
	Platform     string        `json:"platform"` // catalog platform, such as "debian-12-amd64"
	OS           string        `json:"os"`       // for people: "Debian GNU/Linux 12 (bookworm)"
	AgentVersion string        `json:"agent_version"`
	Groups       []GroupID     `json:"groups,omitempty"`
	Addresses    []string      `json:"addresses,omitempty"`
	State        EndpointState `json:"state"`
	Enrolled     time.Time     `json:"enrolled"`
	// LastSeen is the last check-in; zero when it never checked in.
	LastSeen time.Time `json:"last_seen,omitzero"`
	// Rebooting and restart facts as of the last report.
	RebootDue   bool     `json:"reboot_due,omitempty"`
	RestartsDue []string `json:"restarts_due,omitempty"`
	// Problem is what kept the agent from its work at its last contact; empty
	// when all was well.
	Problem string `json:"problem,omitempty"`
}

// Group is a named set of endpoints; a ring of a deployment is a group.
type Group struct {
	Tenant  TenantID     `json:"tenant"`
	ID      GroupID      `json:"id"`
	Name    string       `json:"name"`
	Members []EndpointID `json:"members,omitempty"`
}

// Role is what a person or program may do within a scope. Roles are ordered
// by nothing: each grants exactly the permissions in its set.
type Role string

// The roles.
const (
	Admin    Role = "admin"    // everything within the scope, people included
	Operator Role = "operator" // endpoints, deployments, tokens; no approvals
	Approver Role = "approver" // approve and decline
	Auditor  Role = "auditor"  // read everything, audit log included
	Viewer   Role = "viewer"   // read endpoints, patches, reports
)

// Permission is one ability; every API route names the one it needs.
type Permission string

// The permissions.
const (
	Read          Permission = "read"
	ReadAudit     Permission = "read_audit"
	ManageHosts   Permission = "manage_hosts"   // enrol, revoke, move, group
	ApprovePatch  Permission = "approve_patch"  // approve, decline
	RunDeploy     Permission = "run_deploy"     // create, start, halt, cancel deployments; dry runs
	ManagePeople  Permission = "manage_people"  // users, roles, API keys
	ManageServer  Permission = "manage_server"  // tenants, subscription, settings; needs the whole-server scope
	ManageContent Permission = "manage_content" // a tenant's own packages and scripts
)

// Grants returns the permissions of a role; unknown roles have none.
func Grants(r Role) []Permission {
	switch r {
	case Admin:
		return []Permission{Read, ReadAudit, ManageHosts, ApprovePatch, RunDeploy, ManagePeople, ManageServer, ManageContent}
	case Operator:
		return []Permission{Read, ManageHosts, RunDeploy}
	case Approver:
		return []Permission{Read, ApprovePatch}
	case Auditor:
		return []Permission{Read, ReadAudit}
	case Viewer:
		return []Permission{Read}
	}
	return nil
}

// Scope is where something applies: the whole server (Tenant empty), one
// tenant, or one site of a tenant.
type Scope struct {
	Tenant TenantID `json:"tenant,omitempty"`
	Site   SiteID   `json:"site,omitempty"`
}

// Everything is the scope of the whole server.
func Everything() Scope { return Scope{} }

// InTenant is the scope of one tenant.
func InTenant(t TenantID) Scope { return Scope{Tenant: t} }

// Covers reports whether everything in other lies within s.
func (s Scope) Covers(other Scope) bool {
	if s.Tenant == "" {
		return true
	}
	if s.Tenant != other.Tenant {
		return false
	}
	return s.Site == "" || s.Site == other.Site
}

// String returns "*", "tenant" or "tenant/site".
func (s Scope) String() string {
	switch {
	case s.Tenant == "":
		return "*"
	case s.Site == "":
		return string(s.Tenant)
	}
	return string(s.Tenant) + "/" + string(s.Site)
}

// ParseScope reads what String wrote.
func ParseScope(text string) (Scope, error) {
	if text == "*" {
		return Scope{}, nil
	}
	tenant, site, both := strings.Cut(text, "/")
	if err := ValidID("tenant", tenant); err != nil {
		return Scope{}, err
	}
	if both {
		if err := ValidID("site", site); err != nil {
			return Scope{}, err
		}
	}
	return Scope{Tenant: TenantID(tenant), Site: SiteID(site)}, nil
}

// Grant gives a role within a scope.
type Grant struct {
	Role  Role  `json:"role"`
	Scope Scope `json:"scope"`
}

// Actor is whoever acts: a person, an API key or Fettle itself.
type Actor struct {
	// Kind is "user", "key", "local" (the operator on the server's own
	// machine) or "system".
	Kind   string  `json:"kind"`
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Grants []Grant `json:"grants,omitempty"`
	// Owner is the person behind it, who owns the keys that it makes.
	Owner UserID `json:"-"`
}

// Can reports whether the actor holds the permission for all of the scope.
func (a Actor) Can(p Permission, scope Scope) bool {
	for _, g := range a.Grants {
		if g.Scope.Covers(scope) && slices.Contains(Grants(g.Role), p) {
			return true
		}
	}
	return false
}
