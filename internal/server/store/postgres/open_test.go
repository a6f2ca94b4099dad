package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

func open(t *testing.T, c Config) *store.DB {
	t.Helper()
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, fault.HintOf(err))
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// refused opens a database that must not open, and returns what is said.
func refused(t *testing.T, c Config, code fault.Code) string {
	t.Helper()
	db, err := Open(t.Context(), c)
	if err == nil {
		db.Close()
	}
	if !fault.Is(err, code) || fault.HintOf(err) == "" {
		t.Errorf("%v has code %q and hint %q, want %q", err, fault.CodeOf(err), fault.HintOf(err), code)
	}
	return fmt.Sprint(err, " ", fault.HintOf(err))
}

// A role that row-level security does not hold for serves nobody.
func TestTrustRow7UnwalledRoles(t *testing.T) {
	cluster := shared.Postgres(t)
	open(t, Config{DSN: cluster.DSN})
	if says := refused(t, Config{DSN: cluster.Admin}, fault.Denied); !strings.Contains(says, `role "postgres" is a superuser`) {
		t.Error(says)
	}
	cluster.SQL(t, "fettle", "alter role fettle set fettle.sight = '*'")
	if says := refused(t, Config{DSN: cluster.DSN}, fault.Denied); !strings.Contains(says, `begin with fettle.sight = "*"`) {
		t.Error(says)
	}
	cluster.SQL(t, "fettle", "alter role fettle reset fettle.sight")
	open(t, Config{DSN: cluster.DSN})
	cluster.SQL(t, "fettle", "alter role fettle bypassrls")
	refused(t, Config{DSN: cluster.DSN}, fault.Denied)
}

// With an owner apart the serving role can use the tables and nothing else: it
// changes no schema, takes no policy down and rewrites no history.
func TestTrustRow7OwnerApart(t *testing.T) {
	cluster := shared.Postgres(t)
	cluster.SQL(t, "fettle", "create role keeper login")
	cluster.SQL(t, "fettle", "alter database fettle owner to keeper")
	c := Config{DSN: cluster.DSN, OwnerDSN: cluster.As("keeper")}
	storetest.Run(t, open(t, c))
	conns := connect(t, cluster.DSN)
	for _, text := range []string{
		"alter table tasks disable row level security", "drop policy tenant on tasks", "create policy all_ on tasks using (true)",
		"drop table tasks", "alter table audit add column x int", "create table mine (id text)", "set role keeper",
		"update audit set doc = ''", "delete from audit", "delete from task_steps", "update goose_db_version set version_id = 1", "truncate audit",
	} {
		if _, err := conns.Do(t.Context(), store.SightOf(estate.Everything()), store.Query{Text: text}); codeOf(err) != "42501" {
			t.Errorf("%s: %v", text, err)
		}
	}
	// Migrated, it also starts without its owner.
	open(t, Config{DSN: cluster.DSN})
	refused(t, Config{DSN: cluster.DSN, OwnerDSN: cluster.DSN}, fault.Invalid)
}

// A database from before row-level security gets it, with all its rows.
func TestOlderSchema(t *testing.T) {
	w := newWorld(t)
	before := w.dump(t)()
	w.db.Close()
	for _, table := range w.tables {
		w.cluster.SQL(t, "fettle", "drop policy tenant on "+table)
		w.cluster.SQL(t, "fettle", "alter table "+table+" no force row level security, disable row level security")
	}
	w.cluster.SQL(t, "fettle", "alter table task_steps drop column tenant")
	w.cluster.SQL(t, "fettle", "alter table contacts drop column scanned")
	w.cluster.SQL(t, "fettle", "delete from goose_db_version where version_id > 1")
	db := open(t, Config{DSN: w.cluster.DSN})
	if after := w.dump(t)(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	storetest.Attack(t, db, db.In(estate.InTenant(w.me)), w.me, w.victim, w.dump(t))
}

// The password comes from a file, anew for each connection, or from the
// environment, and no error tells it.
func TestPassword(t *testing.T) {
	cluster := storetest.Postgres(t)
	cluster.SQL(t, "fettle", "alter role fettle password 'first secret'")
	cluster.Stop()
	cluster.Configure(t, "pg_hba.conf", "local all postgres trust\nlocal all all scram-sha-256\n")
	cluster.Start(t)
	file := filepath.Join(t.TempDir(), "password")
	put := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	withFile := Config{DSN: cluster.DSN, PasswordFile: file}
	put("wrong secret\n", 0o600)
	for _, says := range []string{refused(t, withFile, fault.Unavailable), refused(t, Config{DSN: cluster.DSN}, fault.Unavailable)} {
		if !strings.Contains(says, `does not let user "fettle" in`) || strings.Contains(says, "secret") {
			t.Error(says)
		}
	}
	if says := refused(t, Config{DSN: cluster.DSN + " password='wrong secret' port=x"}, fault.Invalid); strings.Contains(says, "secret") {
		t.Error(says)
	}
	put("first secret\n", 0o604)
	refused(t, withFile, fault.Denied)
	put("first secret\n", 0o600)
	db := open(t, withFile)
	cluster.SQL(t, "fettle", "alter role fettle password 'second secret'")
	put("second secret", 0o600)
	cluster.SQL(t, "fettle", "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fettle'")
	if text := eventually(t, db); !strings.HasPrefix(text, "PostgreSQL ") || strings.Contains(text, "secret") {
		t.Error(text)
	}
	t.Setenv("PGPASSWORD", "second secret")
	open(t, Config{DSN: cluster.DSN})
}

// eventually asks until connections of before are used up.
func eventually(t *testing.T, db *store.DB) string {
	t.Helper()
	var err error
	for range connections + 1 {
		var text string
		if text, err = db.Facts(t.Context()); err == nil {
			return text
		}
		if !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
			t.Errorf("%v has no hint", err)
		}
	}
	t.Fatal(err)
	return ""
}

