package postgres

import (
	"os"
	"testing"

	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

// shared is the server of the tests that need none of their own.
var shared storetest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Close()
	os.Exit(code)
}
