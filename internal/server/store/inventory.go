package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
)

// Identity is what the server must know of an agent at each contact.
type Identity struct {
	Tenant estate.TenantID
	Site   estate.SiteID
	State  estate.EndpointState
	// Root is inventory.Root of the sections that the server has; empty
	// before the first inventory.
	Root string
}

const identitySQL = `select e.tenant, e.site, e.state, coalesce(i.root, '')
		from endpoints e left join inventories i on i.endpoint = e.id where e.id = $1`

// Identity reads one small row of the endpoint; it is made to be called at
// each contact.
func (s Scoped) Identity(ctx context.Context, id estate.EndpointID) (Identity, error) {
	var who Identity
	row := onlyRow{ctx, s.view(), Query{Text: identitySQL, Args: []any{string(id)}, Hot: true}}
	err := row.Scan((*string)(&who.Tenant), (*string)(&who.Site), (*string)(&who.State), &who.Root)
	if err == nil && !s.scope.Covers(estate.Scope{Tenant: who.Tenant, Site: who.Site}) {
		err = sql.ErrNoRows
	}
	if err != nil {
		return Identity{}, s.db.wrap(err, "endpoint "+string(id))
	}
	return who, nil
}

// LackingSections returns those hashes that the tenant's dictionary lacks,
// sorted.
func (s Scoped) LackingSections(ctx context.Context, tenant estate.TenantID, hashes []string) ([]string, error) {
	if err := s.reads(tenant); err != nil {
		return nil, err
	}
	lack, err := lacking(ctx, s.view(), tenant, hashes)
	return lack, s.db.wrap(err, "look sections up")
}

