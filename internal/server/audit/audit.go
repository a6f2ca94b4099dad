// Package audit keeps who did what: append-only chains of entries, one per
// tenant and one ("") for the server, each entry sealed with the SHA-256 over
// its own canonical JSON, which holds the hash of the entry before.
//
// What that proves: a changed, removed or reordered entry breaks the chain at
// its place, and Verify names it. Someone who can write the database can still
// rewrite a whole chain from some entry on; then its head differs from every
// head that was written down or exported before. Keep exports elsewhere.
package audit

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// Store keeps the chains; store.Scoped is one. AppendAudit calls seal with the
// number of the new entry and the hash of the one before.
type Store interface {
	AppendAudit(ctx context.Context, tenant estate.TenantID, at time.Time, actor, action, object string,
		seal func(seq int64, prev string) (doc []byte, hash string, err error)) error
	AuditForward(ctx context.Context, tenant estate.TenantID, after int64, limit int, each func(seq int64, hash string, doc []byte) error) error
	AuditBackward(ctx context.Context, tenant estate.TenantID, before int64, actor, action string, limit int,
		each func(seq int64, hash string, doc []byte) error) error
	AuditHead(ctx context.Context, tenant estate.TenantID) (seq int64, hash string, err error)
	Tenants(ctx context.Context) ([]estate.Tenant, error)
}

// Entry is one thing that was done. Its JSON, fields in this order and Hash
// empty, is what is hashed.
type Entry struct {
	Seq    int64           `json:"seq"` // 1 for the first of its chain
	Tenant estate.TenantID `json:"tenant,omitempty"`
	At     time.Time       `json:"at"` // UTC, to the millisecond
	Kind   string          `json:"kind"`
	Actor  string          `json:"actor"`
	Action string          `json:"action"`
	Object string          `json:"object"`
	Detail string          `json:"detail,omitempty"`
	Prev   string          `json:"prev"` // "" for the first
	Hash   string          `json:"hash,omitempty"`
}

// maxText bounds each text of an entry, in bytes.
const maxText = 16 << 10

// seal returns the entry's JSON with its hash, and the hash.
func (e Entry) seal() ([]byte, string, error) {
	e.Hash = ""
	body, err := json.Marshal(e)
	if err != nil {
		return nil, "", fault.Wrap(err, fault.Internal, "audit: an entry can't be encoded")
	}
	sum := sha256.Sum256(body)
	e.Hash = hex.EncodeToString(sum[:])
	doc, err := json.Marshal(e)
	if err != nil {
		return nil, "", fault.Wrap(err, fault.Internal, "audit: an entry can't be encoded")
	}
	return doc, e.Hash, nil
}

// Log is the audit log. It is safe for concurrent use.
type Log struct {
	in  func(estate.Scope) Store
	now func() time.Time

	guesses guesses
}

// New returns the log over a store.
func New(in func(estate.Scope) Store, now func() time.Time) *Log {
	return &Log{in: in, now: now, guesses: guesses{all: map[guessed]*tally{}, kick: make(chan struct{}, 1)}}
}

func scopeOf(tenant estate.TenantID) estate.Scope {
	if tenant == "" {
		return estate.Everything()
	}
	return estate.InTenant(tenant)
}

// Append adds an entry to the chain of the tenant ("" is the server's). The
// entry is durable when Append returns. Long texts are cut.
func (l *Log) Append(ctx context.Context, tenant estate.TenantID, actor estate.Actor, action, object, detail string) error {
	e := Entry{
		Tenant: tenant, At: l.now().UTC().Truncate(time.Millisecond), Kind: short(actor.Kind), Actor: short(actor.Name),
		Action: short(action), Object: short(object), Detail: short(detail),
	}
	return l.in(scopeOf(tenant)).AppendAudit(ctx, tenant, e.At, e.Actor, e.Action, e.Object, func(seq int64, prev string) ([]byte, string, error) {
		e.Seq, e.Prev = seq, prev
		return e.seal()
	})
}

// short cuts a text to maxText and makes it valid UTF-8, so that its JSON
// reads back as the same text.
func short(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + " ..."
	}
	return string([]rune(s))
}

// Recent calls each with entries as JSON, newest first, those before the
// number (0: from the end). Empty actor and beginning of the action do not
// narrow. One call gives 1,000 at most.
func (l *Log) Recent(ctx context.Context, tenant estate.TenantID, before int64, actor, action string, limit int, each func(doc []byte) error) error {
	return l.in(scopeOf(tenant)).AuditBackward(ctx, tenant, before, actor, action, limit, func(_ int64, _ string, doc []byte) error { return each(doc) })
}

const chunk = 1000

// walk calls each for every entry of a chain, oldest first. It holds no
// connection to the database meanwhile: whoever reads an export may be slow.
func (l *Log) walk(ctx context.Context, tenant estate.TenantID, each func(seq int64, hash string, doc []byte) error) error {
	type entry struct {
		seq  int64
		hash string
		doc  []byte
	}
	page := make([]entry, 0, chunk)
	for after := int64(0); ; {
		page = page[:0]
		err := l.in(scopeOf(tenant)).AuditForward(ctx, tenant, after, chunk, func(seq int64, hash string, doc []byte) error {
			page = append(page, entry{seq, hash, doc})
			return nil
		})
		if err != nil {
			return err
		}
		for _, e := range page {
			after = e.seq
			if err := each(e.seq, e.hash, e.doc); err != nil {
				return err
			}
		}
		if len(page) < chunk {
			return nil
		}
	}
}

