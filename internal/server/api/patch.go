package api

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

// PatchRow is a patch as lists show it.
type PatchRow struct {
	ID         patch.ID             `json:"id"`
	Product    string               `json:"product"`
	Version    string               `json:"version"`
	Platform   string               `json:"platform"`
	Class      patch.Classification `json:"class"`
	Severity   patch.Severity       `json:"severity"`
	Released   time.Time            `json:"released,omitzero"`
	Advisories []string             `json:"advisories" nullable:"false"`
	CVEs       int                  `json:"cves"`
	Exploited  bool                 `json:"exploited"`
	NeededBy   int                  `json:"needed_by" doc:"How many machines lack it"`
	Bulletin   bool                 `json:"bulletin" doc:"Nothing can be installed from it"`
	Approval   approval.State       `json:"approval" enum:"awaiting_approval,approved,declined" doc:"For the whole tenant"`

	requires []patch.ID

	search string // lower case: product, version, CVEs
}

// Security reports whether the patch is a security update.
func (r PatchRow) Security() bool { return r.Class == patch.Security }

// rowCache keeps what lists show of the catalog's patches, so that no list
// decodes the whole catalog again. It follows the shards.
type rowCache struct {
	mu    sync.Mutex
	shard map[*catalog.Shard]*shardRows
}

type shardRows struct {
	rows []PatchRow // by id
	err  error
}

// of returns the rows of a shard, read once.
func (c *rowCache) of(all []*catalog.Shard, s *catalog.Shard) *shardRows {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.shard[s]; r != nil {
		return r
	}
	next := map[*catalog.Shard]*shardRows{}
	for old, r := range c.shard {
		if slices.Contains(all, old) {
			next[old] = r
		}
	}
	r := readRows(s)
	if r.err == nil {
		next[s] = r
	}
	c.shard = next
	return r
}

