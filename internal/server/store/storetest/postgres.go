package storetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// postgresDirs are where the server's programs may stand.
var postgresDirs = []string{"/usr/lib/postgresql/15/bin", "/usr/local/bin", "/usr/bin"}

// Postgres starts a PostgreSQL server of its own for the test, on a unix
// socket in a folder that goes with it, with fsync off, and returns the
// connection string of its empty database. A machine without PostgreSQL fails
// the test and says what to install.
func Postgres(t testing.TB) string {
	t.Helper()
	bin := postgresBin(t)
	// Not t.TempDir: its name is too long for a unix socket.
	dir, err := os.MkdirTemp("", "fettle-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cred := unprivileged(t, dir)
	data := filepath.Join(dir, "data")
	command(t, cred, filepath.Join(bin, "initdb"), "-D", data, "-U", "fettle", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	always := context.WithoutCancel(t.Context()) // the server outlives the test until its clean-up
	server := exec.CommandContext(always, filepath.Join(bin, "postgres"), "-D", data, "-k", dir,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "max_connections=100")
	server.Dir = dir
	var output bytes.Buffer
	server.Stdout, server.Stderr = &output, &output
	server.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	if err := server.Start(); err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown
		_ = server.Wait()
	})
	for range 300 {
		if exec.CommandContext(always, filepath.Join(bin, "pg_isready"), "-h", dir, "-U", "fettle", "-d", "postgres").Run() == nil {
			return fmt.Sprintf("host=%s user=fettle dbname=postgres", dir)
		}
		<-time.After(50 * time.Millisecond) // another process comes up
	}
	t.Fatalf("PostgreSQL does not come up:\n%s", output.String())
	return ""
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
