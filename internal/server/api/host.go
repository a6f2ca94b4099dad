package api

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Host is a machine as lists show it.
type Host struct {
	estate.Endpoint
	Health          catalog.Health `json:"health" enum:"healthy,vulnerable,highly_vulnerable,unknown"`
	Missing         int            `json:"missing" doc:"Updates that it lacks, held ones and bulletins included"`
	Bulletins       int            `json:"bulletins" doc:"How many of them nothing can be installed from"`
	UserOnly        int            `json:"user_only" doc:"Products of single users that are out of date; they don't count as missing"`
	MissingSecurity int            `json:"missing_security"`
	Exploited       int            `json:"exploited" doc:"How many of them fix what CISA lists as exploited"`
	Broken          int            `json:"broken" doc:"Packages that are installed only half"`
	Online          bool           `json:"online"`
}

// HostDetail is a machine with its inventory.
type HostDetail struct {
	Host
	Inventory *HostInventory `json:"inventory,omitempty"`
}

// HostInventory is a machine's inventory but for its packages.
type HostInventory struct {
	Scanned  time.Time          `json:"scanned"`
	OS       inventory.OS       `json:"os"`
	State    inventory.State    `json:"state"`
	Hardware inventory.Hardware `json:"hardware"`
	Network  inventory.Network  `json:"network"`
	Policy   inventory.Policy   `json:"policy"`
	Packages int                `json:"packages"`
}

// HostRef names a machine.
type HostRef struct {
	ID       estate.EndpointID `json:"id"`
	Hostname string            `json:"hostname"`
}

// hostOf adds what the index knows of a machine.
func (a *API) hostOf(e estate.Endpoint) Host {
	h := Host{Endpoint: e, Health: catalog.UnknownHealth}
	if e.State != estate.Active {
		return h
	}
	h.Online = a.Agents.Online(e.Tenant, e.ID, e.LastSeen)
	findings, err := a.Index.Findings(e.Tenant, e.ID)
	if err != nil {
		return h
	}
	t, health := catalog.Count(findings)
	h.Health, h.Missing, h.MissingSecurity, h.Exploited, h.Broken = health.Where(a.Index.Covered(e.Tenant, e.ID)), t.Missing, t.Security, t.Exploited, len(t.Broken)
	h.Bulletins, h.UserOnly = t.Bulletins, t.UserOnly
	h.Problem = cmp.Or(h.Problem, t.Problem())
	return h
}

type hostsIn struct {
	TenantPath
	Paging
	Q     string `query:"q" maxLength:"253" doc:"Beginning of the host name"`
	Group string `query:"group" maxLength:"63"`
	Site  string `query:"site" maxLength:"63"`
	State string `query:"state" enum:"active,revoked"`
	With  string `query:"with" enum:"bulletins,user_only,broken,reboot_due" doc:"Only machines that have some of these"`
}

// fits reports whether the machine is one of those that are asked for.
func (in *hostsIn) fits(h Host) bool {
	switch in.With {
	case "bulletins":
		return h.Bulletins > 0
	case "user_only":
		return h.UserOnly > 0
	case "broken":
		return h.Broken > 0
	case "reboot_due":
		return h.RebootDue
	}
	return true
}

func (a *API) hosts(ctx context.Context, in *hostsIn) (*listed[Host], error) {
	if _, err := a.group(ctx, estate.GroupID(in.Group)); err != nil {
		return nil, err
	}
	if in.Site != "" {
		if err := a.exists(ctx, of(ctx).scope, estate.Scope{Tenant: in.tenant(), Site: estate.SiteID(in.Site)}); err != nil {
			return nil, err
		}
	}
	return sift(ctx, in.After, func(after string) ([]estate.Endpoint, string, error) {
		return a.Data(of(ctx).scope).Endpoints(ctx, estate.EndpointFilter{
			Hostname: in.Q, Group: estate.GroupID(in.Group), Site: estate.SiteID(in.Site), State: estate.EndpointState(in.State),
			After: after, Limit: in.Limit,
		})
	}, a.hostOf, in.fits)
}

