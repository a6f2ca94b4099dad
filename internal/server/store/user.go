package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// PutUser adds or replaces a person. The home tenant must lie in the scope
// and never changes; so must every grant, so that nobody can give what lies
// outside. An empty ID gets a random one; a taken name gives fault.Conflict.
func (s Scoped) PutUser(ctx context.Context, u estate.User) (estate.User, error) {
	if err := s.coversPerson(u.Tenant, u.Grants); err != nil {
		return u, err
	}
	if u.Name == "" {
		return u, fault.New(fault.Invalid, "store: a person needs a name to sign in with")
	}
	if u.ID == "" {
		u.ID = estate.UserID(random(8))
	}
	doc, err := encode(u)
	if err != nil {
		return u, err
	}
	n, err := s.view().exec(ctx, "write user "+u.Name, `insert into users (id, tenant, name, password, doc) values ($1, $2, $3, $4, $5)
		on conflict (id) do update set name = excluded.name, password = excluded.password, doc = excluded.doc
		where users.tenant = excluded.tenant`, string(u.ID), string(u.Tenant), u.Name, u.PasswordHash, doc)
	if err == nil && n == 0 {
		err = fault.New(fault.Conflict, "store: user id %s is taken", u.ID)
	}
	return u, err
}

// ReplaceUser replaces a person whose password hash still is the one that was
// read before. Conflict when the password was replaced meanwhile, or the person
// removed: a slow reader must bring back neither.
func (s Scoped) ReplaceUser(ctx context.Context, u estate.User, was string) error {
	if err := s.coversPerson(u.Tenant, u.Grants); err != nil {
		return err
	}
	doc, err := encode(u)
	if err != nil {
		return err
	}
	n, err := s.view().exec(ctx, "replace user "+u.Name, "update users set password = $1, doc = $2 where id = $3 and tenant = $4 and name = $5 and password = $6",
		u.PasswordHash, doc, string(u.ID), string(u.Tenant), u.Name, was)
	if err == nil && n == 0 {
		err = fault.New(fault.Conflict, "%s was changed or removed meanwhile", u.Name).WithHint("look at the account and try again")
	}
	return err
}

func (s Scoped) coversPerson(home estate.TenantID, grants []estate.Grant) error {
	if err := s.covers(estate.InTenant(home)); err != nil {
		return err
	}
	for _, g := range grants {
		if err := s.covers(g.Scope); err != nil {
			return err
		}
	}
	return nil
}

func scanUser(scan func(...any) error) (estate.User, error) {
	var u estate.User
	var doc, password string
	if err := scan(&doc, &password); err != nil {
		return u, err
	}
	err := decode(doc, &u)
	u.PasswordHash = password
	return u, err
}

// User returns one person of the scope with the password hash.
func (s Scoped) User(ctx context.Context, id estate.UserID) (estate.User, error) {
	q := s.from("select doc, password from users", siteNobody).add(" and id = ?", string(id))
	u, err := scanUser(q.row(ctx, s.view()).Scan)
	return u, s.db.wrap(err, "user "+string(id))
}

// UserByName returns the person who signs in with the name.
func (s Scoped) UserByName(ctx context.Context, name string) (estate.User, error) {
	q := s.from("select doc, password from users", siteNobody).add(" and name = ?", name)
	u, err := scanUser(q.row(ctx, s.view()).Scan)
	return u, s.db.wrap(err, "user")
}

// siteNobody hides people and keys from the scope of a site: they belong to
// tenants.
const siteNobody = "'' = ?"

// Users returns the people of the scope by name.
func (s Scoped) Users(ctx context.Context) ([]estate.User, error) {
	var all []estate.User
	err := s.from("select doc, password from users", siteNobody).add(" order by name").each(ctx, s.view(), func(r Row) error {
		u, err := scanUser(r.Scan)
		all = append(all, u)
		return err
	})
	return all, s.db.wrap(err, "list users")
}

