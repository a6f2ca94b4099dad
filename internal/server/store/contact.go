package store

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// Contact is what is kept of a machine's last check-in.
type Contact struct {
	Endpoint estate.EndpointID
	Tenant   estate.TenantID
	Seen     time.Time
	// Scanned is when the machine was last scanned with the inventory that is
	// kept of it as the result; zero changes nothing.
	Scanned time.Time
	// Catalog is the version that the agent has verified.
	Catalog int64
	// Skew is the agent's clock minus the server's.
	Skew  time.Duration
	Agent string // version
	Boot  string // boot id
	// Problem is what keeps the agent from its work; empty when all is well.
	Problem string
}

// Contact returns the last contact of an endpoint, NotFound before the first.
func (s Scoped) Contact(ctx context.Context, id estate.EndpointID) (Contact, error) {
	c := Contact{Endpoint: id}
	var t string
	var seen, scanned, skew int64
	q := s.from("select tenant, seen, scanned, catalog, skew, agent, boot, problem from contacts", siteEndpoint).add(" and endpoint = ?", string(id))
	err := q.row(ctx, s.view()).Scan(&t, &seen, &scanned, &c.Catalog, &skew, &c.Agent, &c.Boot, &c.Problem)
	c.Tenant, c.Seen, c.Scanned, c.Skew = estate.TenantID(t), moment(seen), moment(scanned), time.Duration(skew)*time.Millisecond
	return c, s.db.wrap(err, "last contact of "+string(id))
}

// CheckIn keeps a contact. Contacts that arrive while a transaction is being
// written wait and go together in the next one, so that thousands a second
// cost few commits. It returns when the contact is durable as the engine
// defines it; a context that ends earlier leaves it in the queue.
func (s Scoped) CheckIn(ctx context.Context, c Contact) error {
	if s.scope.Tenant != "" && s.scope.Tenant != c.Tenant {
		return s.covers(estate.InTenant(c.Tenant))
	}
	return s.db.contacts.put(ctx, c)
}

// Bounds of the batch writer: contacts in one transaction and in the queue.
const (
	batchRows  = 1000
	batchQueue = 20000
	// Rows of one statement: more make SQLite parse longer than it saves.
	batchStatement = 10
)

// batcher is the one writer of contacts in this process.
type batcher struct {
	db    *DB
	queue chan waiting
	done  chan struct{}

	mu     sync.RWMutex // guards closing of queue against put
	closed bool
}

type waiting struct {
	c    Contact
	done chan error
}

func newBatcher(db *DB) *batcher {
	b := &batcher{db: db, queue: make(chan waiting, batchQueue), done: make(chan struct{})}
	go b.run()
	return b
}

func (b *batcher) put(ctx context.Context, c Contact) error {
	w := waiting{c: c, done: make(chan error, 1)}
	if err := b.enqueue(w); err != nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return b.db.wrap(ctx.Err(), "check in")
	}
}

// enqueue refuses at once when the queue is full: an agent comes back later,
// memory does not.
func (b *batcher) enqueue(w waiting) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return fault.New(fault.Unavailable, "store: the server is stopping")
	}
	select {
	case b.queue <- w:
		return nil
	default:
		return fault.New(fault.Unavailable, "store: more check-ins wait than can be written")
	}
}

func (b *batcher) close() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.queue)
	}
	b.mu.Unlock()
	<-b.done
}

func (b *batcher) run() {
	defer close(b.done)
	for first := range b.queue {
		batch := b.gather([]waiting{first})
		err := b.flush(batch)
		for _, w := range batch {
			w.done <- err
		}
	}
}

// gather takes what is queued already and waits for nothing.
func (b *batcher) gather(batch []waiting) []waiting {
	for len(batch) < batchRows {
		select {
		case w, ok := <-b.queue:
			if !ok {
				return batch
			}
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

func (b *batcher) flush(batch []waiting) error {
	latest := map[estate.EndpointID]Contact{}
	for _, w := range batch {
		latest[w.c.Endpoint] = w.c
	}
	ids := sortedKeys(latest)
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	return b.db.through(doorContacts).write(ctx, "keep check-ins", func(tx Tx) error {
		for part := range slices.Chunk(ids, batchStatement) {
			if err := upsertContacts(ctx, tx, part, latest); err != nil {
				return err
			}
		}
		return nil
	})
}

func upsertContacts(ctx context.Context, tx Tx, ids []estate.EndpointID, latest map[estate.EndpointID]Contact) error {
	q := (&query{}).add("insert into contacts (endpoint, tenant, seen, scanned, catalog, skew, agent, boot, problem) values ")
	for i, id := range ids {
		c := latest[id]
		sep := ", "
		if i == 0 {
			sep = ""
		}
		q.add(sep+"("+strings.TrimSuffix(strings.Repeat("?, ", 9), ", ")+")",
			string(c.Endpoint), string(c.Tenant), millis(c.Seen), millis(c.Scanned), c.Catalog, c.Skew.Milliseconds(), c.Agent, c.Boot, c.Problem)
	}
	q.add(` on conflict (endpoint) do update set seen = excluded.seen, catalog = excluded.catalog, skew = excluded.skew,
		agent = excluded.agent, boot = excluded.boot, problem = excluded.problem,
		scanned = case when excluded.scanned > 0 then excluded.scanned else contacts.scanned end where contacts.tenant = excluded.tenant`)
	_, err := tx.Exec(ctx, q.text.String(), q.args...)
	return err
}