// Export writes a chain as NDJSON: each line is one entry, as VerifyExport
// takes them. A chain that is damaged is exported as it is.
func (l *Log) Export(ctx context.Context, tenant estate.TenantID, w io.Writer) error {
	b := bufio.NewWriter(w)
	err := l.walk(ctx, tenant, func(_ int64, _ string, doc []byte) error {
		if _, err := b.Write(append(doc, '\n')); err != nil {
			return fault.Wrap(err, fault.Unavailable, "audit: the export can't be written")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return b.Flush()
}

// Verify checks every chain against itself and against its recorded end. head
// is one hash over the heads of all chains; problem names the first entry that
// does not fit, "" when all do. The error says that the log can't be read.
func (l *Log) Verify(ctx context.Context) (entries int64, head, problem string, err error) {
	tenants, err := l.in(estate.Everything()).Tenants(ctx)
	if err != nil {
		return 0, "", "", err
	}
	all := sha256.New()
	for _, t := range append([]estate.Tenant{{}}, tenants...) {
		c, err := l.verify(ctx, t.ID)
		if err != nil {
			return 0, "", "", err
		}
		entries += c.seq
		fmt.Fprintf(all, "%s %d %s\n", t.ID, c.seq, c.hash)
		if problem == "" {
			problem = c.problem
		}
	}
	return entries, hex.EncodeToString(all.Sum(nil)), problem, nil
}

func (l *Log) verify(ctx context.Context, tenant estate.TenantID) (*chain, error) {
	c := &chain{tenant: tenant}
	// The end is read first: entries that are added meanwhile are no damage.
	seq, hash, err := l.in(scopeOf(tenant)).AuditHead(ctx, tenant)
	if err != nil {
		return nil, err
	}
	atEnd := ""
	err = l.walk(ctx, tenant, func(n int64, column string, doc []byte) error {
		e := c.take(doc)
		if c.problem == "" && (e.Seq != n || e.Hash != column) {
			c.problem = c.name(n) + ": its row does not fit its text"
		}
		if n == seq {
			atEnd = column
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case c.problem != "":
	case c.seq < seq:
		c.problem = fmt.Sprintf("%s and all after it were removed: the log has recorded %d", c.name(c.seq+1), seq)
	case atEnd != hash:
		c.problem = c.name(seq) + ": it is not the entry that was recorded as the last"
	}
	return c, nil
}

// chain checks entries one after another.
type chain struct {
	tenant  estate.TenantID
	seq     int64
	hash    string
	problem string
}

func (c *chain) name(seq int64) string {
	if c.tenant == "" {
		return fmt.Sprintf("entry %d of the server's log", seq)
	}
	return fmt.Sprintf("entry %d of tenant %s", seq, c.tenant)
}

// take checks the next entry and returns it. The first thing that does not fit
// becomes the problem.
func (c *chain) take(doc []byte) Entry {
	var e Entry
	want := c.seq + 1
	if err := json.Unmarshal(doc, &e); err != nil {
		c.fail("%s can't be read", c.name(want))
		c.seq = want
		return e
	}
	// Sealing again gives the same text only when no field was changed and
	// nothing was added.
	again, hash, err := e.seal()
	switch {
	case e.Tenant != c.tenant:
		c.fail("%s belongs to tenant %q", c.name(want), e.Tenant)
	case e.Seq > want:
		c.fail("%s was removed: entry %d follows entry %d", c.name(want), e.Seq, c.seq)
	case e.Seq < want:
		c.fail("%s stands in the wrong place, after entry %d", c.name(e.Seq), c.seq)
	case err != nil || hash != e.Hash || string(again) != string(doc):
		c.fail("%s was changed: its hash does not fit its text", c.name(e.Seq))
	case e.Prev != c.hash:
		c.fail("%s does not follow the entry before it", c.name(e.Seq))
	}
	c.seq, c.hash = e.Seq, e.Hash
	return e
}

func (c *chain) fail(format string, args ...any) {
	if c.problem == "" {
		c.problem = fmt.Sprintf(format, args...)
	}
}

// maxLine bounds one line of an export, in bytes.
const maxLine = 1 << 20

// VerifyExport checks an export without a server and returns how many entries
// it has and the hash of the last, to compare with one that was kept. Untrusted
// names the first entry that does not fit; Invalid says that the text is no
// export.
func VerifyExport(r io.Reader) (entries int64, head string, err error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	var c *chain
	for sc.Scan() {
		if c == nil {
			var first Entry
			if err := json.Unmarshal(sc.Bytes(), &first); err != nil {
				return 0, "", fault.Wrap(err, fault.Invalid, "audit: the first line is no entry of an audit log")
			}
			c = &chain{tenant: first.Tenant}
		}
		c.take(sc.Bytes())
		if c.problem != "" {
			return c.seq, c.hash, fault.New(fault.Untrusted, "audit: %s", c.problem)
		}
	}
	if err := sc.Err(); err != nil {
		return 0, "", fault.Wrap(err, fault.Invalid, "audit: the export can't be read")
	}
	if c == nil {
		return 0, "", nil
	}
	return c.seq, c.hash, nil
}
