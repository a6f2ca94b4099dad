package catalog

import (
	"fmt"
	"runtime"
	"testing"

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
	machine := windowsMachine(rows...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	found, err := Assess([]*Shard{shard}, machine, nil)
	if err != nil || len(found) != 1 || len(found[0].Reason) > 4096 {
		t.Fatalf("%v %d findings", err, len(found))
	}
	runtime.ReadMemStats(&after)
	if spent := (after.TotalAlloc - before.TotalAlloc) / uint64(len(rows)); spent > 32<<10 { // it was 3 MB and a minute, growing with the square
		t.Errorf("%d bytes for each row", spent)
	}
}