func readRows(s *catalog.Shard) *shardRows {
	out := &shardRows{}
	for p, err := range s.Patches() {
		if err != nil {
			out.err = fault.Wrap(err, fault.CodeOf(err), "api: the catalog of %s can't be read", s.Header().Platform)
			return out
		}
		row := PatchRow{
			ID: p.ID, Product: p.Product, Version: p.Version, Platform: p.Platform, Class: p.Classification,
			Severity: p.Severity, Released: p.Released, Advisories: p.Advisories, CVEs: len(p.CVEs), Bulletin: p.Bulletin(), requires: p.Requires,
		}
		if row.Advisories == nil {
			row.Advisories = []string{}
		}
		words := []string{string(p.ID), p.Title}
		words = append(words, p.Advisories...)
		for _, c := range p.CVEs {
			words = append(words, c.ID)
			if v, ok, err := s.Vulnerability(c.ID); err == nil && ok && v.KEV != nil {
				row.Exploited = true
			}
		}
		row.search = strings.ToLower(strings.Join(words, " "))
		out.rows = append(out.rows, row)
	}
	slices.SortFunc(out.rows, func(a, b PatchRow) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// row finds a patch by id.
func (c *rowCache) row(all []*catalog.Shard, id patch.ID) (PatchRow, bool) {
	for _, s := range all {
		rows := c.of(all, s).rows
		if at, found := slices.BinarySearchFunc(rows, id, func(r PatchRow, id patch.ID) int { return cmp.Compare(r.ID, id) }); found {
			return rows[at], true
		}
	}
	return PatchRow{}, false
}

// all returns the rows of every shard by id.
func (c *rowCache) all(shards []*catalog.Shard) ([]PatchRow, error) {
	var out []PatchRow
	for _, s := range shards {
		r := c.of(shards, s)
		if r.err != nil {
			return nil, r.err
		}
		out = append(out, r.rows...)
	}
	slices.SortStableFunc(out, func(a, b PatchRow) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(out, func(a, b PatchRow) bool { return a.ID == b.ID }), nil
}

// find returns a patch with the digest of its signed record and its shard.
func (a *API) find(id patch.ID) (found, *catalog.Shard, error) {
	for _, s := range a.Catalog.Shards() {
		p, digest, err := s.Patch(id)
		if err == nil {
			return found{p, digest}, s, nil
		}
		if !fault.Is(err, fault.NotFound) {
			return found{}, nil, err
		}
	}
	f := fault.New(fault.NotFound, "no patch of the catalog has the id %q", id)
	if !strings.Contains(string(id), ":") { // a name, as people call it
		return found{}, nil, f.WithHint("'fettle patches --all --search %s' looks for ids", id)
	}
	return found{}, nil, f.WithHint("'fettle patches --all' lists them")
}

// found is a patch with its digest.
type found struct {
	patch  patch.Patch
	digest string
}

type patchesIn struct {
	TenantPath
	Paging
	Q        string         `query:"q" maxLength:"253" doc:"Part of a product's name, a version, an advisory or a CVE"`
	Severity patch.Severity `query:"severity" enum:"critical,important,moderate,low,unknown"`
	Security bool           `query:"security" doc:"Security updates alone"`
	Needed   bool           `query:"needed" doc:"Only what some machine lacks"`
	Bulletin bool           `query:"bulletin" doc:"Only those that nothing can be installed from"`
	Approval approval.State `query:"approval" enum:"awaiting_approval,approved,declined"`
}

func (a *API) patches(ctx context.Context, in *patchesIn) (*listed[PatchRow], error) {
	book, err := a.decisions(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := a.rows.all(a.Catalog.Shards())
	if err != nil {
		return nil, err
	}
	needed := a.Index.NeededBy(of(ctx).scope.Tenant)
	text := strings.ToLower(in.Q)
	page, err := cut(rows, func(r PatchRow) bool {
		return (!in.Needed || needed[r.ID] > 0) && (!in.Security || r.Security()) && (!in.Bulletin || r.Bulletin) &&
			(in.Severity == "" || r.Severity == in.Severity) && (text == "" || strings.Contains(r.search, text)) &&
			(in.Approval == "" || book.state(r.ID, nil) == in.Approval)
	}, in.Paging, func(r PatchRow) string { return string(r.ID) })
	if err != nil {
		return nil, err
	}
	for i := range page.Body.Items {
		r := &page.Body.Items[i]
		r.NeededBy, r.Approval = needed[r.ID], book.state(r.ID, nil)
	}
	return page, nil
}

// PatchDetail is one patch with all that is known of it.
type PatchDetail struct {
	Patch patch.Patch `json:"patch"`
	// Digest is the SHA-256 of its signed record.
	Digest          string                `json:"digest"`
	Vulnerabilities []patch.Vulnerability `json:"vulnerabilities" nullable:"false"`
	Advisories      []patch.Advisory      `json:"advisories" nullable:"false"`
	NeededBy        []HostRef             `json:"needed_by" nullable:"false" doc:"At most 1,000; patches/{id}/hosts lists all"`
	Approval        approval.State        `json:"approval" enum:"awaiting_approval,approved,declined"`
	Approvals       []approval.Approval   `json:"approvals" nullable:"false"`
	Rollback        WayBack               `json:"rollback"`
}

func (a *API) patch(ctx context.Context, in *ByID) (*answered[PatchDetail], error) {
	f, shard, err := a.find(patch.ID(in.ID))
	if err != nil {
		return nil, err
	}
	out := &answered[PatchDetail]{Body: PatchDetail{
		Patch: f.patch, Digest: f.digest, Vulnerabilities: []patch.Vulnerability{}, Advisories: []patch.Advisory{}, Approvals: []approval.Approval{},
	}}
	for _, c := range f.patch.CVEs {
		v, ok, err := shard.Vulnerability(c.ID)
		if err != nil {
			return nil, err
		}
		if ok {
			out.Body.Vulnerabilities = append(out.Body.Vulnerabilities, v)
		}
	}
	for _, id := range f.patch.Advisories {
		if adv, err := shard.Advisory(id); err == nil {
			out.Body.Advisories = append(out.Body.Advisories, adv)
		}
	}
	out.Body.Rollback = a.wayBack(f.patch)
	book, err := a.decisions(ctx)
	if err != nil {
		return nil, err
	}
	out.Body.Approval = book.state(f.patch.ID, nil)
	out.Body.Approvals = append(out.Body.Approvals, book.by[f.patch.ID]...)
	ids := a.Index.WhoLacks(of(ctx).scope.Tenant, f.patch.ID)
	out.Body.NeededBy, err = a.refs(ctx, ids[:min(len(ids), 1000)])
	return out, err
}

// refs adds host names to ids; machines that are gone are left out.
func (a *API) refs(ctx context.Context, ids []estate.EndpointID) ([]HostRef, error) {
	out := make([]HostRef, 0, len(ids))
	data := a.Data(of(ctx).scope)
	for _, id := range ids {
		e, err := data.Endpoint(ctx, id)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, HostRef{ID: e.ID, Hostname: e.Hostname})
	}
	return out, nil
}

func (a *API) patchHosts(ctx context.Context, in *struct {
	ByID
	Paging
},
) (*listed[HostRef], error) {
	if _, _, err := a.find(patch.ID(in.ID)); err != nil {
		return nil, err
	}
	ids := a.Index.WhoLacks(of(ctx).scope.Tenant, patch.ID(in.ID))
	page, err := cut(ids, nil, in.Paging, func(id estate.EndpointID) string { return string(id) })
	if err != nil {
		return nil, err
	}
	refs, err := a.refs(ctx, page.Body.Items)
	return pageOf(refs, page.Body.Next), err
}
