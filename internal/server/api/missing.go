package api

import (
	"context"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/patch"
)

type missingIn struct {
	TenantPath
	Paging
	Host      string         `query:"host" maxLength:"63" doc:"One machine alone, by id"`
	Severity  patch.Severity `query:"severity" enum:"critical,important,moderate,low,unknown"`
	Security  bool           `query:"security"`
	Exploited bool           `query:"exploited"`
	Q         string         `query:"q" maxLength:"253" doc:"Part of a package's name, a CVE or an advisory"`
	Patch     string         `query:"patch" maxLength:"512" doc:"One patch alone, by id"`
	Standing  Standing       `query:"standing" enum:"installable,held,broken,bulletin,user_only,pinned,unknown" doc:"What can be done about it"`
}

func (in *missingIn) fits(f catalog.Finding) bool {
	if in.Severity != "" && f.Severity != in.Severity || in.Security && !f.Security || in.Exploited && !f.Exploited {
		return false
	}
	if in.Patch != "" && string(f.Patch) != in.Patch || in.Standing != "" && standingOf(f) != in.Standing {
		return false
	}
	if in.Q == "" {
		return true
	}
	words := strings.Join([]string{f.Package, f.Product, strings.Join(f.CVEs, " "), strings.Join(f.Advisories, " ")}, " ")
	return strings.Contains(strings.ToLower(words), strings.ToLower(in.Q))
}

// missing lists findings machine by machine. Its cursor is the store's cursor
// of the page of machines, the machine and the finding where the page ended.
func (a *API) missing(ctx context.Context, in *missingIn) (*listed[Finding], error) {
	keys, err := openCursor(in.After, 3)
	if err != nil {
		return nil, err
	}
	book, err := a.decisions(ctx)
	if err != nil {
		return nil, err
	}
	w := missingWalk{a: a, in: in, book: book, endpoint: estate.EndpointID(keys[1]), finding: keys[2]}
	if in.Host != "" {
		e, err := a.endpoint(ctx, in.Host)
		if err != nil {
			return nil, err
		}
		next := w.machine(e, "")
		return w.page(ctx, next)
	}
	if in.Patch != "" {
		return w.ofPatch(ctx)
	}
	for after := keys[0]; ; {
		list, next, err := a.Data(of(ctx).scope).Endpoints(ctx, estate.EndpointFilter{State: estate.Active, After: after, Limit: 100})
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if cursor := w.machine(e, after); cursor != "" {
				return w.page(ctx, cursor)
			}
		}
		if next == "" {
			return w.page(ctx, "")
		}
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(err, fault.Cancelled, "the list was not wanted any more")
		}
		after = next
	}
}

// missingWalk gathers one page.
type missingWalk struct {
	a        *API
	in       *missingIn
	book     book
	endpoint estate.EndpointID // where the page before ended
	finding  string
	out      []Finding
}

// ofPatch asks the index which machines there are to look at.
func (w *missingWalk) ofPatch(ctx context.Context) (*listed[Finding], error) {
	q := of(ctx)
	ids := w.a.Index.WhoLacks(q.scope.Tenant, patch.ID(w.in.Patch), anyState()...)
	from, _ := slices.BinarySearch(ids, w.endpoint)
	for _, id := range ids[from:] {
		e, err := w.a.Data(q.scope).Endpoint(ctx, id)
		if fault.Is(err, fault.NotFound) || err == nil && e.State != estate.Active {
			continue
		}
		if err != nil {
			return nil, err
		}
		if next := w.machine(e, ""); next != "" {
			return w.page(ctx, next)
		}
	}
	return w.page(ctx, "")
}

// page is what was gathered, with the times of the machines' own answers.
func (w *missingWalk) page(ctx context.Context, next string) (*listed[Finding], error) {
	if err := w.a.date(ctx, w.out); err != nil {
		return nil, err
	}
	return pageOf(w.out, next), nil
}

// date says of evidence that the machines themselves gave when they were
// scanned. Rows of the index are shared, so their lists are copied.
func (a *API) date(ctx context.Context, list []Finding) error {
	own := func(e detect.Evidence) bool { return e.By == detect.ByMachine }
	var ids []estate.EndpointID
	for _, f := range list {
		if slices.ContainsFunc(f.Evidence, own) && !slices.Contains(ids, f.Endpoint) {
			ids = append(ids, f.Endpoint)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	scanned, err := a.Data(of(ctx).scope).Scanned(ctx, ids)
	if err != nil {
		return err
	}
	for i := range list {
		f := &list[i]
		f.Evidence = slices.Clone(f.Evidence)
		for j := range f.Evidence {
			if own(f.Evidence[j]) {
				f.Evidence[j].At = scanned[f.Endpoint]
			}
		}
	}
	return nil
}

// machine adds a machine's findings and returns a cursor when the page is full.
func (w *missingWalk) machine(e estate.Endpoint, after string) string {
	if e.ID < w.endpoint {
		return ""
	}
	findings, err := w.a.Index.Findings(e.Tenant, e.ID)
	if err != nil {
		return "" // not scanned yet
	}
	for _, f := range sorted(findings) {
		if e.ID == w.endpoint && findingKey(f) <= w.finding || !w.in.fits(f) {
			continue
		}
		if len(w.out) == max(w.in.Limit, 1) {
			last := w.out[len(w.out)-1]
			return w.cursor(last, e, after)
		}
		w.out = append(w.out, w.book.finding(e, f))
	}
	return ""
}

// cursor says where the page ended. When that is before this machine, the next
// page begins with the whole of it.
func (w *missingWalk) cursor(last Finding, e estate.Endpoint, after string) string {
	key := ""
	if last.Endpoint == e.ID {
		key = findingKey(last.Finding)
	}
	return closeCursor(after, string(e.ID), key)
}
