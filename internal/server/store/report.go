package store

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Report is a machine's inventory on its way into the store.
type Report struct {
	Endpoint estate.EndpointID
	Tenant   estate.TenantID
	// Sections has every section of the snapshot; those that the tenant's
	// dictionary has already may come without a body.
	Sections []inventory.Section
	Scanned  time.Time
	Now      time.Time
	// Facts are the words of the machine itself that its row repeats for
	// lists: host name, OS, platform, addresses, reboot. Nil leaves the row.
	Facts func(*estate.Endpoint)
}

// PutInventory makes the sections the endpoint's inventory: new bodies join
// the dictionary, and of the endpoint's rows only those that differ are
// written. A section that has no body here nor in the dictionary gives
// fault.Conflict and changes nothing. Bodies must have passed Section.Check.
func (s Scoped) PutInventory(ctx context.Context, r Report) error {
	if err := s.reads(r.Tenant); err != nil {
		return err
	}
	return s.view().write(ctx, "keep the inventory of "+string(r.Endpoint), func(tx Tx) error {
		q := s.from("update endpoints set hostname = hostname", siteColumn).add(" and tenant = ? and id = ? and state = ? returning doc",
			string(r.Tenant), string(r.Endpoint), string(estate.Active))
		var doc string // the update is also the lock that concurrent reports of one machine queue on
		if err := q.row(ctx, tx).Scan(&doc); err != nil {
			return err
		}
		have, err := sectionsOf(ctx, tx, r.Endpoint)
		if err == nil {
			err = s.db.keepSections(ctx, tx, r, have)
		}
		if err == nil {
			err = updateFacts(ctx, tx, r, doc)
		}
		if err == nil {
			err = diffSections(ctx, tx, r, have)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into inventories (endpoint, tenant, root, scanned, accepted) values ($1, $2, $3, $4, $5)
			on conflict (endpoint) do update set root = excluded.root, scanned = excluded.scanned, accepted = excluded.accepted`,
			string(r.Endpoint), string(r.Tenant), inventory.Root(r.Sections), millis(r.Scanned), millis(r.Now))
		return err
	})
}

// renewAfter is the age from which a section that a machine comes to is made
// young again, so that PruneSections, in another transaction, does not take it.
// It is well below the age of what is pruned.
const renewAfter = time.Hour

// keepSections makes sure that the dictionary has the sections of the report,
// and keeps those that the machine did not have until now from being pruned
// before this transaction ends.
func (db *DB) keepSections(ctx context.Context, tx Tx, r Report, have map[inventory.SectionName]string) error {
	bodies, moves := map[string][]byte{}, map[string]bool{} // moves: to this hash, from another
	for _, sec := range r.Sections {
		if len(sec.Body) > 0 {
			bodies[sec.Hash] = sec.Body
		}
		moves[sec.Hash] = moves[sec.Hash] || have[sec.Name] != sec.Hash
	}
	created, err := sectionTimes(ctx, tx, r.Tenant, sortedKeys(moves))
	if err != nil {
		return err
	}
	for _, h := range sortedKeys(moves) {
		at, known := created[h]
		if known && moves[h] && at < millis(r.Now.Add(-renewAfter)) {
			n, err := tx.Exec(ctx, "update sections set created = $1 where tenant = $2 and hash = $3", millis(r.Now), string(r.Tenant), h)
			if err != nil {
				return err
			}
			known = n > 0 // else it was pruned a moment ago
		}
		if known {
			continue
		}
		if bodies[h] == nil {
			return fault.New(fault.Conflict, "store: section %s is not known here", h)
		}
		if _, err := tx.Exec(ctx, `insert into sections (tenant, hash, created, size, body) values ($1, $2, $3, $4, $5)
			on conflict (tenant, hash) do nothing`, string(r.Tenant), h, millis(r.Now), len(bodies[h]), db.packer.EncodeAll(bodies[h], nil)); err != nil {
			return err
		}
	}
	return nil
}

func updateFacts(ctx context.Context, tx Tx, r Report, doc string) error {
	if r.Facts == nil {
		return nil
	}
	var e estate.Endpoint
	if err := decode(doc, &e); err != nil {
		return err
	}
	r.Facts(&e)
	e.ID, e.Tenant, e.Groups, e.LastSeen = r.Endpoint, r.Tenant, nil, time.Time{}
	next, err := encode(e)
	if err != nil || next == doc {
		return err
	}
	_, err = tx.Exec(ctx, "update endpoints set hostname = $1, platform = $2, doc = $3 where id = $4",
		strings.ToLower(e.Hostname), e.Platform, next, string(r.Endpoint))
	return err
}

// sectionTimes returns when those of the sections were made that the dictionary
// has.
func sectionTimes(ctx context.Context, tx Tx, tenant estate.TenantID, hashes []string) (map[string]int64, error) {
	created := map[string]int64{}
	for part := range chunks(hashes) {
		q := (&query{}).add("select hash, created from sections where tenant = ?", string(tenant)).in("hash", part)
		err := q.each(ctx, tx, func(row Row) error {
			var h string
			var at int64
			err := row.Scan(&h, &at)
			created[h] = at
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return created, nil
}

// sectionsOf returns the hash of each section that an endpoint has.
func sectionsOf(ctx context.Context, tx Tx, id estate.EndpointID) (map[inventory.SectionName]string, error) {
	have := map[inventory.SectionName]string{}
	q := (&query{}).add("select name, hash from endpoint_sections where endpoint = ?", string(id))
	err := q.each(ctx, tx, func(rows Row) error {
		var name, hash string
		err := rows.Scan(&name, &hash)
		have[inventory.SectionName(name)] = hash
		return err
	})
	return have, err
}

func diffSections(ctx context.Context, tx Tx, r Report, have map[inventory.SectionName]string) error {
	have = maps.Clone(have)
	for _, sec := range r.Sections {
		was, known := have[sec.Name]
		delete(have, sec.Name)
		if known && was == sec.Hash {
			continue
		}
		if _, err := tx.Exec(ctx, `insert into endpoint_sections (endpoint, name, tenant, hash) values ($1, $2, $3, $4)
			on conflict (endpoint, name) do update set hash = excluded.hash`, string(r.Endpoint), string(sec.Name), string(r.Tenant), sec.Hash); err != nil {
			return err
		}
	}
	for _, gone := range sortedKeys(have) {
		if _, err := tx.Exec(ctx, "delete from endpoint_sections where endpoint = $1 and name = $2", string(r.Endpoint), string(gone)); err != nil {
			return err
		}
	}
	return nil
}

// PruneSections deletes sections of the dictionary that no endpoint has and
// that were made before the given time; it returns how many. A report that
// meets the deletion is answered with Conflict and sent again.
func (db *DB) PruneSections(ctx context.Context, before time.Time) (int64, error) {
	return db.through(doorPrune).exec(ctx, "prune sections", `delete from sections where created < $1 and not exists
		(select 1 from endpoint_sections e where e.tenant = sections.tenant and e.hash = sections.hash)`, millis(before))
}
