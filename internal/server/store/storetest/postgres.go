package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresDirs are where the server's programs may stand.
var postgresDirs = []string{"/usr/lib/postgresql/15/bin", "/usr/local/bin", "/usr/bin"}

// Cluster is a PostgreSQL server of the test's own, on a Unix socket in a
// folder that goes with it.
type Cluster struct {
	// DSN connects as role fettle, which is no superuser, to the empty database
	// fettle, which it owns.
	DSN string
	// Admin connects to the same database as the superuser.
	Admin string

	dir, bin string
	cred     *syscall.Credential
	server   *exec.Cmd
	output   *bytes.Buffer
}

// Postgres starts a server with fsync off. A machine without PostgreSQL fails
// the test and says what to install.
func Postgres(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{}
	t.Cleanup(c.remove)
	c.create(t)
	return c
}

// create makes and starts the server. It may fail in the middle.
func (c *Cluster) create(t testing.TB) {
	t.Helper()
	c.bin = postgresBin(t)
	// Not t.TempDir: its name is too long for a unix socket.
	dir, err := os.MkdirTemp("", "fettle-pg")
	if err != nil {
		t.Fatal(err)
	}
	c.dir = dir
	c.cred = unprivileged(t, dir)
	command(t, c.cred, filepath.Join(c.bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	c.Configure(t, "postgresql.conf", "listen_addresses = ''\nfsync = off\nfull_page_writes = off\nsynchronous_commit = off\nmax_connections = 100\nshared_buffers = 32MB\n")
	c.Start(t)
	c.populate(t)
}

// populate makes the role and its database.
func (c *Cluster) populate(t testing.TB) {
	t.Helper()
	c.SQL(t, "postgres", "create role fettle login")
	c.SQL(t, "postgres", "create database fettle owner fettle")
	c.DSN, c.Admin = c.As("fettle"), c.As("postgres")
}

// remove ends the server and takes its files away.
func (c *Cluster) remove() {
	c.Stop()
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

// Configure appends to a configuration file of the server, which reads it at
// its next start. Earlier lines of pg_hba.conf win, so that one is replaced.
func (c *Cluster) Configure(t testing.TB, file, text string) {
	t.Helper()
	how := os.O_APPEND
	if file == "pg_hba.conf" {
		how = os.O_TRUNC
	}
	f, err := os.OpenFile(filepath.Join(c.dir, "data", file), how|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Put writes a file that only the server's user may read, and returns its path.
func (c *Cluster) Put(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(c.dir, name)
	err := os.WriteFile(path, data, 0o600)
	if err == nil && c.cred != nil {
		err = os.Chown(path, int(c.cred.Uid), int(c.cred.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// As returns the connection string of a role to the database fettle.
func (c *Cluster) As(role string) string {
	return fmt.Sprintf("host=%s user=%s dbname=fettle", c.dir, role)
}

// SQL runs a statement as the superuser.
func (c *Cluster) SQL(t testing.TB, database, text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("host=%s user=postgres dbname=%s", c.dir, database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }() // nothing is left to lose
	if _, err := conn.Exec(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// Start starts the server, again after Stop.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	c.StartAt(t, "5432")
}

// StartAt is Start for a server whose configuration names another port.
func (c *Cluster) StartAt(t testing.TB, port string) {
	t.Helper()
	always := context.WithoutCancel(t.Context()) // the server outlives the test until its clean-up
	c.output = &bytes.Buffer{}
	c.server = exec.CommandContext(always, filepath.Join(c.bin, "postgres"), "-D", filepath.Join(c.dir, "data"), "-k", c.dir)
	c.server.Dir = c.dir
	c.server.Stdout, c.server.Stderr = c.output, c.output
	c.server.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	if err := c.server.Start(); err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	for range 6000 {
		if conn, err := pgx.Connect(always, fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres", c.dir, port)); err == nil {
			_ = conn.Close(always) // nothing is left to lose
			return
		}
		<-time.After(20 * time.Millisecond) // another process comes up
	}
	t.Fatalf("PostgreSQL does not come up:\n%s", c.output.String())
}

// Stop ends the server and all connections.
func (c *Cluster) Stop() {
	if c.server == nil {
		return
	}
	_ = c.server.Process.Signal(syscall.SIGINT) // fast shutdown
	_ = c.server.Wait()
	c.server = nil
}

func postgresBin(t testing.TB) string {
	t.Helper()
	for _, dir := range postgresDirs {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, "initdb"))
		if err == nil {
			return filepath.Dir(path)
		}
	}
	t.Fatal("PostgreSQL is not installed; on Debian: apt-get install postgresql-15")
	return ""
}

// unprivileged gives the identity under which PostgreSQL agrees to run, and
// hands it the folder; nil when the test does not run as root.
func unprivileged(t testing.TB, dir string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			t.Fatal("PostgreSQL must not run as root and there is no user postgres or nobody; on Debian: apt-get install postgresql-15")
		}
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(who.Gid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func command(t testing.TB, cred *syscall.Credential, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", argv[0], err, out)
	}
}
