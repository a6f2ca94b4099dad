package store

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// Scoped reaches the rows of one scope and no others. It is a small value.
type Scoped struct {
	db    *DB
	scope estate.Scope
}

// In returns the handle for a scope: the whole server, a tenant or a site.
func (db *DB) In(scope estate.Scope) Scoped { return Scoped{db: db, scope: scope} }

// Scope returns the scope of the handle.
func (s Scoped) Scope() estate.Scope { return s.scope }

// covers refuses (Denied) a write to what lies outside the scope.
func (s Scoped) covers(where estate.Scope) error {
	if where.Tenant == "" && s.scope.Tenant != "" || !s.scope.Covers(where) {
		return fault.New(fault.Denied, "store: %s lies outside the scope %s", where, s.scope)
	}
	return nil
}

// Conditions on rows of a site's tenant. siteSQL is how a row belongs to a
// site, with one ? for the site.
const (
	siteColumn   = "site = ?"
	siteEndpoint = "endpoint in (select id from endpoints where site = ?)"
	siteAll      = "" // the row concerns every site of its tenant
)

// query is a statement under construction. Its first conditions are always
// those of a scope.
type query struct {
	text strings.Builder
	args []any
}

// from begins "select ... from ... where <scope>". siteSQL is one of the
// constants above.
func (s Scoped) from(head, siteSQL string) *query {
	q := &query{}
	q.add(head + " where 1 = 1")
	if s.scope.Tenant != "" {
		q.add(" and tenant = ?", string(s.scope.Tenant))
		if s.scope.Site != "" && siteSQL != "" {
			q.add(" and "+siteSQL, string(s.scope.Site))
		}
	}
	return q
}

// add appends text whose every ? stands for the next argument.
func (q *query) add(text string, args ...any) *query {
	for _, a := range args {
		before, after, _ := strings.Cut(text, "?")
		q.args = append(q.args, a)
		q.text.WriteString(before)
		q.text.WriteByte('$')
		q.text.WriteString(strconv.Itoa(len(q.args)))
		text = after
	}
	q.text.WriteString(text)
	return q
}

// in appends " and column in (...)"; an empty list matches nothing.
func (q *query) in(column string, values []string) *query {
	if len(values) == 0 {
		return q.add(" and 1 = 0")
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return q.add(" and "+column+" in (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

// chunk bounds the values of one in-list or multi-row insert.
const chunk = 500

// asker is a view or a transaction.
type asker interface {
	Ask(ctx context.Context, q Query, each func(Row) error) error
}

func (q *query) whole() Query { return Query{Text: q.text.String(), Args: q.args} }

// row returns the only row; its Scan runs the query and gives sql.ErrNoRows
// when there is none.
func (q *query) row(ctx context.Context, on asker) Row { return onlyRow{ctx, on, q.whole()} }

// each runs the query and calls scan for every row.
func (q *query) each(ctx context.Context, on asker, scan func(Row) error) error {
	return on.Ask(ctx, q.whole(), scan)
}

// sqlRow is query.row of a text that is complete.
func sqlRow(ctx context.Context, on asker, text string, args ...any) Row {
	return onlyRow{ctx, on, Query{Text: text, Args: args}}
}

type onlyRow struct {
	ctx context.Context //nolint:containedctx // lives for one expression: row(ctx, on).Scan(...)
	on  asker
	q   Query
}

// Scan implements Row.
func (o onlyRow) Scan(into ...any) error {
	found := false
	err := o.on.Ask(o.ctx, o.q, func(r Row) error {
		if found {
			return nil
		}
		found = true
		return r.Scan(into...)
	})
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return err
}
