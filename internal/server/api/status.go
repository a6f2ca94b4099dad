package api

import (
	"context"
	"time"
)

// Status is the server at a glance.
type Status struct {
	Version string         `json:"version"`
	Uptime  int64          `json:"uptime_seconds"`
	Catalog CatalogNow     `json:"catalog"`
	Counts  map[string]int `json:"counts" doc:"endpoints, online, missing_security, missing, patches, exploited; of missing, bulletins; besides it, user_only"`
	// Database names the database server, to who may see the whole server.
	Database string `json:"database,omitempty"`
	// Payloads is told to who may see the whole server.
	Payloads *PayloadStatus `json:"payloads,omitempty"`
}

// CatalogNow is the catalog with its age and contents.
type CatalogNow struct {
	CatalogStatus
	AgeSeconds int64      `json:"age_seconds"`
	Platforms  []Platform `json:"platforms" nullable:"false"`
}

// Platform is what the catalog has for one platform.
type Platform struct {
	Platform   string `json:"platform"`
	Patches    int    `json:"patches"`
	Advisories int    `json:"advisories"`
	CVEs       int    `json:"cves"`
}

func (a *API) status(ctx context.Context, _ *struct{}) (*answered[Status], error) {
	now := a.Now()
	st := a.Catalog.Status()
	out := Status{
		Version: version(), Uptime: int64(now.Sub(a.started) / time.Second),
		Catalog: CatalogNow{CatalogStatus: st, Platforms: []Platform{}},
	}
	if out.Catalog.Signers == nil {
		out.Catalog.Signers = []string{}
	}
	if !st.Created.IsZero() {
		out.Catalog.AgeSeconds = int64(now.Sub(st.Created) / time.Second)
	}
	for _, s := range a.Catalog.Shards() {
		h, c := s.Header(), s.Counts()
		out.Catalog.Platforms = append(out.Catalog.Platforms, Platform{h.Platform, c.Patches, c.Advisories, c.Vulnerabilities})
	}
	var err error
	if q := of(ctx); q.scope.Tenant == "" {
		if a.Payloads != nil {
			held := a.Payloads()
			out.Payloads = &held
		}
		if a.Database != nil {
			if out.Database, err = a.Database(ctx); err != nil {
				return nil, err
			}
		}
	}
	out.Counts, err = a.counts(ctx)
	return &answered[Status]{Body: out}, err
}

// counts adds up the tenants that the caller may see.
func (a *API) counts(ctx context.Context) (map[string]int, error) {
	out := map[string]int{"endpoints": 0, "online": 0, "missing_security": 0, "missing": 0, "patches": 0, "exploited": 0, "bulletins": 0, "user_only": 0}
	data := a.Data(of(ctx).scope)
	tenants, err := data.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tenants {
		n := a.Index.Totals(t.ID)
		out["missing_security"] += n.Security
		out["missing"] += n.Missing
		out["patches"] += n.Patches
		out["bulletins"] += n.Bulletins
		out["user_only"] += n.UserOnly
		out["exploited"] += n.Exploited
		out["online"] += a.Agents.OnlineCount(t.ID)
	}
	out["endpoints"], err = data.EndpointCount(ctx)
	return out, err
}

func (a *API) sync(ctx context.Context, _ *struct{}) (*answered[Status], error) {
	note(ctx, "catalog", "")
	if err := a.Catalog.Sync(ctx); err != nil {
		return nil, err // it says which catalog stays in use
	}
	out, err := a.status(ctx, nil)
	if err == nil {
		of(ctx).detail = out.Body.Catalog.Source
	}
	a.Deployments.Kick()
	return out, err
}
