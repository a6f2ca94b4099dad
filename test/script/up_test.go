package script

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fettlehq/fettle/internal/server/store/storetest"
	"github.com/fettlehq/fettle/test/lab"
)

// TestUpOnPostgres runs sessions in which the all-in-one program keeps its rows
// in a PostgreSQL of the test's own. They publish an archive of the test's own,
// $CONFIG, in which this very machine finds one security update.
func TestUpOnPostgres(t *testing.T) {
	cluster, archive := storetest.Postgres(t), offer(t)
	p := sessions("up", cluster.DSN)
	setup := p.Setup
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("DSN", cluster.DSN)
		env.Setenv("CONFIG", filepath.Join(env.WorkDir, "publisher.yaml"))
		config := fmt.Sprintf("data: %[1]s/data/publisher\nrepository: %[1]s/data/repository\nkeys: %[1]s/keys\n%[2]s", env.WorkDir, archive)
		if err := os.WriteFile(env.Getenv("CONFIG"), []byte(config), 0o600); err != nil {
			return err
		}
		return setup(env)
	}
	testscript.Run(t, p)
}

// offer serves a signed archive with a newer dpkg, which every machine of this
// kind has, and returns how a publisher's configuration names it.
func offer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	archive, err := lab.NewArchive(t.Context(), filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := archive.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := archive.Add(t.Context(), lab.SecuritySuite, lab.Package{Name: "dpkg", Version: "99.1"}); err != nil {
		t.Fatal(err)
	}
	if err := archive.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	key, err := archive.PublicKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keyring := filepath.Join(dir, "vendor.asc")
	if err := os.WriteFile(keyring, key, 0o600); err != nil {
		t.Fatal(err)
	}
	vendor := httptest.NewServer(http.FileServer(http.Dir(archive.Dir)))
	t.Cleanup(vendor.Close)
	return fmt.Sprintf("archives:\n- {name: lab, uri: %q, suite: %s, components: [main], architectures: [amd64], keyring: %s, release: debian-12}\n"+
		`feeds: {debian_tracker: "", debian_dsa: "", kev: "", epss: ""}`, vendor.URL, lab.SecuritySuite, keyring)
}