// endpoint reads one machine of the request's scope.
func (a *API) endpoint(ctx context.Context, id string) (estate.Endpoint, error) {
	e, err := a.Data(of(ctx).scope).Endpoint(ctx, estate.EndpointID(id))
	if fault.Is(err, fault.NotFound) {
		return e, fault.Wrap(err, fault.NotFound, "no machine has the id %q", id).WithHint("'fettle hosts' lists names and ids")
	}
	return e, err
}

func (a *API) snapshot(ctx context.Context, id estate.EndpointID) (inventory.Snapshot, time.Time, error) {
	sections, scanned, err := a.Data(of(ctx).scope).Inventory(ctx, id)
	if err != nil {
		return inventory.Snapshot{}, scanned, err
	}
	snap, err := inventory.Join(sections)
	return snap, scanned, err
}

func (a *API) host(ctx context.Context, in *ByID) (*answered[HostDetail], error) {
	e, err := a.endpoint(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &answered[HostDetail]{Body: HostDetail{Host: a.hostOf(e)}}
	snap, scanned, err := a.snapshot(ctx, e.ID)
	switch {
	case fault.Is(err, fault.NotFound):
		return out, nil // not scanned yet
	case err != nil:
		return nil, err
	}
	out.Body.Inventory = &HostInventory{
		Scanned: scanned, OS: snap.OS, State: snap.State, Hardware: snap.Hardware, Network: snap.Network,
		Policy: snap.Policy, Packages: len(snap.Packages),
	}
	return out, nil
}

type packagesIn struct {
	ByID
	Paging
	Q    string `query:"q" maxLength:"253" doc:"Part of a name, a title or a publisher"`
	Kind string `query:"kind" maxLength:"63" doc:"One kind alone, such as dpkg, arp or kb"`
}

func (in *packagesIn) fits(p inventory.Package) bool {
	if in.Kind != "" && p.Kind != in.Kind {
		return false
	}
	words := strings.ToLower(strings.Join([]string{p.Name, p.Title, p.Publisher}, " "))
	return strings.Contains(words, strings.ToLower(in.Q))
}

func (a *API) hostPackages(ctx context.Context, in *packagesIn) (*listed[inventory.Package], error) {
	e, err := a.endpoint(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	snap, _, err := a.snapshot(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	return cut(snap.Packages, in.fits, in.Paging, func(p inventory.Package) string {
		return p.Kind + "\x00" + p.Name + "\x00" + p.Arch + "\x00" + p.Version
	})
}

// Finding is one missing package of one machine with its approval.
type Finding struct {
	Endpoint estate.EndpointID `json:"endpoint"`
	Hostname string            `json:"hostname"`
	catalog.Finding
	Standing Standing       `json:"standing" enum:"installable,held,broken,bulletin,user_only,pinned,unknown" doc:"What can be done about it"`
	Approval approval.State `json:"approval" enum:"awaiting_approval,approved,declined"`
}

func (a *API) hostMissing(ctx context.Context, in *struct {
	ByID
	Paging
},
) (*listed[Finding], error) {
	e, err := a.endpoint(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	book, err := a.decisions(ctx)
	if err != nil {
		return nil, err
	}
	findings, err := a.Index.Findings(e.Tenant, e.ID)
	if err != nil {
		return nil, err
	}
	page, err := cut(sorted(findings), nil, in.Paging, findingKey)
	if err != nil {
		return nil, err
	}
	out := make([]Finding, 0, len(page.Body.Items))
	for _, f := range page.Body.Items {
		out = append(out, book.finding(e, f))
	}
	if err := a.date(ctx, out); err != nil {
		return nil, err
	}
	return pageOf(out, page.Body.Next), nil
}

func (a *API) scanHost(ctx context.Context, in *ByID) (*none, error) {
	e, err := a.endpoint(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if e.State != estate.Active {
		return nil, fault.New(fault.Conflict, "%s is revoked and can't be scanned", e.Hostname)
	}
	note(ctx, string(e.ID), e.Hostname)
	a.Agents.Scan(e.Tenant, e.ID)
	return nil, nil //nolint:nilnil // an answer without a body
}

func (a *API) revokeHost(ctx context.Context, in *ByID) (*none, error) {
	e, err := a.endpoint(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	note(ctx, string(e.ID), e.Hostname)
	return nil, a.Agents.Revoke(ctx, e.Tenant, e.ID)
}