// DeleteUser removes a person when may agrees, which is asked in the same
// transaction with the person and all people of the scope, and may be asked
// again when the transaction is run again; deletions within one scope queue up.
// What the person did stays in the audit log.
func (s Scoped) DeleteUser(ctx context.Context, id estate.UserID, may func(u estate.User, all []estate.User) error) error {
	what := "delete user " + string(id)
	return s.view().write(ctx, what, func(tx Tx) error {
		// The upsert takes the lock for which other deletions wait.
		_, err := tx.Exec(ctx, `insert into settings (tenant, name, doc) values ($1, 'people.turn', '0')
			on conflict (tenant, name) do update set doc = excluded.doc`, string(s.scope.Tenant))
		if err != nil {
			return err
		}
		var all []estate.User
		err = s.from("select doc, password from users", siteNobody).each(ctx, tx, func(r Row) error {
			u, err := scanUser(r.Scan)
			all = append(all, u)
			return err
		})
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(u estate.User) bool { return u.ID == id })
		if at < 0 {
			return s.db.wrap(sql.ErrNoRows, what)
		}
		if err := may(all[at], all); err != nil {
			return err
		}
		q := s.from("delete from users", siteNobody).add(" and id = ?", string(id))
		_, err = tx.Exec(ctx, q.text.String(), q.args...)
		return err
	})
}

func (s Scoped) deleteOne(ctx context.Context, what string, q *query) error {
	n, err := s.view().exec(ctx, what, q.text.String(), q.args...)
	if err == nil && n == 0 {
		err = s.db.wrap(sql.ErrNoRows, what)
	}
	return err
}

// PutKey adds or replaces an API key; the rules are those of PutUser.
func (s Scoped) PutKey(ctx context.Context, k estate.Key) (estate.Key, error) {
	if err := s.coversPerson(k.Tenant, k.Grants); err != nil {
		return k, err
	}
	if k.ID == "" {
		k.ID = random(8)
	}
	doc, err := encode(k)
	if err != nil {
		return k, err
	}
	n, err := s.view().exec(ctx, "write API key "+k.ID, `insert into api_keys (id, tenant, hash, used, doc) values ($1, $2, $3, 0, $4)
		on conflict (id) do update set doc = excluded.doc where api_keys.tenant = excluded.tenant and api_keys.hash = excluded.hash`,
		k.ID, string(k.Tenant), k.Hash, doc)
	if err == nil && n == 0 {
		err = fault.New(fault.Conflict, "store: key id %s is taken", k.ID)
	}
	return k, err
}

func scanKey(scan func(...any) error) (estate.Key, error) {
	var k estate.Key
	var doc, hash string
	var used int64
	if err := scan(&doc, &hash, &used); err != nil {
		return k, err
	}
	err := decode(doc, &k)
	k.Hash, k.LastUsed = hash, moment(used)
	return k, err
}

// KeyByHash returns the key whose secret has the SHA-256 (hex).
func (s Scoped) KeyByHash(ctx context.Context, hash string) (estate.Key, error) {
	q := s.from("select doc, hash, used from api_keys", siteNobody).add(" and hash = ?", hash)
	k, err := scanKey(q.row(ctx, s.view()).Scan)
	return k, s.db.wrap(err, "API key")
}

// Keys returns the API keys of the scope.
func (s Scoped) Keys(ctx context.Context) ([]estate.Key, error) {
	var all []estate.Key
	err := s.from("select doc, hash, used from api_keys", siteNobody).add(" order by tenant, id").each(ctx, s.view(), func(r Row) error {
		k, err := scanKey(r.Scan)
		all = append(all, k)
		return err
	})
	return all, s.db.wrap(err, "list API keys")
}

// TouchKey keeps when the key was used last, to the minute: more often is not
// written.
func (s Scoped) TouchKey(ctx context.Context, id string, at time.Time) error {
	q := s.from("update api_keys set used = "+itoa(millis(at)), siteNobody).add(" and id = ? and used < ?", id, millis(at.Add(-time.Minute)))
	_, err := s.view().exec(ctx, "touch API key", q.text.String(), q.args...)
	return err
}

// DeleteKey removes an API key.
func (s Scoped) DeleteKey(ctx context.Context, id string) error {
	return s.deleteOne(ctx, "delete API key "+id, s.from("delete from api_keys", siteNobody).add(" and id = ?", id))
}
