package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

// pooler stands between clients and a real server as PgBouncer does. Its server
// sessions belong to a client for as long as that is connected, or for one
// transaction.
type pooler struct {
	dsn    string
	whole  bool // sessions, not transactions
	rotate bool // takes the session that was idle for longest
	dir    string

	mu   sync.Mutex
	idle []*pgconn.HijackedConn
	all  []net.Conn
	work sync.WaitGroup
}

// between starts a pooler in front of a cluster and returns how to reach it.
func between(t *testing.T, p *pooler) string {
	t.Helper()
	p.dir = t.TempDir()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(p.dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	p.work.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.keep(client)
			p.work.Go(func() {
				defer client.Close()
				if err := p.serve(client); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
					t.Errorf("pooler: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		for _, c := range p.all {
			c.Close()
		}
		p.mu.Unlock()
		p.work.Wait()
	})
	return "host=" + p.dir + " user=fettle dbname=fettle"
}

func (p *pooler) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, c)
}

func (p *pooler) take() (*pgconn.HijackedConn, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		at := n - 1
		if p.rotate {
			at = 0
		}
		s := p.idle[at]
		p.idle = slices.Delete(p.idle, at, at+1)
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	conn, err := pgconn.Connect(context.Background(), p.dsn)
	if err != nil {
		return nil, err
	}
	s, err := conn.Hijack()
	if err == nil {
		p.keep(s.Conn)
	}
	return s, err
}

func (p *pooler) give(s *pgconn.HijackedConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, s)
}

// serve passes a client's messages on until it leaves.
func (p *pooler) serve(c net.Conn) error {
	client := pgproto3.NewBackend(c, c)
	if _, err := client.ReceiveStartupMessage(); err != nil {
		return err
	}
	s, err := p.take()
	if err != nil {
		return err
	}
	client.Send(&pgproto3.AuthenticationOk{})
	for name, value := range s.ParameterStatuses {
		client.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	client.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if !p.whole {
		p.give(s)
		s = nil
	}
	for {
		if err := client.Flush(); err != nil {
			return err
		}
		m, err := client.Receive()
		if err != nil {
			return err
		}
		if _, bye := m.(*pgproto3.Terminate); bye {
			if s != nil { // it is in a transaction, or has prepared statements
				return s.Conn.Close()
			}
			return nil
		}
		if s == nil {
			if s, err = p.take(); err != nil {
				return err
			}
		}
		s.Frontend.Send(m)
		switch m.(type) {
		case *pgproto3.Sync, *pgproto3.Query:
			idle, err := answer(client, s.Frontend)
			if err != nil {
				return err
			}
			if idle && !p.whole {
				p.give(s)
				s = nil
			}
		}
	}
}

// answer passes the server's messages on until it is ready for more, and
// reports that no transaction is open.
func answer(client *pgproto3.Backend, server *pgproto3.Frontend) (bool, error) {
	if err := server.Flush(); err != nil {
		return false, err
	}
	for {
		m, err := server.Receive()
		if err != nil {
			return false, err
		}
		client.Send(m)
		ready, ok := m.(*pgproto3.ReadyForQuery)
		if err := client.Flush(); err != nil || ok {
			return ok && ready.TxStatus == 'I', err
		}
	}
}

// A pooler that keeps sessions together is as good as none; one that does not
// is refused at the start, before anything is migrated.
func TestPooler(t *testing.T) {
	cluster := shared.Postgres(t)
	for _, rotate := range []bool{false, true} {
		p := &pooler{dsn: cluster.DSN, rotate: rotate}
		dsn := between(t, p)
		for range 3 { // with more and more idle sessions to choose from
			says := refused(t, Config{DSN: dsn}, fault.Invalid)
			if !strings.Contains(says, "a pooler at "+p.dir+" gives each transaction another session") || !strings.Contains(says, "pool_mode = session") {
				t.Error(says)
			}
			more, err := p.take()
			if err != nil {
				t.Fatal(err)
			}
			another, err := p.take()
			if err != nil {
				t.Fatal(err)
			}
			p.give(more)
			p.give(another)
		}
	}
	conn := openAs(t, cluster.Admin)
	var tables int
	if err := conn.QueryRowContext(t.Context(), "select count(*) from pg_class where relnamespace = 'public'::regnamespace").Scan(&tables); err != nil || tables > 0 {
		t.Errorf("%d tables, %v", tables, err)
	}
	storetest.Run(t, open(t, Config{DSN: between(t, &pooler{dsn: cluster.DSN, whole: true})}))
	cluster.SQL(t, "fettle", "create role keeper login")
	refused(t, Config{DSN: cluster.DSN, OwnerDSN: strings.Replace(between(t, &pooler{dsn: cluster.As("keeper")}), "user=fettle", "user=keeper", 1)}, fault.Invalid)
}

// A pooler that is not noticed, because somebody changes its mode while the
// server runs, makes statements fail and shows nobody another's rows: a sight
// goes to the server in one transaction with the statement that it is for.
func TestTrustRow7PoolerOfTransactions(t *testing.T) {
	w := newWorld(t)
	for mode, fails := range map[string]bool{"cache_statement": true, "cache_describe": false, "exec": false, "simple_protocol": false} {
		conns := connect(t, between(t, &pooler{dsn: w.cluster.DSN, rotate: true})+" default_query_exec_mode="+mode)
		var work sync.WaitGroup
		for n := range 12 {
			who := []estate.TenantID{w.me, w.victim.Tenant}[n%2]
			work.Go(func() {
				for range 20 {
					look(t, conns, mode, fails, who)
				}
			})
		}
		work.Wait()
	}
}

func look(t *testing.T, conns pool, mode string, fails bool, who estate.TenantID) {
	for _, sight := range []store.Sight{store.SightOf(estate.InTenant(who)), {}} {
		own := 0
		each := func(r store.Row) error {
			var tenant string
			err := r.Scan(&tenant)
			if own++; tenant != string(who) || sight == (store.Sight{}) {
				t.Errorf("%s: %s sees a row of %s with sight %q", mode, who, tenant, sight.Setting())
			}
			return err
		}
		q := store.Query{Text: "select tenant from endpoints"}
		err := conns.Ask(t.Context(), sight, q, each)
		if err == nil && sight != (store.Sight{}) {
			err = conns.Write(t.Context(), sight, func(tx store.Tx) error { return tx.Ask(t.Context(), q, each) })
		}
		// invalid_sql_statement_name, duplicate_prepared_statement.
		if code := codeOf(err); err != nil && !(fails && (code == "26000" || code == "42P05")) || err == nil && own == 0 && sight != (store.Sight{}) {
			t.Errorf("%s: %d rows, %v", mode, own, err)
		}
	}
}