func lacking(ctx context.Context, on asker, tenant estate.TenantID, hashes []string) ([]string, error) {
	lack := map[string]bool{}
	for _, h := range hashes {
		lack[h] = true
	}
	for part := range chunks(sortedKeys(lack)) {
		q := (&query{}).add("select hash from sections where tenant = ?", string(tenant)).in("hash", part)
		err := q.each(ctx, on, func(r Row) error {
			var h string
			err := r.Scan(&h)
			delete(lack, h)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return sortedKeys(lack), nil
}

// reads refuses a tenant that the scope has nothing to do with.
func (s Scoped) reads(tenant estate.TenantID) error {
	if tenant == "" || s.scope.Tenant != "" && s.scope.Tenant != tenant {
		return fault.New(fault.NotFound, "store: tenant %s not found", tenant)
	}
	return nil
}

// SectionHashes returns the endpoint's sections without bodies in wire order;
// none before the first inventory.
func (s Scoped) SectionHashes(ctx context.Context, id estate.EndpointID) ([]inventory.Section, error) {
	var all []inventory.Section
	q := s.from("select name, hash from endpoint_sections", siteEndpoint).add(" and endpoint = ?", string(id))
	err := q.each(ctx, s.view(), func(r Row) error {
		var sec inventory.Section
		err := r.Scan((*string)(&sec.Name), &sec.Hash)
		all = append(all, sec)
		return err
	})
	sortSections(all)
	return all, s.db.wrap(err, "sections of "+string(id))
}

// Inventory returns the endpoint's sections with their bodies in wire order
// and when they were scanned; NotFound before the first inventory.
func (s Scoped) Inventory(ctx context.Context, id estate.EndpointID) ([]inventory.Section, time.Time, error) {
	var scanned int64
	q := s.from("select scanned from inventories", siteEndpoint).add(" and endpoint = ?", string(id))
	if err := q.row(ctx, s.view()).Scan(&scanned); err != nil {
		return nil, time.Time{}, s.db.wrap(err, "inventory of "+string(id))
	}
	all, err := s.SectionHashes(ctx, id)
	if err != nil {
		return nil, time.Time{}, err
	}
	for i := range all {
		if all[i].Body, err = s.sectionBody(ctx, id, all[i].Name); err != nil {
			return nil, time.Time{}, err
		}
	}
	return all, moment(scanned), nil
}

// Scanned returns when the inventories of these endpoints were taken; those
// that have none, or are not in the scope, are left out.
func (s Scoped) Scanned(ctx context.Context, ids []estate.EndpointID) (map[estate.EndpointID]time.Time, error) {
	found := map[estate.EndpointID]time.Time{}
	for part := range chunks(ids) {
		q := s.from("select endpoint, scanned from inventories", siteEndpoint).in("endpoint", part)
		err := q.each(ctx, s.view(), func(r Row) error {
			var id string
			var scanned int64
			err := r.Scan(&id, &scanned)
			found[estate.EndpointID(id)] = moment(scanned)
			return err
		})
		if err != nil {
			return nil, s.db.wrap(err, "look inventories up")
		}
	}
	return found, nil
}

func (s Scoped) sectionBody(ctx context.Context, id estate.EndpointID, name inventory.SectionName) ([]byte, error) {
	var packed []byte
	row := sqlRow(ctx, s.view(), `select s.body from endpoint_sections e join sections s on s.tenant = e.tenant and s.hash = e.hash
		where e.endpoint = $1 and e.name = $2`, string(id), string(name))
	if err := row.Scan(&packed); err != nil {
		return nil, s.db.wrap(err, "section "+string(name)+" of "+string(id))
	}
	return s.db.unpack(packed)
}

// Section returns the body of one section of the tenant's dictionary.
func (s Scoped) Section(ctx context.Context, tenant estate.TenantID, hash string) ([]byte, error) {
	if err := s.reads(tenant); err != nil {
		return nil, err
	}
	if s.scope.Site != "" {
		return nil, fault.New(fault.Denied, "store: sections are shared by a tenant's sites; a site's scope reads an endpoint's")
	}
	var packed []byte
	row := sqlRow(ctx, s.view(), "select body from sections where tenant = $1 and hash = $2", string(tenant), hash)
	if err := row.Scan(&packed); err != nil {
		return nil, s.db.wrap(err, "section "+hash)
	}
	return s.db.unpack(packed)
}

// Changed is one endpoint whose inventory was accepted.
type Changed struct {
	Tenant   estate.TenantID
	Endpoint estate.EndpointID
	Accepted time.Time
	Sections []inventory.Section // hashes only, wire order
}

// Inventories calls each for every active endpoint of the scope whose
// inventory was accepted at or after since, oldest first, with the hashes of
// its sections. The zero time gives all of them: it is how an index is built.
func (s Scoped) Inventories(ctx context.Context, since time.Time, each func(Changed) error) error {
	q := s.from(`select i.tenant, i.endpoint, i.accepted, x.name, x.hash from (select * from inventories`, siteEndpoint)
	q.add(` and accepted >= ?) i join endpoints e on e.id = i.endpoint join endpoint_sections x on x.endpoint = i.endpoint
		where e.state = ? order by i.accepted, i.endpoint`, millis(since), string(estate.Active))
	var now Changed
	flush := func() error {
		if now.Endpoint == "" {
			return nil
		}
		sortSections(now.Sections)
		return each(now)
	}
	err := q.each(ctx, s.view(), func(r Row) error {
		var row Changed
		var accepted int64
		var sec inventory.Section
		if err := r.Scan((*string)(&row.Tenant), (*string)(&row.Endpoint), &accepted, (*string)(&sec.Name), &sec.Hash); err != nil {
			return err
		}
		if row.Endpoint != now.Endpoint {
			if err := flush(); err != nil {
				return err
			}
			now = row
			now.Accepted = moment(accepted)
		}
		now.Sections = append(now.Sections, sec)
		return nil
	})
	if err == nil {
		err = flush()
	}
	return s.db.wrap(err, "list inventories")
}

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
	bodies := map[string][]byte{}
	hashes := make([]string, 0, len(r.Sections))
	for _, sec := range r.Sections {
		hashes = append(hashes, sec.Hash)
		if len(sec.Body) > 0 {
			bodies[sec.Hash] = sec.Body
		}
	}
	return s.view().write(ctx, "keep the inventory of "+string(r.Endpoint), func(tx Tx) error {
		lack, err := lacking(ctx, tx, r.Tenant, hashes)
		if err != nil {
			return err
		}
		for _, h := range lack {
			body := bodies[h]
			if body == nil {
				return fault.New(fault.Conflict, "store: section %s is not known here", h)
			}
			if _, err := tx.Exec(ctx, `insert into sections (tenant, hash, created, size, body) values ($1, $2, $3, $4, $5)
				on conflict (tenant, hash) do nothing`, string(r.Tenant), h, millis(r.Now), len(body), s.db.packer.EncodeAll(body, nil)); err != nil {
				return err
			}
		}
		return s.putRows(ctx, tx, r)
	})
}

func (s Scoped) putRows(ctx context.Context, tx Tx, r Report) error {
	q := s.from("update endpoints set hostname = hostname", siteColumn).add(" and tenant = ? and id = ? and state = ? returning doc",
		string(r.Tenant), string(r.Endpoint), string(estate.Active))
	var doc string // the update is also the lock that concurrent reports of one machine queue on
	if err := q.row(ctx, tx).Scan(&doc); err != nil {
		return err
	}
	if err := updateFacts(ctx, tx, r, doc); err != nil {
		return err
	}
	if err := diffSections(ctx, tx, r); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `insert into inventories (endpoint, tenant, root, scanned, accepted) values ($1, $2, $3, $4, $5)
		on conflict (endpoint) do update set root = excluded.root, scanned = excluded.scanned, accepted = excluded.accepted`,
		string(r.Endpoint), string(r.Tenant), inventory.Root(r.Sections), millis(r.Scanned), millis(r.Now))
	return err
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

func diffSections(ctx context.Context, tx Tx, r Report) error {
	have := map[inventory.SectionName]string{}
	q := (&query{}).add("select name, hash from endpoint_sections where endpoint = ?", string(r.Endpoint))
	err := q.each(ctx, tx, func(rows Row) error {
		var name, hash string
		err := rows.Scan(&name, &hash)
		have[inventory.SectionName(name)] = hash
		return err
	})
	if err != nil {
		return err
	}
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

func sortSections(all []inventory.Section) {
	order := inventory.Sections()
	slices.SortFunc(all, func(a, b inventory.Section) int {
		return slices.Index(order, a.Name) - slices.Index(order, b.Name)
	})
}

// unpack is safe for concurrent use, as is the packer's EncodeAll.
func (db *DB) unpack(packed []byte) ([]byte, error) {
	body, err := db.unpacker.DecodeAll(packed, nil)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "store: a stored section is damaged")
	}
	return body, nil
}

// openZstd makes the two that sections go through.
func (db *DB) openZstd() error {
	var err error
	if db.packer, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2)); err == nil {
		db.unpacker, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(4), zstd.WithDecoderMaxMemory(2*inventory.MaxSection))
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "store: no compressor")
	}
	return nil
}
