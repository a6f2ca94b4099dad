package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/wire"
)

// TestCompactsWhatIsOpen: Windows replaces no file that is open, and the
// journal always is.
func TestCompactsWhatIsOpen(t *testing.T) {
	path := filepath.Join(tempDir(t), "j")
	j, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	long := strings.Repeat("x", 64<<10)
	for i := range 64 { // four times what brings a compaction about
		e := Entry{Task: "t", Attempt: 1, Step: Accepted, Since: now, Order: wire.Order{Task: "t"}}
		if err := j.Apply(Change{Put: []Entry{e}, Emit: []wire.Event{{Task: "t", Reason: long}}, Ack: j.state.seq}, now.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 2*compactAt {
		t.Errorf("the journal has %d bytes, %v", info.Size(), err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, damaged, err := Open(path)
	if err != nil || damaged || len(again.Entries()) != 1 || len(again.Events(9)) != 1 {
		t.Fatalf("reopened: damaged %v, %v, %d tasks, %d events", damaged, err, len(again.Entries()), len(again.Events(9)))
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