// A database that is away says so, with a hint, at the start and later, and the
// store goes on by itself when it is back.
func TestDatabaseAway(t *testing.T) {
	cluster := shared.Postgres(t)
	db := open(t, Config{DSN: cluster.DSN})
	tenant := storetest.NewTenant(t, db, "away")
	in := db.In(estate.InTenant(tenant))
	cluster.Stop()
	for _, err := range []error{
		second(in.Sites(t.Context())), in.PutSite(t.Context(), estate.Site{Tenant: tenant, ID: "south"}),
		in.CheckIn(t.Context(), store.Contact{Endpoint: "x", Tenant: tenant}), second(db.PruneSessions(t.Context(), time.Now())),
	} {
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "the database does not answer") || !strings.Contains(fault.HintOf(err), "goes on by itself") {
			t.Errorf("%v (hint: %s)", err, fault.HintOf(err))
		}
	}
	if says := refused(t, Config{DSN: cluster.DSN}, fault.Unavailable); !strings.Contains(says, "can't reach the database server at /") {
		t.Error(says)
	}
	cluster.Start(t)
	eventually(t, db)
	if sites, err := in.Sites(t.Context()); err != nil || len(sites) != 2 {
		t.Errorf("%v, %v", sites, err)
	}
	if says := refused(t, Config{DSN: strings.Replace(cluster.DSN, "dbname=fettle", "dbname=other", 1)}, fault.Unavailable); !strings.Contains(says, "createdb") {
		t.Error(says)
	}
}

func second[T any](_ T, err error) error { return err }

// TLS to another machine is asked for by name, or refused by name: never left
// to whoever is in between.
func TestTLSIsNotLeftToChance(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	for dsn, want := range map[string]fault.Code{
		"postgres://fettle@db.example/fettle":                                fault.Invalid,
		"postgres://fettle@db.example/fettle?sslmode=prefer":                 fault.Invalid,
		"host=db.example user=fettle sslmode=allow":                          fault.Invalid,
		"host=/run/postgresql,db.example user=fettle":                        fault.Invalid,
		"host=/run/postgresql,db.example user=fettle sslmode=require":        "",
		"postgres://fettle@db.example/fettle?sslmode=require":                "",
		"postgres://fettle@db.example/fettle?sslmode=verify-full":            "",
		"postgres://fettle@db.example/fettle?sslmode=disable":                "",
		"postgres://fettle@localhost/fettle":                                 "",
		"postgres://fettle@127.0.0.1/fettle":                                 "",
		"host=/run/postgresql user=fettle dbname=fettle":                     "",
		"postgres://fettle@db.example/fettle?sslmode=verify-full&port=99999": fault.Invalid,
	} {
		if _, err := parse(dsn, ""); fault.CodeOf(err) != want {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

// A real server with a certificate: believed by its CA, not by another.
func TestTLS(t *testing.T) {
	cluster := storetest.Postgres(t)
	cert, key := selfSigned(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	cluster.Stop()
	cluster.Configure(t, "postgresql.conf", fmt.Sprintf("ssl = on\nssl_cert_file = '%s'\nssl_key_file = '%s'\nlisten_addresses = '127.0.0.1'\nport = %s\n",
		cluster.Put(t, "cert.pem", cert), cluster.Put(t, "key.pem", key), port))
	cluster.Configure(t, "pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\nlocal all all trust\n")
	cluster.StartAt(t, port)
	dir := t.TempDir()
	other, _ := selfSigned(t)
	for name, text := range map[string][]byte{"ca.pem": cert, "other.pem": other} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dsn := "host=127.0.0.1 port=" + port + " user=fettle dbname=fettle sslmode=verify-full sslrootcert=" + dir
	open(t, Config{DSN: dsn + "/ca.pem"})
	refused(t, Config{DSN: dsn + "/other.pem"}, fault.Untrusted)
}

func selfSigned(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "database"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes})
}

func TestHasPassword(t *testing.T) {
	for dsn, want := range map[string]bool{
		"postgres://fettle@db.example/fettle":            false,
		"postgres://fettle:secret@db.example/fettle":     true,
		"host=/run user=fettle password=secret":          true,
		"host=/run user=fettle":                          false,
		"host=/run user=fettle password = secret port=x": true,
		"postgres://db.example/fettle?password=secret":   true,
		"postgres://fettle:50%secret@db.example/fettle":  true,
	} {
		if HasPassword(dsn) != want {
			t.Errorf("%s: %v", dsn, !want)
		}
	}
}
