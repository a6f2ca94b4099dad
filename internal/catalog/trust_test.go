package catalog

import (
	"fmt"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/inventory"
)

// TestTrustRow6EndlessUsersRows: any user of a machine may write rows without
// end about himself; they cost the server no more than their number, and end in
// one finding of bounded length.
func TestTrustRow6EndlessUsersRows(t *testing.T) {
	shard := appShard(t, app("exe:2", "2.0", "amd64", "exe", "app tool|maker"))
	var rows []inventory.Package
	for i := range 60_000 {
		rows = append(rows, inventory.Package{Name: fmt.Sprint("key", i), Title: "Tool", Publisher: "Maker", Version: "1.0", Arch: "amd64", Scope: fmt.Sprint("user:", i)})
	}
	start := time.Now()
	found, err := Assess([]*Shard{shard}, windowsMachine(rows...), nil)
	if err != nil || len(found) != 1 || len(found[0].Reason) > 4096 {
		t.Fatalf("%v %d findings", err, len(found))
	}
	if took := time.Since(start); took > 20*time.Second { // it was a minute, growing with the square
		t.Errorf("took %s", took)
	}
}
