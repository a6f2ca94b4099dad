package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// An enrolment token reads "fe1-" and 56 base32 characters: 20 random bytes
// and 15 bytes of their HMAC-SHA-256 under a key of this server. The HMAC lets
// the server refuse a guessed or mistyped token in memory, without a look at
// the database; what stands there is the SHA-256 of the text.
const (
	tokenPrefix = "fe1-"
	tokenRandom = 20
	tokenMAC    = 15
)

var tokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// CreateToken keeps a new token with the site, uses, expiry, note and groups
// of t and returns it with its id and its secret text, which is shown once.
func (s Scoped) CreateToken(ctx context.Context, t estate.Token) (estate.Token, string, error) {
	switch {
	case t.Uses < 1:
		return t, "", fault.New(fault.Invalid, "store: a token must be good for at least one machine")
	case !t.Expires.After(t.Created):
		return t, "", fault.New(fault.Invalid, "store: the token would expire before it is made")
	}
	if err := s.covers(estate.Scope{Tenant: t.Tenant, Site: t.Site}); err != nil {
		return t, "", err
	}
	t.ID, t.Used, t.Revoked = random(8), 0, time.Time{}
	secret := s.db.newTokenText()
	doc, err := encode(t)
	if err != nil {
		return t, "", err
	}
	_, err = s.view().exec(ctx, "create an enrolment token",
		"insert into tokens (id, tenant, site, hash, uses, used, expires, revoked, doc) values ($1, $2, $3, $4, $5, 0, $6, 0, $7)",
		t.ID, string(t.Tenant), string(t.Site), hashText(secret), t.Uses, millis(t.Expires), doc)
	return t, secret, err
}

// Tokens returns the tokens of the scope, without their secrets.
func (s Scoped) Tokens(ctx context.Context) ([]estate.Token, error) {
	var all []estate.Token
	err := s.from("select doc, used, revoked from tokens", siteColumn).add(" order by tenant, id").each(ctx, s.view(), func(r Row) error {
		t, err := scanToken(r.Scan)
		all = append(all, t)
		return err
	})
	return all, s.db.wrap(err, "list enrolment tokens")
}

func scanToken(scan func(...any) error) (estate.Token, error) {
	var t estate.Token
	var doc string
	var revoked int64
	var used int
	if err := scan(&doc, &used, &revoked); err != nil {
		return t, err
	}
	err := decode(doc, &t)
	t.Used, t.Revoked = used, moment(revoked)
	return t, err
}

// RevokeToken ends a token; machines enrolled with it stay.
func (s Scoped) RevokeToken(ctx context.Context, id string, at time.Time) error {
	q := s.from("update tokens set revoked = "+itoa(millis(at)), siteColumn).add(" and id = ?", id)
	n, err := s.view().exec(ctx, "revoke token "+id, q.text.String(), q.args...)
	if err == nil && n == 0 {
		return s.db.wrap(sql.ErrNoRows, "token "+id)
	}
	return err
}

// PlausibleToken reports whether this server can have made the token. It works
// in memory, in constant time, and says nothing of expiry or uses.
func (db *DB) PlausibleToken(secret string) bool {
	raw, ok := strings.CutPrefix(secret, tokenPrefix)
	if !ok || len(raw) != tokenText.EncodedLen(tokenRandom+tokenMAC) {
		return false
	}
	b, err := tokenText.DecodeString(raw)
	return err == nil && hmac.Equal(b[tokenRandom:], db.macOf(b[:tokenRandom]))
}

// Enrol spends one use of the token and adds the endpoint to the token's
// tenant, site and groups, both or neither. A token that is unknown, spent,
// expired or revoked gives fault.Unauthenticated with one text for all four;
// an id that was ever used gives fault.Conflict. e needs all fields but
// Tenant, Site, Groups and State; the finished endpoint is returned.
func (db *DB) Enrol(ctx context.Context, secret string, e estate.Endpoint, now time.Time) (estate.Endpoint, error) {
	if !db.PlausibleToken(secret) {
		return e, errToken
	}
	err := db.through(doorEnrol).write(ctx, "enrol endpoint "+string(e.ID), func(tx Tx) error {
		t, err := scanToken(sqlRow(ctx, tx, `update tokens set used = used + 1
			where hash = $1 and used < uses and revoked = 0 and expires > $2 returning doc, used, revoked`,
			hashText(secret), millis(now)).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return errToken
		}
		if err != nil {
			return err
		}
		if err := tx.Narrow(ctx, SightOf(estate.InTenant(t.Tenant))); err != nil {
			return err
		}
		e.Tenant, e.Site, e.Groups, e.State = t.Tenant, t.Site, t.Groups, estate.Active
		if err := insertEndpoint(ctx, tx, e); err != nil {
			return err
		}
		for _, g := range t.Groups {
			if err := addMember(ctx, tx, t.Tenant, g, e.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return e, err
}

var errToken = fault.New(fault.Unauthenticated, "the enrolment token is not valid").
	WithHint("it may be mistyped, used up, expired or revoked; ask for a new one with: fettle enroll-token")

func (db *DB) macOf(b []byte) []byte {
	m := hmac.New(sha256.New, db.tokenKey)
	m.Write(b)
	return m.Sum(nil)[:tokenMAC]
}

func (db *DB) newTokenText() string {
	b := make([]byte, tokenRandom)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return tokenPrefix + tokenText.EncodeToString(append(b, db.macOf(b)...))
}

// loadTokenKey reads the key of the tokens' HMAC, made at the first start.
func (db *DB) loadTokenKey(ctx context.Context) ([]byte, error) {
	_, err := db.own().exec(ctx, "make the token key",
		"insert into settings (tenant, name, doc) values ('', '_token_key', $1) on conflict (tenant, name) do nothing", random(32))
	if err != nil {
		return nil, err
	}
	var text string
	row := sqlRow(ctx, db.own(), "select doc from settings where tenant = '' and name = '_token_key'")
	if err := row.Scan(&text); err != nil {
		return nil, db.wrap(err, "read the token key")
	}
	return hex.DecodeString(text)
}

// hashText is the SHA-256 of a secret of high entropy, in hex.
func hashText(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
