package script

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

// TestPostgres runs a session whose server keeps its rows in a PostgreSQL of
// the test's own:
//
//	database stop
//	database start
func TestPostgres(t *testing.T) {
	cluster := storetest.Postgres(t)
	p := sessions("postgres", cluster.DSN)
	setup := p.Setup
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("DSN", cluster.DSN)
		env.Setenv("ADMIN_DSN", cluster.Admin)
		return setup(env)
	}
	p.Cmds["database"] = func(ts *testscript.TestScript, neg bool, args []string) {
		switch {
		case neg || len(args) != 1:
			ts.Fatalf("usage: database start|stop")
		case args[0] == "stop":
			cluster.Stop()
		default:
			cluster.Start(t)
		}
	}
	testscript.Run(t, p)
}
