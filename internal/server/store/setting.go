package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// PutSetting keeps a value as JSON under a name for a tenant, or for the
// server with tenant "". Names beginning with "_" are the store's own.
func (s Scoped) PutSetting(ctx context.Context, tenant estate.TenantID, name string, value any) error {
	if err := s.covers(estate.InTenant(tenant)); err != nil {
		return err
	}
	if name == "" || strings.HasPrefix(name, "_") {
		return fault.New(fault.Invalid, "store: %q is no name for a setting", name)
	}
	doc, err := encode(value)
	if err != nil {
		return err
	}
	_, err = s.view().exec(ctx, "keep setting "+name, `insert into settings (tenant, name, doc) values ($1, $2, $3)
		on conflict (tenant, name) do update set doc = excluded.doc`, string(tenant), name, doc)
	return err
}

// Setting decodes a setting into the value; NotFound when it was never set.
func (s Scoped) Setting(ctx context.Context, tenant estate.TenantID, name string, into any) error {
	if strings.HasPrefix(name, "_") {
		return fault.New(fault.NotFound, "store: setting %s not found", name)
	}
	var doc string
	q := s.from("select doc from settings", siteAll).add(" and tenant = ? and name = ?", string(tenant), name)
	if err := q.row(ctx, s.view()).Scan(&doc); err != nil {
		return s.db.wrap(err, "setting "+name)
	}
	return decode(doc, into)
}

// Schedule is something that a tenant wants done again and again. What kind
// and Doc mean is its reader's business.
type Schedule struct {
	Tenant estate.TenantID
	ID     string
	Kind   string
	Due    time.Time
	Doc    json.RawMessage
}

// PutSchedule adds or replaces a schedule.
func (s Scoped) PutSchedule(ctx context.Context, c Schedule) error {
	if err := s.covers(estate.InTenant(c.Tenant)); err != nil {
		return err
	}
	_, err := s.view().exec(ctx, "keep schedule "+c.ID, `insert into schedules (tenant, id, kind, due, doc) values ($1, $2, $3, $4, $5)
		on conflict (tenant, id) do update set kind = excluded.kind, due = excluded.due, doc = excluded.doc`,
		string(c.Tenant), c.ID, c.Kind, millis(c.Due), string(c.Doc))
	return err
}

// Schedules returns the schedules of the scope that are due at or before the
// moment, earliest first; the zero time gives all.
func (s Scoped) Schedules(ctx context.Context, dueBy time.Time) ([]Schedule, error) {
	q := s.from("select tenant, id, kind, due, doc from schedules", siteNobody)
	if !dueBy.IsZero() {
		q.add(" and due <= ?", millis(dueBy))
	}
	var all []Schedule
	err := q.add(" order by due, tenant, id").each(ctx, s.view(), func(r Row) error {
		var c Schedule
		var due int64
		var doc string
		err := r.Scan((*string)(&c.Tenant), &c.ID, &c.Kind, &due, &doc)
		c.Due, c.Doc = moment(due), json.RawMessage(doc)
		all = append(all, c)
		return err
	})
	return all, s.db.wrap(err, "list schedules")
}

// AdvanceSchedule moves a schedule from one due moment to the next and
// reports whether it did: of several servers only one does.
func (s Scoped) AdvanceSchedule(ctx context.Context, tenant estate.TenantID, id string, from, to time.Time) (bool, error) {
	if err := s.covers(estate.InTenant(tenant)); err != nil {
		return false, err
	}
	n, err := s.view().exec(ctx, "advance schedule "+id, "update schedules set due = $1 where tenant = $2 and id = $3 and due = $4",
		millis(to), string(tenant), id, millis(from))
	return n == 1, err
}

// DeleteSchedule removes a schedule.
func (s Scoped) DeleteSchedule(ctx context.Context, tenant estate.TenantID, id string) error {
	if err := s.covers(estate.InTenant(tenant)); err != nil {
		return err
	}
	n, err := s.view().exec(ctx, "delete schedule "+id, "delete from schedules where tenant = $1 and id = $2", string(tenant), id)
	if err == nil && n == 0 {
		err = s.db.wrap(sql.ErrNoRows, "schedule "+id)
	}
	return err
}
