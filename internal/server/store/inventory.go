package store

import (
	"context"
	"database/sql"
	"slices"
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

// lastScan is when a scan last gave the inventory that is kept, in milliseconds.
const lastScan = `(select max(t) from (select inventories.scanned as t union all
	select c.scanned from contacts c where c.endpoint = inventories.endpoint) as times)`

// Inventory returns the endpoint's sections with their bodies in wire order
// and when they were last scanned; NotFound before the first inventory.
func (s Scoped) Inventory(ctx context.Context, id estate.EndpointID) ([]inventory.Section, time.Time, error) {
	var scanned int64
	q := s.from("select "+lastScan+" from inventories", siteEndpoint).add(" and endpoint = ?", string(id))
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

// Scanned returns when these endpoints were last scanned; those
// that have none, or are not in the scope, are left out.
func (s Scoped) Scanned(ctx context.Context, ids []estate.EndpointID) (map[estate.EndpointID]time.Time, error) {
	found := map[estate.EndpointID]time.Time{}
	for part := range chunks(ids) {
		q := s.from("select endpoint, "+lastScan+" from inventories", siteEndpoint).in("endpoint", part)
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

// inventoryPage bounds the machines of which Inventories knows at once.
const inventoryPage = 200

// Inventories calls each for every active endpoint of the scope whose
// inventory was accepted at or after since, oldest first, with the hashes of
// its sections. The zero time gives all of them: it is how an index is built.
// It reads in pages and holds no connection while each runs, which may ask the
// store; an endpoint that reports meanwhile may come again.
func (s Scoped) Inventories(ctx context.Context, since time.Time, each func(Changed) error) error {
	accepted, after := millis(since), ""
	for {
		page, err := s.inventories(ctx, accepted, after)
		if err != nil {
			return s.db.wrap(err, "list inventories")
		}
		for _, c := range page {
			accepted, after = millis(c.Accepted), string(c.Endpoint)
			if c.active {
				if err := each(c.Changed); err != nil {
					return err
				}
			}
		}
		if len(page) < inventoryPage {
			return nil
		}
	}
}

// pageRow is a line of a page: revoked endpoints count too.
type pageRow struct {
	Changed
	active bool
}

// inventories reads the page that begins after an endpoint, "" for none, among
// those accepted at the moment or later.
func (s Scoped) inventories(ctx context.Context, accepted int64, after string) ([]pageRow, error) {
	q := s.from(`select i.tenant, i.endpoint, i.accepted, e.state, coalesce(x.name, ''), coalesce(x.hash, '') from (select * from inventories`, siteEndpoint)
	q.add(" and accepted >= ? and (accepted > ? or endpoint > ?) order by accepted, endpoint limit ?", accepted, accepted, after, inventoryPage)
	q.add(`) i join endpoints e on e.id = i.endpoint left join endpoint_sections x on x.endpoint = i.endpoint
		order by i.accepted, i.endpoint`)
	var page []pageRow
	err := q.each(ctx, s.view(), func(r Row) error {
		var row pageRow
		var at int64
		var state string
		var sec inventory.Section
		if err := r.Scan((*string)(&row.Tenant), (*string)(&row.Endpoint), &at, &state, (*string)(&sec.Name), &sec.Hash); err != nil {
			return err
		}
		if n := len(page); n == 0 || page[n-1].Endpoint != row.Endpoint {
			row.Accepted, row.active = time.UnixMilli(at).UTC(), state == string(estate.Active)
			page = append(page, row)
		}
		if last := &page[len(page)-1]; sec.Name != "" {
			last.Sections = append(last.Sections, sec)
		}
		return nil
	})
	for i := range page {
		sortSections(page[i].Sections)
	}
	return page, err
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
