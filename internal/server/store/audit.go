package store

import (
	"context"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
)

// AppendAudit adds a record to the chain of a tenant ("" is the server's own).
// Appenders of one chain queue up; seal is given the number of the record and
// the hash of the one before ("" for the first) and returns the document and
// its hash. seal may be called again when the transaction is run again.
func (s Scoped) AppendAudit(ctx context.Context, tenant estate.TenantID, at time.Time, actor, action, object string,
	seal func(seq int64, prev string) (doc []byte, hash string, err error),
) error {
	// A record about a tenant may come from a narrower scope, never from
	// another tenant's.
	if s.scope.Tenant != "" && s.scope.Tenant != tenant {
		return s.covers(estate.InTenant(tenant))
	}
	return s.view().write(ctx, "append to the audit log", func(tx Tx) error {
		var seq int64
		var prev string
		// The upsert takes the lock on the chain's end.
		err := sqlRow(ctx, tx, `insert into audit_heads (tenant, seq, hash) values ($1, 1, '')
			on conflict (tenant) do update set seq = audit_heads.seq + 1 returning seq, hash`, string(tenant)).Scan(&seq, &prev)
		if err != nil {
			return err
		}
		doc, hash, err := seal(seq, prev)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "insert into audit (tenant, seq, at, actor, action, object, hash, doc) values ($1, $2, $3, $4, $5, $6, $7, $8)",
			string(tenant), seq, millis(at), actor, action, object, hash, string(doc))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "update audit_heads set hash = $1 where tenant = $2", hash, string(tenant))
		return err
	})
}

// AuditForward calls each for up to limit records of one chain after the
// number, oldest first: how a chain is verified and exported. A site's scope
// reads none.
func (s Scoped) AuditForward(ctx context.Context, tenant estate.TenantID, after int64, limit int, each func(seq int64, hash string, doc []byte) error) error {
	q := s.from("select seq, hash, doc from audit", siteNobody).
		add(" and tenant = ? and seq > ? order by seq limit ?", string(tenant), after, pageSize(limit))
	return s.db.wrap(q.each(ctx, s.view(), auditRow(each)), "read the audit log")
}

// AuditBackward is AuditForward newest first: records before the number (0:
// from the end). Empty actor and action prefix do not narrow.
func (s Scoped) AuditBackward(ctx context.Context, tenant estate.TenantID, before int64, actor, action string, limit int,
	each func(seq int64, hash string, doc []byte) error,
) error {
	q := s.from("select seq, hash, doc from audit", siteNobody).add(" and tenant = ?", string(tenant))
	if before > 0 {
		q.add(" and seq < ?", before)
	}
	if actor != "" {
		q.add(" and actor = ?", actor)
	}
	if action != "" {
		q.add(" and action >= ? and action < ?", action, action+"\U0010FFFF")
	}
	q.add(" order by seq desc limit ?", pageSize(limit))
	return s.db.wrap(q.each(ctx, s.view(), auditRow(each)), "read the audit log")
}

func auditRow(each func(int64, string, []byte) error) func(Row) error {
	return func(r Row) error {
		var seq int64
		var hash, doc string
		if err := r.Scan(&seq, &hash, &doc); err != nil {
			return err
		}
		return each(seq, hash, []byte(doc))
	}
}

// AuditHead returns the number and hash of the last record of a chain, 0 and
// "" when there is none.
func (s Scoped) AuditHead(ctx context.Context, tenant estate.TenantID) (seq int64, hash string, err error) {
	q := s.from("select coalesce(max(seq), 0), coalesce(max(hash), '') from audit_heads", siteNobody).add(" and tenant = ?", string(tenant))
	err = q.row(ctx, s.view()).Scan(&seq, &hash)
	return seq, hash, s.db.wrap(err, "read the end of the audit log")
}
