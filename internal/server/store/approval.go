package store

import (
	"context"
	"time"

	"github.com/fettlehq/fettle/internal/approval"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/patch"
)

// PutApproval keeps a decision; an id given before replaces the document,
// which is how one is withdrawn. It needs the scope of the tenant. An empty ID
// gets a random one; the decision as kept is returned.
func (s Scoped) PutApproval(ctx context.Context, a approval.Approval) (approval.Approval, error) {
	if err := s.covers(estate.InTenant(a.Tenant)); err != nil {
		return a, err
	}
	if err := a.Validate(); err != nil {
		return a, err
	}
	if a.ID == "" {
		a.ID = random(12)
	}
	doc, err := encode(a)
	if err != nil {
		return a, err
	}
	_, err = s.view().exec(ctx, "keep the decision on "+string(a.Patch), `insert into approvals
		(tenant, id, patch, group_id, decision, made, expires, withdrawn, doc) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		on conflict (tenant, id) do update set expires = excluded.expires, withdrawn = excluded.withdrawn, doc = excluded.doc`,
		string(a.Tenant), a.ID, string(a.Patch), string(a.Group), string(a.Decision), millis(a.At), millis(a.Expires), millis(a.Withdrawn), doc)
	return a, err
}

// Approval returns one decision.
func (s Scoped) Approval(ctx context.Context, id string) (approval.Approval, error) {
	var a approval.Approval
	var doc string
	q := s.from("select doc from approvals", siteAll).add(" and id = ?", id)
	if err := q.row(ctx, s.view()).Scan(&doc); err != nil {
		return a, s.db.wrap(err, "decision "+id)
	}
	return a, decode(doc, &a)
}

// ActiveApprovals returns the decisions that count at the moment now.
func (s Scoped) ActiveApprovals(ctx context.Context, now time.Time) ([]approval.Approval, error) {
	var all []approval.Approval
	q := s.from("select doc from approvals", siteAll).
		add(" and (expires = 0 or expires > ?) and (withdrawn = 0 or withdrawn > ?) order by tenant, id", millis(now), millis(now))
	return all, s.db.wrap(q.each(ctx, s.view(), scanDoc(&all)), "list decisions")
}

// Approvals returns one page of all decisions ever made, newest first, and
// the cursor of the next page. A patch id narrows it; "" does not.
func (s Scoped) Approvals(ctx context.Context, of patch.ID, after string, limit int) ([]approval.Approval, string, error) {
	keys, err := parseCursor(after, 2)
	if err != nil {
		return nil, "", err
	}
	q := s.from("select doc from approvals", siteAll)
	if of != "" {
		q.add(" and patch = ?", string(of))
	}
	if after != "" {
		made, err := parseInt(keys[0])
		if err != nil {
			return nil, "", err
		}
		q.add(" and (made < ? or (made = ? and id < ?))", made, made, keys[1])
	}
	limit = pageSize(limit)
	var all []approval.Approval
	if err := q.add(" order by made desc, id desc limit ?", limit+1).each(ctx, s.view(), scanDoc(&all)); err != nil {
		return nil, "", s.db.wrap(err, "list decisions")
	}
	all, next := page(all, limit, func(a approval.Approval) string { return cursor(itoa(millis(a.At)), a.ID) })
	return all, next, nil
}
